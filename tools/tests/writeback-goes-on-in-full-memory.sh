#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: with dirty pages to the limit, hogs and full memory cgroups ext4 and xfs are written on, before and after the gateway dies
# Needs: module, faults
# Memory: 256
# Limit: 360
# Sheep: --directory %d --no-sync
. "$LIB"
. "${LIB%lib.sh}pressure.bash"

# No request may wait longer than this while the gateway is there.
STALL_S=25

# A file that can be told from any other: its number in each line.
content() { yes "file $1" | head -c "$2" || true; }

# Writers in full cgroups, dirty pages without a sync, and somebody who needs most of what is left. They
# pause: an emulated machine is to be short of memory, not of CPUs.
writers() {
	local number
	for number in 1 2 3; do
		cgroup "writers$number" 16M
		inside "writers$number" bash -c "while :; do dd if=/dev/zero of=/mnt/cgroup$number bs=1M count=20 conv=notrunc; sleep 1; done"
	done
	hog $(($(mib MemAvailable) - 40)) --vm-hang 2
	inside hogs bash -c 'while :; do dd if=/dev/zero of=/mnt/dirty bs=1M count=48 conv=notrunc; sleep 1; done'
}

for fs in ext4 xfs; do
	[ -d /sys/module/sheepdog ] || load
	create "$VDI-$fs" 400M
	step "$fs: map inside a memory cgroup of 16 MiB"
	cgroup small 16M
	(echo $BASHPID >"$CGROUPS/small/cgroup.procs" && map m vdi="$VDI-$fs" connections=2)
	DEV=/dev/$(get m device)
	"mkfs.$fs" -q "$DEV"
	mount "$DEV" /mnt
	writers
	worst=0 files=0 kills=0
	began_s=$SECONDS
	while [ $SECONDS -lt $((began_s + $(seconds 20 300))) ]; do
		(content $files 2M | dd of="/mnt/file$((files % 8))" bs=256k iflag=fullblock conv=fsync status=none) &
		writer=$!
		if stalls $STALL_S $writer; then
			fail "$fs: no request has ended for $LONGEST_MS ms"
		fi
		wait $writer
		[ "$worst" -ge "$LONGEST_MS" ] || worst=$LONGEST_MS
		files=$((files + 1))
		# While requests are under way, every ten seconds.
		if [ $((SECONDS - began_s)) -gt $((kills * 10 + 7)) ]; then
			step "$fs: the gateway dies"
			host sheep kill
			pause 2
			host sheep start
			kills=$((kills + 1))
		fi
	done
	step "$fs: $files files, $kills kills, longest wait $worst ms, $(mib Dirty) MiB dirty, $(oom_kills) OOM kills, $(tcp_count PFMemallocDrop) dropped"
	end_all
	umount /mnt
	unmap m
	map m vdi="$VDI-$fs"
	mount -o ro "$DEV" /mnt
	first=$((files > 8 ? files - 8 : 0))
	for ((file = first; file < files; file++)); do
		content $file 2M | cmp - "/mnt/file$((file % 8))"
	done
	umount /mnt
	unmap m
done
figures
