#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a script sees its environment and the small machine that it declares
# Set: smoke
# Memory: 192
# Group: small
# Cpus: 1
# Disk: 64
# Limit: 60
# Load: low
set -euo pipefail

[ "$TEST" = passes ]
[ "$(nproc)" = 1 ]
[ "$(awk '/MemTotal/ { print $2 }' /proc/meminfo)" -lt $((192 * 1024)) ]
[ "$(blockdev --getsize64 /dev/vdd)" = $((64 * 1024 * 1024)) ]
mkfs.ext4 -q /dev/vdd
mount /dev/vdd /mnt
dd if=/dev/urandom of=/mnt/file bs=1M count=8 status=none
umount /mnt
host ping
