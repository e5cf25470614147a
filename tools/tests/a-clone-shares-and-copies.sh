#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a clone reads its parent's objects, copies one when it writes to it, and leaves the parent as it was
# Set: smoke
# Needs: module, sheep
# Group: data
# Limit: 90
. "$LIB"

load
create "$VDI" 16M
map m
noise /tmp/data $((8 << 20))
dd if=/tmp/data of="$DEV" bs=1M oflag=direct status=none
unmap m
ctl vdi snapshot --tag base "$VDI"
CREATED+=("$VDI@base")
ctl vdi clone "$VDI@base" "$VDI-clone" >/dev/null
CREATED=("$VDI-clone" "${CREATED[@]}")

step read through the clone
map c "vdi=$VDI-clone"
same "$(md5sum </tmp/data)" "$(dd if="$DEV" bs=1M count=8 iflag=direct status=none | md5sum)" 'inherited data'
cmp -n $((8 << 20)) -i $((8 << 20)):0 "$DEV" /dev/zero

step write the middle of an inherited object, and a new one
cp /tmp/data /tmp/clone
truncate -s 16M /tmp/clone
noise /tmp/patch 5000000
dd if=/tmp/patch of=/tmp/clone bs=512 seek=$((5 << 11)) conv=notrunc status=none count=3000
dd if=/tmp/patch of="$DEV" bs=512 seek=$((5 << 11)) oflag=direct status=none count=3000
dd if=/tmp/patch of=/tmp/clone bs=1M seek=13 count=1 conv=notrunc status=none
dd if=/tmp/patch of="$DEV" bs=1M seek=13 count=1 oflag=direct status=none
same "$(sum /tmp/clone)" "$(checksum "$DEV")" 'the clone after writing'
unmap c

step the parent, and the clone over a new mapping
map c "vdi=$VDI-clone"
same "$(sum /tmp/clone)" "$(checksum "$DEV")" 'the clone over a new mapping'
unmap c
map m "vdi=$VDI"
truncate -s 16M /tmp/data
same "$(sum /tmp/data)" "$(checksum "$DEV")" 'the parent'
step the parent goes on by itself
dd if=/tmp/patch of="$DEV" bs=1M count=1 oflag=direct status=none
unmap m
map c "vdi=$VDI-clone"
same "$(sum /tmp/clone)" "$(checksum "$DEV")" 'the clone after writing to the parent'
unmap c
