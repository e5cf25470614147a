#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a sheep of this host that runs out of memory while it serves does not wait for the file system on the disk it serves
# Needs: module
# Memory: 384
# Cpus: 1
# Limit: 180
#
# xfs allocates ahead for files that grow. When such an inode is dropped from memory, a worker gives that back
# first, for which it may have to read from the disk; whoever drops more than 256 of them waits for the
# worker. A sheep that drops inodes itself, since it wants memory, so waits for its own disk: one thread after
# the other. An I/O flusher does not enter file systems for memory.
#
# To take the protection away: --append 'sheepdog_flusher=no' (or locked, or unlocked, see pressure.bash).
. "$LIB"
. "${LIB%lib.sh}pressure.bash"

FILES=800
STALL_S=25
FILES_GROUP=$CGROUPS/files

# inodes: how many the kernel has in memory.
inodes() { cut -f 1 /proc/sys/fs/inode-nr; }

# grow: files for which xfs has more than they hold: what they have ahead at their first close goes, later it stays.
grow() {
	local file len
	for len in 70000 5000; do
		for ((file = 0; file < FILES; file++)); do
			printf "%${len}s" '' >>"/mnt/file$file"
		done
		sync -f /mnt
	done
}
# forget: what memory holds of the disk goes, but the inodes of the files, which are open meanwhile.
forget() {
	local file fds=() fd
	ulimit -n $((FILES + 100))
	for ((file = 0; file < FILES; file++)); do
		exec {fd}<"/mnt/file$file"
		fds+=("$fd")
	done
	fsfreeze -f /mnt
	fsfreeze -u /mnt
	echo 3 >/proc/sys/vm/drop_caches
	for fd in "${fds[@]}"; do
		exec {fd}<&-
	done
}

follow_log
load
cgroup files
guarded_as_asked
step "a sheep in this machine: ${SHEEP_WITH[*]}"
# One thread for all, that none is left to serve when one waits.
local_sheep --threads 1 --control 127.0.0.1:0
ctl vdi create files 400M >/dev/null
map m vdi=files connections=2
mkfs.xfs -q "$DEV"
mount "$DEV" /mnt

step "$FILES files in a cgroup"
(echo $BASHPID >"$FILES_GROUP/cgroup.procs" && grow)
(forget)
before=$(inodes)
step "$before inodes in memory"

step 'the sheep runs out of memory at each request'
local_fault reclaim "$FILES_GROUP"
dd if=/dev/zero of=/mnt/more bs=1M count=4 conv=fsync status=none &
writer=$!
if stalls $STALL_S $writer; then
	show_threads "$LOCAL_SHEEP"
	fail "no request has ended for $LONGEST_MS ms"
fi
wait $writer
left=$(inodes)
step "longest wait $LONGEST_MS ms, $left inodes"
[ "$left" -gt $((before - FILES / 2)) ] || fail 'the sheep dropped inodes'
local_fault clear "reclaim $FILES_GROUP"

step 'anybody else may drop them, and waits for the sheep'
echo 1G >"$FILES_GROUP/memory.reclaim" 2>/dev/null || true
left=$(inodes)
step "$left inodes"
[ "$left" -lt $((before - FILES / 2)) ] || fail 'they could not be dropped: that proves nothing'
no_request_failed
umount /mnt
unmap m
