#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: when the sheep dies under load, requests end with an error within the limit, and unmap works
# Needs: module, faults
# Limit: 90
. "$LIB"

load_module
create_vdi "$VDI" 64M
map_vdi m "$VDI" io_timeout_ms=5000
fio --name=load --filename="$DEVICE" --rw=randrw --bs=4k --direct=1 --ioengine=libaio --iodepth=16 \
	--time_based --runtime=60 >/tmp/fio 2>&1 &
load=$!
sleep 3
kill -0 "$load" || fail "the load ended by itself: $(cat /tmp/fio)"
host sheep kill
started=$SECONDS
! wait "$load" || fail 'the load did not notice that the sheep is gone'
[ $((SECONDS - started)) -lt 20 ] || fail "requests took $((SECONDS - started)) s to end"
grep -q 'Input/output error' /tmp/fio || fail "expected EIO: $(cat /tmp/fio)"
echo force >"$CONFIG/m/unmap"
rmdir "$CONFIG/m"
