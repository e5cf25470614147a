#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a sheep of this host that is an I/O flusher stores on while memory is full of what it is to store
# Needs: module
# Memory: 256
# Disk: 3072
# Limit: 240
#
# To take a protection away: --append 'sheepdog_flusher=no' (or unlocked, or locked, see pressure.bash),
# 'sheepdog_unprotected=N' (the module's parameter).
. "$LIB"
. "${LIB%lib.sh}pressure.bash"

# No request may wait longer.
STALL_S=25
# MiB that a hog touches every second (an emulated machine is to be short of memory, not of CPUs), and what
# is written at once.
HOG=$(parameter hog 80)
SIZE=$(parameter size "$(seconds 48 1024)")

content() { yes "round $1" | head -c $((SIZE << 20)) || true; }

# grow: files that grow a little at a time and are closed in between, so that xfs has allocated more
# for them than they hold. When it drops such an inode for want of memory it gives that back first, which
# takes transactions; whoever asked for memory waits for them, unless it may not enter file systems.
grow() {
	local file len
	while :; do
		for file in /mnt/grows{0..799}; do
			len=5000
			[ -s "$file" ] || len=70000
			printf "%${len}s" '' >>"$file"
		done
	done
}

follow_log
load unprotected="$(parameter unprotected 0)"
mkfs.ext4 -q /dev/vdd
mkdir /store
mount /dev/vdd /store
sheep=(--threads "$(parameter threads 1)")
guarded_as_asked
[ "$(parameter store buffered)" = durable ] || sheep+=(--no-sync)
step "a sheep in this machine: ${SHEEP_WITH[*]} ${sheep[*]}"
if [ "$(parameter heap '')" = kept ]; then
	export MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=1000000000 MALLOC_ARENA_MAX=1
fi
local_sheep --directory /store/sheep "${sheep[@]}"

worst=0 rounds=0
for fs in $(parameter fs 'ext4+xfs' | tr + ' '); do
	ctl vdi create "$fs" 1200M >/dev/null
	map m vdi="$fs" connections=2
	"mkfs.$fs" -q "$DEV"
	mount "$DEV" /mnt
	hog "$HOG" --vm-keep --vm-hang 1
	[ "$fs" = ext4 ] || inside hogs bash -c "$(declare -f grow); grow"
	began=$rounds
	end_s=$((SECONDS + $(seconds 0 "$(parameter seconds 900)")))
	while [ $rounds = $began ] || [ $SECONDS -lt $end_s ]; do
		uptime_ms
		began_ms=$NOW_MS
		(content $rounds | dd of=/mnt/file bs=1M iflag=fullblock conv=fsync status=none) &
		writer=$!
		if stalls $STALL_S $writer; then
			fail "no request has ended for $LONGEST_MS ms; $(sheep_ooms) OOM kills by the sheep"
		fi
		wait $writer
		[ "$worst" -ge "$LONGEST_MS" ] || worst=$LONGEST_MS
		uptime_ms
		step "$fs: $SIZE MiB in $((NOW_MS - began_ms)) ms, longest wait $LONGEST_MS ms, $(oom_kills) OOM kills, $(sheep_ooms) by the sheep"
		rounds=$((rounds + 1))
	done
	end_all
	echo 3 >/proc/sys/vm/drop_caches
	content $((rounds - 1)) | cmp - /mnt/file
	umount /mnt
	unmap m
done
step "$rounds rounds, longest wait $worst ms"
grep -E '^(allocstall|pgscan_direct_throttle|pgsteal_direct|compact_stall|compact_fail)' /proc/vmstat | tr '\n' ' '
same 0 "$(sheep_ooms)" 'calls of the OOM killer by the sheep'
