#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a sparse VDI of 10 GiB keeps what is written at scattered places and at its very end
# Needs: module, sheep
# Group: data
# Limit: 90
. "$LIB"

load
size=$((10 << 30))
create "$VDI" 10G
map m
same $size "$(blockdev --getsize64 "$DEV")" size
noise /tmp/data 65536
# Two objects are crossed by each of the first ones, the last one ends with the disk.
places=($((size - 65536)))
for gib in 0 1 3 7 9; do
	places+=($(((gib << 30) + (4 << 20) - 32768)))
done
for place in "${places[@]}"; do
	(echo "$place"; cat /tmp/data) | head -c 65536 |
		dd of="$DEV" bs=64k iflag=fullblock seek="$place" oflag=direct,seek_bytes status=none
done
unmap m
map m
for place in "${places[@]}"; do
	same "$( (echo "$place"; cat /tmp/data) | head -c 65536 | md5sum)" \
		"$(dd if="$DEV" bs=64k count=1 skip="$place" iflag=direct,skip_bytes status=none | md5sum)" "data at $place"
done
cmp -n $((100 << 20)) -i $((5 << 30)):0 "$DEV" /dev/zero
memory=$(get m memory_bytes)
[ "$memory" -lt $((1 << 20)) ] || fail "the mapping holds $memory bytes"
unmap m
