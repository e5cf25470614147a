#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: an ext4 on the disk is clean after it was filled, and its files are the same over a new mapping
# Set: smoke
# Needs: module, sheep
# Group: files
# Limit: 120
. "$LIB"

load
create "$VDI" 64M
map m connections=2
step make and fill
mkfs.ext4 -q "$DEV"
mount "$DEV" /mnt
cp -r /etc /mnt/tree
dd if=/dev/urandom of=/mnt/large bs=1M count=20 status=none
rm -r /mnt/tree/udev 2>/dev/null || true
dd if=/dev/urandom of=/mnt/full bs=1M status=none 2>/tmp/full && fail 'the file system does not fill'
grep -q 'No space left' /tmp/full
rm /mnt/full
dd if=/dev/urandom of=/mnt/second bs=4k count=500 status=none
(cd /mnt && find . -type f -print0 | sort -z | xargs -0 md5sum) >/tmp/sums
umount /mnt
step check, map anew, compare
e2fsck -fn "$DEV" >/tmp/fsck || { cat /tmp/fsck; fail 'e2fsck found damage'; }
unmap m
map m
mount -o ro "$DEV" /mnt
(cd /mnt && md5sum --quiet -c /tmp/sums)
[ "$(wc -l </tmp/sums)" -gt 20 ] || fail 'too few files to prove anything'
umount /mnt
unmap m
