#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: insmod and rmmod, map and unmap, a hundred times under load, leave no memory, thread or disk behind
# Needs: module, sheep
# Limit: 600
# Memory: 512
. "$LIB"

ROUNDS=100

kernel_threads() { pgrep -c sheep || true; }

# load_on DISK: reads and writes until the disk goes away; paced, since it is the rounds that count.
load_on() {
	fio --name=load --filename="$1" --allow_file_create=0 --thread --ioengine=libaio --direct=1 --rw=randrw \
		--bs=64k --iodepth=4 --rate_iops=20,20 --time_based --runtime=3600 --output=/dev/null 2>/dev/null &
}

load
for number in 0 1 2 3 4; do create "$VDI-$number" 8M; done
map other "vdi=$VDI-0"
step "map and unmap $ROUNDS times, four mappings at once, beside a busy disk"
load_on "$DEV"
noise /tmp/noise 65536
# map_and_unmap NUMBER: and one write in between.
map_and_unmap() {
	map "m$1" "vdi=$VDI-$1" connections=2
	dd if=/tmp/noise of="$DEV" bs=64k count=1 oflag=direct conv=notrunc status=none
	unmap "m$1"
}
# times COUNT: so often, four at a time.
times() {
	local number pids=()
	for number in 1 2 3 4; do
		(for _ in $(seq $(($1 / 4))); do map_and_unmap $number; done) &
		pids+=($!)
	done
	for number in "${pids[@]}"; do wait "$number"; done
}
times 4
before=$(kept)
times $ROUNDS
kept_little "$before" "$(kept)" "map and unmap $ROUNDS times"
step "$(sectors_written other) sectors written to the busy disk"
[ "$(sectors_written other)" -gt 10000 ] || fail 'the disk was not busy'
put other unmap force
wait
rmdir "$MAPPINGS/other"
same 0 "$(kernel_threads)" threads

step "insmod and rmmod $ROUNDS times, each with a mapping that is busy when it is unmapped by force"
load_and_unload() {
	insmod "$MODULE"
	map m "vdi=$VDI-1"
	dd if=/dev/zero of="$DEV" bs=64k oflag=direct conv=notrunc,nocreat status=none 2>/dev/null &
	put m unmap force
	wait
	rmdir "$MAPPINGS/m"
	rmmod sheepdog
}
rmmod sheepdog
load_and_unload
before=$(kept)
for _ in $(seq $ROUNDS); do load_and_unload; done
kept_little "$before" "$(kept)" "insmod and rmmod $ROUNDS times"
same 0 "$(kernel_threads)" threads
same '' "$(find /sys/block -name 'sheep*')" disks
