#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: the module loads into a stock kernel and unloads, ten times, and leaves no memory behind
# Set: smoke
# Kernels: all
# Group: control
# Needs: module
. "$LIB"

modprobe configfs
insmod "$MODULE"
rmmod sheepdog
before=$(kept)
for _ in {1..10}; do
	insmod "$MODULE"
	rmmod sheepdog
done
# One load left behind ten times would be more than the limit.
kept_little "$before" "$(kept)" 'ten more times'
