#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: an xfs on the disk is clean after files came and went, and they are the same over a new mapping
# Needs: module, sheep
# Group: files
# Limit: 150
. "$LIB"

load
create "$VDI" 320M
map m connections=2
step make and fill
mkfs.xfs -q "$DEV"
mount "$DEV" /mnt
cp -r /etc /mnt/tree
dd if=/dev/urandom of=/mnt/large bs=1M count=40 status=none
rm -rf /mnt/tree/udev
dd if=/dev/urandom of=/mnt/second bs=4k count=500 status=none
(cd /mnt && find . -type f -print0 | sort -z | xargs -0 md5sum) >/tmp/sums
umount /mnt
step check, map anew, compare
xfs_repair -n "$DEV" >/tmp/repair 2>&1 || { cat /tmp/repair; fail 'xfs_repair found damage'; }
unmap m
map m
mount -o ro "$DEV" /mnt
(cd /mnt && md5sum --quiet -c /tmp/sums)
[ "$(wc -l </tmp/sums)" -gt 20 ] || fail 'too few files to prove anything'
umount /mnt
unmap m
