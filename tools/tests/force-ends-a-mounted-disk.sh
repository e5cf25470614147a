#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: unmap by force ends a disk with a dirty, busy ext4 on it, whether the sheep answers or not
# Needs: module, faults
# Load: low
# Group: faults
# Limit: 180
. "$LIB"

# busy: mounts and writes for ever, buffered and direct.
busy() {
	mount "$DEV" /mnt
	(while dd if=/dev/zero of=/mnt/buffered bs=64k count=400 status=none; do :; done) 2>/dev/null &
	(while dd if=/dev/zero of=/mnt/direct bs=64k count=50 oflag=direct status=none; do :; done) 2>/dev/null &
	writers=$(jobs -p)
	sleep 3
	refused_put 'Device or resource busy' m unmap 1
}

# gone: the disk has gone, the writers get errors, and the file system can be unmounted.
gone() {
	[ ! -e "$DEV" ] || fail "$DEV is still there"
	same new "$(get m state)" state
	# shellcheck disable=SC2086 # several
	wait $writers || true
	umount /mnt
	step 'unmounted'
}

load
create "$VDI" 64M
map m connections=2
mkfs.ext4 -q "$DEV"
step while the sheep answers
busy
put m unmap force
gone

step while the sheep stands still
map m
busy
host sheep stop
sleep 1
started=$SECONDS
put m unmap force
[ $((SECONDS - started)) -le 20 ] || fail "it took $((SECONDS - started)) s"
gone
host sheep cont

step the file system can be repaired and used
map m
e2fsck -fy "$DEV" >/tmp/fsck 2>&1 || [ $? -le 1 ] || { cat /tmp/fsck; fail 'e2fsck'; }
mount "$DEV" /mnt
echo works >/mnt/after
umount /mnt
unmap m
