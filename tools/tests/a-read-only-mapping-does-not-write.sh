#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a mapping with read_only=1 reads, and refuses to be written
# Needs: module, sheep
# Group: data
# Limit: 60
. "$LIB"

load
create "$VDI" 8M
map m
noise /tmp/data $((8 << 20))
dd if=/tmp/data of="$DEV" bs=1M oflag=direct status=none
unmap m
map m read_only=1
same 1 "$(cat /sys/block/sheepa/ro)" ro
same "$(sum /tmp/data)" "$(checksum "$DEV")" data
refused 'not permitted' dd if=/dev/zero of="$DEV" bs=4k count=1 oflag=direct
blockdev --setrw "$DEV" 2>/dev/null && refused 'not permitted' dd if=/dev/zero of="$DEV" bs=4k count=1 oflag=direct
same "$(sum /tmp/data)" "$(checksum "$DEV")" 'data after the attempt'
unmap m
