#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a machine with a mounted, dirty disk whose cluster is away can be restarted
# Needs: module, faults
# Expect: dead
# Limit: 60
. "$LIB"

load
create "$VDI" 16M
map m
mkfs.ext4 -q "$DEV"
mount "$DEV" /mnt
dd if=/dev/zero of=/mnt/dirty bs=64k count=50 status=none
host sheep kill
within 10 is_state m reconnecting
dd if=/dev/zero of=/mnt/direct bs=64k count=1 oflag=direct status=none &
within 10 waits m
step 'restart, without writing back: that would wait for the cluster'
# The machine goes away, which is how this is to end; the test hangs if it does not.
exec -a reboot systemctl --force --no-sync
