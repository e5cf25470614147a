#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: many threads fault on mappings of files on the disk, protect and map them and direct-read into them at once, while memory is short
# Needs: module, faults
# Memory: 256
# Limit: 150
# Sheep: --directory %d --no-sync
. "$LIB"
. "${LIB%lib.sh}pressure.bash"

# No request may wait longer than this while the gateway is there.
STALL_S=25
# For one step a thread needs up to eight pages, each of which another may push out of memory again.
STEP_S=90

# Threads of the kernel have no memory of a user, whose lock they could take: VmSize is for those who
# have. A driver's thread that borrowed one (kthread_use_mm) would show it, too.
no_user_memory() {
	local pid count=0
	for pid in $(pgrep "^${DEV#/dev/}-"); do
		[ ! -e "/proc/$pid/exe" ] || fail "$(cat "/proc/$pid/comm") is a program"
		! grep ^Vm "/proc/$pid/status" || fail "$(cat "/proc/$pid/comm") has memory of a user"
		count=$((count + 1))
	done
	# A receiver and a transmitter for each of two connections, one that connects, one that tells udev.
	same 6 $count 'threads of the driver'
}
grep -q ^VmSize /proc/self/status || fail 'this shell has no memory'

follow_log
load
create "$VDI" 512M
map m connections=2
mkfs.ext4 -q "$DEV"
mount "$DEV" /mnt
no_user_memory
# The page cache is to be smaller than the files.
hog 60 --vm-hang 2
mapstorm --directory /mnt --threads "$(seconds 12 24)" --mib "$(seconds 48 96)" --seconds "$(seconds 25 600)" --patience $STEP_S >/tmp/storm &
storm=$!
# The recovery path, too, is not to wait for whoever has the lock.
died=
dies() {
	[ -n "$died" ] || [ "$SECONDS" -lt $((BEGAN_S + 20)) ] || {
		died=yes
		no_user_memory
		step 'the gateway dies'
		host sheep restart
	}
	false
}
if stalls $STALL_S $storm dies; then
	fail "no request has ended for $LONGEST_MS ms: $(cat /tmp/storm)"
fi
wait $storm || fail "the storm: $(cat /tmp/storm)"
step "$(cat /tmp/storm); $LONGEST_MS ms without a request that ended"
no_user_memory
# shellcheck disable=SC2046 # words
figures $(cat /tmp/storm)
end_all
no_request_failed
umount /mnt
e2fsck -fn "$DEV" >/tmp/fsck 2>&1 || { cat /tmp/fsck; fail 'the file system is damaged'; }
unmap m
