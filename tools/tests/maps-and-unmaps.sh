#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a VDI is mapped, keeps what is written to it over a new mapping, and is unmapped
# Set: smoke
# Needs: module, sheep
# Kernels: all
# Group: control
# Limit: 60
. "$LIB"

load
create "$VDI" 10M
same new "$(mkdir "$MAPPINGS/m" && get m state)" 'state before'
map m
same live "$(get m state)" state
same sheepa "$(get m device)" 'device'
same $((10 << 20)) "$(get m size_bytes)" size_bytes
same $((10 << 20)) "$(blockdev --getsize64 "$DEV")" 'size of the disk'
same "$(ctl vdi info --json "$VDI" | jq -r .vdi_id)" "$(get m vdi_id)" vdi_id
[ "$(get m memory_bytes)" -gt 0 ] || fail 'memory_bytes is empty'
logged "sheepa: VDI $VDI \\(id [0-9a-f]{6}\\), 10485760 bytes in objects of 4194304"

step write, and read back over a new mapping
noise /tmp/data $((5 << 20))
dd if=/tmp/data of="$DEV" bs=1M seek=3 oflag=direct conv=fsync status=none
unmap m
[ ! -e /dev/sheepa ] || fail '/dev/sheepa is still there'
logged 'sheepa: removed'
map m
same "$(md5sum </tmp/data)" "$(dd if="$DEV" bs=1M skip=3 count=5 iflag=direct status=none | md5sum)" data
same 0 "$(get m in_flight)" in_flight
put m unmap 1
same new "$(get m state)" 'state after'
same '' "$(get m device)" 'device after'
refused 'No such device' put m unmap 1
logged 'mapping m: is not mapped'
