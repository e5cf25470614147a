#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a task that waits in the kernel for too long is a complaint, also if it goes on in the end
# Limit: 90
# Load: low
# Expect: complaint
set -euo pipefail

modprobe brd rd_nr=1 rd_size=65536
mkfs.ext4 -q /dev/ram0
mount /dev/ram0 /mnt
fsfreeze --freeze /mnt
touch /mnt/blocked &
sleep 65
fsfreeze --unfreeze /mnt
wait
umount /mnt
