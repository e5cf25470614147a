#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: when the sheep stands still, a request ends with an error after io_timeout_ms, and unmap works
# Needs: module, faults
# Limit: 60
. "$LIB"

load_module
create_vdi "$VDI" 16M
map_vdi m "$VDI" io_timeout_ms=3000
dd if=/dev/urandom of="$DEVICE" bs=4096 count=1 oflag=direct status=none
host sheep stop
started=$SECONDS
! dd if="$DEVICE" of=/dev/null bs=4096 count=1 iflag=direct 2>/tmp/said || fail 'a read without a reply succeeded'
took=$((SECONDS - started))
host sheep cont
grep -q 'Input/output error' /tmp/said
[ "$took" -ge 2 ] && [ "$took" -lt 20 ] || fail "it took $took s"
echo force >"$CONFIG/m/unmap"
rmdir "$CONFIG/m"
