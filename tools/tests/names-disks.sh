#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a disk takes the lowest free name; the 27th is sheepaa
# Needs: module, sheep
# Group: control
# Limit: 120
. "$LIB"

load
create "$VDI" 4M
wanted=(sheep{a..z} sheepaa)
for number in "${!wanted[@]}"; do
	map "m$number" read_only=1
	same "/dev/${wanted[number]}" "$DEV" "disk $number"
done
step a name that has become free is the next one
unmap m2
unmap m25
map again read_only=1
same /dev/sheepc "$DEV" 'the lowest'
map more read_only=1
same /dev/sheepz "$DEV" 'the next'
step a failed mapping takes no name
unmap more
mapping wrong vdi=no-such-vdi
refused_put 'No such file' wrong map 1
map more read_only=1
same /dev/sheepz "$DEV" 'after a failure'
