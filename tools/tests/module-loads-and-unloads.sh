#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: the module loads into a stock kernel and unloads, ten times, and leaves no memory behind
# Set: smoke
# Kernels: all
# Group: basics
# Needs: module
. "$LIB"

load_module
rmmod sheepdog
before=$(awk '/^(Slab|Percpu|VmallocUsed):/ { sum += $2 } END { print sum }' /proc/meminfo)
for _ in {1..10}; do
	insmod "$MODULE"
	rmmod sheepdog
done
after=$(awk '/^(Slab|Percpu|VmallocUsed):/ { sum += $2 } END { print sum }' /proc/meminfo)
# One load left behind ten times would be more than this.
[ $((after - before)) -lt 2048 ] || fail "ten loads took $((after - before)) KiB for good"
