#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a VDI is mapped, reads as zeroes, keeps what is written over an unmap, and unmaps
# Set: smoke
# Kernels: all
# Group: io
# Needs: module, sheep
. "$LIB"

load_module
create_vdi "$VDI" 64M
map_vdi m "$VDI"
[ "$DEVICE" = /dev/sheepa ]
[ "$(cat "$CONFIG/m/state")" = live ]
[ "$(blockdev --getsize64 "$DEVICE")" = $((64 << 20)) ]
[ "$(cat "$CONFIG/m/size_bytes")" = $((64 << 20)) ]
cmp -n $((16 << 20)) "$DEVICE" /dev/zero

# Across the edge of an object, and in the middle of one.
head -c 8M /dev/urandom >/tmp/data
dd if=/tmp/data of="$DEVICE" bs=1M seek=3 oflag=direct status=none
dd if=/tmp/data of="$DEVICE" bs=4096 seek=5000 count=3 oflag=direct status=none
cmp -n $((8 << 20)) /tmp/data <(dd if="$DEVICE" bs=1M skip=3 count=8 iflag=direct status=none)

refused 'Device or resource busy' "$CONFIG/m/map" 1
refused 'Device or resource busy' "$CONFIG/m/vdi" other
unmap m
[ ! -e "$DEVICE" ]

map_vdi again "$VDI"
cmp -n $((8 << 20)) /tmp/data <(dd if="$DEVICE" bs=1M skip=3 count=8 iflag=direct status=none)
cmp -n $((3 * 4096)) /tmp/data <(dd if="$DEVICE" bs=4096 skip=5000 count=3 iflag=direct status=none)
unmap again
sheepctl vdi delete --yes --gateway "$GATEWAYS" "$VDI"
