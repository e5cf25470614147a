#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: insmod and rmmod, map and unmap, a hundred times under load, leave no memory, thread or disk behind
# Needs: module, sheep
# Limit: 480
# Memory: 512
. "$LIB"

ROUNDS=100
# A mapping holds tens of KiB, a leak of one per round would be more than this.
LEAK_KIB=2048

kernel_threads() { pgrep -c sheep || true; }

# load_on DISK: reads and writes until the disk goes away. A `dd` that comes too late must not leave a
# file of that name: the next node could not be made.
load_on() {
	(while dd if=/dev/urandom of="$1" bs=64k count=16 oflag=direct conv=notrunc,nocreat status=none &&
		dd if="$1" of=/dev/null bs=64k count=16 iflag=direct status=none; do :; done) 2>/dev/null &
}

load
create "$VDI" 8M
create "$VDI-2" 8M
map other "vdi=$VDI-2"
step "map and unmap $ROUNDS times beside a busy disk"
load_on "$DEV"
map_and_unmap() {
	map m connections=2
	dd if=/tmp/noise of="$DEV" bs=64k count=1 oflag=direct conv=notrunc status=none
	unmap m
}
noise /tmp/noise 65536
map_and_unmap
before=$(kept)
for _ in $(seq $ROUNDS); do map_and_unmap; done
after=$(kept)
step "$((after - before)) KiB more"
[ $((after - before)) -lt $LEAK_KIB ] || fail "$((after - before)) KiB more than before"
put other unmap force
wait
rmdir "$MAPPINGS/other"
same 0 "$(kernel_threads)" threads

step "insmod and rmmod $ROUNDS times, each with a mapping that is busy when it is unmapped by force"
load_and_unload() {
	insmod "$MODULE"
	map m
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
after=$(kept)
step "$((after - before)) KiB more"
[ $((after - before)) -lt $LEAK_KIB ] || fail "$((after - before)) KiB more than before"
same 0 "$(kernel_threads)" threads
same '' "$(find /sys/block -name 'sheep*')" disks
