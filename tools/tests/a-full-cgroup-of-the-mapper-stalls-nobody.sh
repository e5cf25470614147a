#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a disk mapped inside a memory cgroup that is full by now has no packet dropped for want of memory in it
# Needs: module, sheep
# Limit: 180
. "$LIB"
. "${LIB%lib.sh}pressure.bash"

MIB=$(seconds 32 256)

# look: for `stalls`; notes the most that sockets of the cgroup have held, at the moments it looks.
look() {
	local key value
	while read -r key value; do
		[ "$key" != sock ] || [ "$value" -le "$SOCK" ] || SOCK=$value
	done <"$CGROUPS/small/memory.stat"
	return 1
}

# use UNPROTECTED: maps inside the cgroup, fills that and closes it, reads and writes. Sets DROPPED, packets
# that were received and not taken; SOCK, bytes; MAX, how often the cgroup's limit was run into.
use() {
	local before began_ms
	load unprotected="$1"
	cgroup small 16M
	(echo $BASHPID >"$CGROUPS/small/cgroup.procs" && map m connections=2)
	DEV=/dev/$(get m device)
	# Pages of a tmpfs without swap: nothing can be taken back.
	(echo $BASHPID >"$CGROUPS/small/cgroup.procs" && head -c 8M /dev/zero >/mnt/full)
	cat "$CGROUPS/small/memory.current" >"$CGROUPS/small/memory.max"
	before=$(tcp_count TCPRcvQDrop)
	uptime_ms
	began_ms=$NOW_MS
	SOCK=0
	fio --name=use --filename="$DEV" --rw=randrw --bs=512k --iodepth=32 --direct=1 --ioengine=libaio \
		--size="${MIB}M" --output=/tmp/fio.log &
	if stalls 25 $! look; then
		fail "no request has ended for $LONGEST_MS ms"
	fi
	wait $!
	uptime_ms
	DROPPED=$(($(tcp_count TCPRcvQDrop) - before))
	MAX=$(awk '$1 == "max" { print $2 }' "$CGROUPS/small/memory.events")
	step "unprotected $1: $MIB MiB in $((NOW_MS - began_ms)) ms, longest wait $LONGEST_MS ms; dropped $DROPPED, in sockets of the cgroup $SOCK bytes, $MAX times at its limit"
	unmap m
	rm /mnt/full
	rmdir "$CGROUPS/small"
	rmmod sheepdog
}

mount -t tmpfs tmpfs /mnt
create "$VDI" "${MIB}M"
step 'the objects'
load
map m
dd if=/dev/zero of="$DEV" bs=1M count="$MIB" oflag=direct status=none
unmap m
rmmod sheepdog

use "$(parameter unprotected 0)"
same '0 0 0' "$DROPPED $SOCK $MAX" 'dropped, bytes in sockets, times at the limit'
step 'with sockets of the mapper this test would have seen it'
for _ in {1..5}; do
	use 8
	[ "$MAX" -gt 0 ] || fail 'nothing was charged to the cgroup'
	[ "$DROPPED" = 0 ] || break
done
[ "$DROPPED" -gt 0 ] || fail 'no packet was dropped'
