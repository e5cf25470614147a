#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: when the sheep dies under load, requests end with an error within the limit, and unmap works
# Needs: module, faults
# Limit: 120
. "$LIB"

load
create "$VDI" 64M
map m io_timeout_ms=5000
fio --name=load --filename="$DEV" --rw=randrw --bs=4k --direct=1 --ioengine=libaio --iodepth=16 \
	--time_based --runtime=60 >/tmp/fio 2>&1 &
fio=$!
sleep 3
kill -0 "$fio" || fail "the load ended by itself: $(cat /tmp/fio)"
host sheep kill
started=$SECONDS
! wait "$fio" || fail 'the load did not notice that the sheep is gone'
step "the load ended after $((SECONDS - started)) s"
[ $((SECONDS - started)) -lt 20 ]
grep -q 'Input/output error' /tmp/fio || fail "expected EIO: $(cat /tmp/fio)"
unmap m force
