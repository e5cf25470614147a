#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: when the sheep dies under load, requests fail soon, the mapping is dead, and it can be mapped anew
# Set: smoke
# Needs: module, faults
# Group: faults
# Limit: 120
# Sheep: --directory %d --no-sync
. "$LIB"

load
create "$VDI" 64M
map m connections=2
noise /tmp/data $((4 << 20))
dd if=/tmp/data of="$DEV" bs=1M oflag=direct status=none
fio --name=load --filename="$DEV" --offset=8M --size=48M --rw=randwrite --bs=4k --direct=1 --ioengine=libaio \
	--iodepth=16 --time_based --runtime=300 >/tmp/fio 2>&1 &
fio=$!
under_load() { [ "$(served WRITE_OBJ)" -gt 50 ]; }
within 20 under_load
step the sheep dies
host sheep kill
started=$SECONDS
! wait "$fio" || fail 'the load did not notice'
took=$((SECONDS - started))
step "the load ended after $took s"
[ "$took" -le 20 ] || fail "the load went on for $took s"
grep -q 'Input/output error' /tmp/fio || { cat /tmp/fio; fail 'expected EIO'; }
within 5 is_state m dead
same 0 "$(get m in_flight)" in_flight
fails_with "Input/output error" dd if="$DEV" of=/dev/null bs=4k count=1 iflag=direct
logged 'sheepa: [0-9]+ requests fail, and all that follow'
unmap m
same '' "$(find /sys/block -name 'sheep*')" 'disks'

step it comes back
host sheep start
map m connections=2
same "$(md5sum </tmp/data)" "$(dd if="$DEV" bs=1M count=4 iflag=direct status=none | md5sum)" 'data'
unmap m
