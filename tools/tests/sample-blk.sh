#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a disk in memory keeps data, reports errors, and ends requests late
# Limit: 90
# Group: samples
# shellcheck source=tools/tests/lib.sh
. "$LIB"

mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
load_sample blk
disk=/dev/sampleblk

# counter NAME
counter() { sed -n "s/.*$1 \([0-9]*\).*/\1/p" /sys/kernel/debug/sample_blk/counters; }

head -c 1M /dev/urandom >/tmp/data
dd if=/tmp/data of="$disk" bs=64k oflag=direct conv=notrunc status=none
dd if="$disk" of=/tmp/back bs=4k count=256 iflag=direct status=none
cmp /tmp/data /tmp/back
[ "$(counter reused)" -gt 0 ] || fail 'no request was used twice'

for mib in 1 3; do
	refused 'Input/output error' dd if="$disk" of=/dev/null bs=512 count=1 skip=$((mib * 2048)) iflag=direct
done

# Another reader is not held up by the one whose end is.
same 0 "$(counter late)" 'late requests'
before=$(date +%s%3N)
dd if="$disk" of=/dev/null bs=512 count=1 skip=4096 iflag=direct status=none &
dd if="$disk" of=/tmp/back bs=4k count=1 iflag=direct status=none
wait $!
took=$(($(date +%s%3N) - before))
[ "$took" -ge 3400 ] || fail "the held request ended after $took ms"
[ "$(counter late)" -gt 0 ] || fail 'nobody was told that it is late'

# Removal waits for what is held; an open disk keeps the module.
exec 3<"$disk"
refused 'in use' rmmod sample_blk
exec 3<&-
rmmod sample_blk
[ ! -e "$disk" ]
