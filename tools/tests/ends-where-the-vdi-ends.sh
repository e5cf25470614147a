#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a VDI of an odd size can be read and written up to its last sector, and not beyond
# Needs: module, sheep
# Group: data
# Limit: 60
. "$LIB"

load
# Two objects, a part of a third, and a part of a sector, which no disk has.
sectors=$(((9 << 20) / 512 + 3))
create_odd "$VDI" $((sectors * 512 + 100)) 0
map m
same $sectors "$(blockdev --getsz "$DEV")" sectors
same $sectors $(($(get m size_bytes) / 512)) size_bytes

noise /tmp/data $((7 * 512))
dd if=/tmp/data of="$DEV" bs=512 seek=$((sectors - 7)) oflag=direct status=none
same "$(md5sum </tmp/data)" "$(dd if="$DEV" bs=512 skip=$((sectors - 7)) iflag=direct status=none | md5sum)" 'the last sectors'
refused 'No space left' dd if=/tmp/data of="$DEV" bs=512 seek=$((sectors - 6)) oflag=direct
refused 'No space left' dd if=/tmp/data of="$DEV" bs=512 count=1 seek=$sectors oflag=direct
same 0 "$(dd if="$DEV" bs=512 skip=$sectors iflag=direct status=none | wc -c)" 'bytes behind the end'

step the page cache across the end
unmap m
map m
same $((sectors * 512)) "$(wc -c <"$DEV")" 'bytes in all'
same "$(head -c $((6 * 512)) /tmp/data | md5sum)" "$(tail -c $((6 * 512)) "$DEV" | md5sum)" 'after mapping anew'
unmap m
