#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a device that is open is not unmapped unless forced, and the module stays while it is mapped
# Set: smoke
# Group: io
# Needs: module, sheep
. "$LIB"

load_module
create_vdi "$VDI" 16M
map_vdi m "$VDI"
exec 3<"$DEVICE"
refused 'Device or resource busy' "$CONFIG/m/unmap" 1
! rmdir "$CONFIG/m" 2>/dev/null || fail 'a live mapping was removed'
! rmmod sheepdog 2>/dev/null || fail 'the module was removed under a mapping'
[ "$(cat "$CONFIG/m/state")" = live ]
echo force >"$CONFIG/m/unmap"
[ "$(dd bs=4096 count=1 <&3 2>/dev/null | wc -c)" = 0 ] || fail 'a removed disk can be read'
exec 3<&-
rmdir "$CONFIG/m"
sheepctl vdi delete --yes --gateway "$GATEWAYS" "$VDI"
