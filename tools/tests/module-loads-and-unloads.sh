#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: the module loads into a stock kernel and unloads, ten times, and leaves no memory behind
# Set: smoke
# Kernels: all
# Group: control
# Needs: module
set -euo pipefail

kept() { awk '/^(Slab|Percpu|VmallocUsed):/ { sum += $2 } END { print sum }' /proc/meminfo; }

modprobe configfs
insmod "$MODULE"
rmmod sheepdog
before=$(kept)
for _ in {1..10}; do
	insmod "$MODULE"
	rmmod sheepdog
done
after=$(kept)
echo "$((after - before)) KiB more than after the first time"
# One load left behind ten times would be more than this.
[ $((after - before)) -lt 2048 ]
