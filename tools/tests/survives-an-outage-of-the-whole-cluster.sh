#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: an ext4 under load outlives a minute without its cluster; no error, nothing lost, nothing to repair
# Needs: module, events
# Group: faults
# Load: low
# Limit: 1000
# Sheep: --directory %d --no-sync
# Allow: INFO: task .* blocked for more than
# That writers wait for their disk is what this is about; whoever waits long is said to be blocked.
. "$LIB"

OUTAGE_S=60
! full || OUTAGE_S=600

# writer NUMBER: makes files until told to stop, removes old ones, and keeps the sums of those that
# fsync says are safe.
writer() {
	local name count=0
	until [ -e /tmp/stop ]; do
		name=/mnt/$1/$((count % 12))
		count=$((count + 1))
		rm -f "$name"
		sed -i "\\#  $name\$#d" "/tmp/sums.$1"
		head -c $((4096 * (1 + RANDOM % 40))) /dev/urandom >"$name" || return 1
		[ $((count % 3)) -ne 0 ] || sync "$name" || return 1
		md5sum "$name" >>"/tmp/sums.$1"
	done
	echo "$count" >"/tmp/count.$1"
}

load
create "$VDI" 64M
map m "gateways=$(gateway_address 0)" connections=2
mkfs.ext4 -q "$DEV"
mount "$DEV" /mnt
mark
for number in 1 2 3; do
	mkdir "/mnt/$number"
	: >"/tmp/sums.$number"
	writer $number &
done
sleep 5
# has_files COUNT: so many are safe. An emulated machine may be slow.
has_files() { [ "$(cat /tmp/sums.* | wc -l)" -ge "$1" ]; }
within 60 has_files 9
step the cluster goes away
host sheep kill
within 60 is_state m reconnecting
left=$OUTAGE_S
while [ "$left" -gt 0 ]; do
	sleep 20
	left=$((left - 20))
	step "$(get m state), $(get m waiting) requests wait, $(awk '/^(Dirty|Writeback):/ { printf "%s %s KiB ", $1, $2 }' /proc/meminfo)"
done
waits m || fail 'nothing waited'
started=$(now_ms)
host sheep start
within 60 is_state m live
lasted 0 60000 "$started" 'connecting again'
sleep 5
within 60 has_files 24
touch /tmp/stop
for job in $(jobs -p); do wait "$job" || fail 'a writer saw an error'; done
step "files written: $(cat /tmp/count.*)"
cat /tmp/sums.* >/tmp/sums
[ "$(wc -l </tmp/sums)" -gt 20 ] || fail 'too few files to prove anything'
umount /mnt
errors='EXT4-fs (error|warning)|JBD2: |Aborting journal| error, dev |I/O error|lost (sync|async) page write|Remounting'
same '' "$(log_lines "$errors")" 'errors in the log'
e2fsck -fn "$DEV" >/tmp/fsck || { cat /tmp/fsck; fail 'e2fsck found damage'; }
unmap m
map m
mount -o ro "$DEV" /mnt
md5sum --quiet -c /tmp/sums
umount /mnt
unmap m
log_lines 'connected again'
