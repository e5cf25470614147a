#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: without a cluster an idle disk is unmapped at once, a busy one by force within seconds; then rmmod works
# Set: smoke
# Needs: module, events
# Load: low
# Group: faults
# Limit: 120
# Sheep: --directory %d --no-sync
. "$LIB"

GATEWAYS=$(gateway_address 0)
load
create "$VDI" 64M
noise /tmp/noise 4096

step idle
map m
write_4k
host sheep kill
within 10 is_state m reconnecting
started=$(now_ms)
unmap m
lasted 0 5000 "$started" 'unmapping'
start_sheep
mark

step 'idle, while it connects to a host from which nothing comes back'
black_hole
map m "gateways=$GATEWAYS,$BLACK_HOLE" connect_timeout_ms=60000
host sheep kill
refused_once() { [ "$(log_count 'attempt 1 failed')" -ge 1 ]; }
within 10 refused_once
sleep 1
started=$(now_ms)
unmap m
lasted 0 5000 "$started" 'unmapping'
start_sheep

step 'mounted, with dirty pages, openers, and requests that wait'
map m connections=2
mkfs.ext4 -q "$DEV"
mount "$DEV" /mnt
sync
(while dd if=/dev/zero of=/mnt/direct bs=64k count=50 oflag=direct status=none; do :; done) 2>/dev/null &
writers=$!
exec 4<"$DEV"
sleep 1
host sheep kill
within 10 is_state m reconnecting
dd if=/dev/zero of=/mnt/dirty bs=64k count=200 status=none &
writers+=" $!"
dd if="$DEV" of=/dev/null bs=4k count=1 iflag=direct status=none 2>/dev/null &
readers=$!
within 10 waits m 2
grep -E '^(Dirty|Writeback):' /proc/meminfo
refused_put 'Device or resource busy' m unmap 1
started=$(now_ms)
put m unmap force
lasted 0 10000 "$started" 'unmapping by force'
! wait $readers || fail 'a read succeeded'
# shellcheck disable=SC2086 # several
wait $writers || true
exec 4<&-
umount /mnt
rmdir "$MAPPINGS/m"
started=$(now_ms)
rmmod sheepdog
lasted 0 5000 "$started" rmmod
insmod "$MODULE"

step 'while requests fail (io_timeout_ms), with the disk open'
start_sheep
map m io_timeout_ms=1000
exec 4<"$DEV"
host sheep kill
within 15 is_state m failing
started=$(now_ms)
put m unmap force
lasted 0 5000 "$started" 'unmapping by force'
exec 4<&-
rmdir "$MAPPINGS/m"
start_sheep

step it can be mapped
map m
write_4k
unmap m
