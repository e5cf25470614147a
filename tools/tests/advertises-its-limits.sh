#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: no write cache, requests end at object boundaries, and flush works; with objects of 1, 4 and 32 MiB
# Set: smoke
# Needs: module, sheep
# Group: data
# Limit: 90
. "$LIB"

load
for size in 1 4 32; do
	step "objects of $size MiB"
	name=$VDI-$size
	bytes=$((size << 20))
	create "$name" 100M --object-size "${size}M"
	map m "vdi=$name"
	queue=/sys/block/sheepa/queue
	same $bytes "$(get m object_size)" object_size
	same 'write through' "$(cat $queue/write_cache)" write_cache
	same $((bytes / 512)) "$(cat $queue/chunk_sectors)" chunk_sectors
	same $bytes "$(cat $queue/optimal_io_size)" optimal_io_size
	same 0 "$(cat $queue/rotational)" rotational
	same 512 "$(cat $queue/logical_block_size)" logical_block_size
	same 0 "$(cat $queue/discard_max_bytes)" discard_max_bytes
	[ "$(cat $queue/max_hw_sectors_kb)" -le $((bytes / 1024)) ] || fail 'requests larger than an object'
	blockdev --flushbufs "$DEV"
	sync "$DEV"
	noise /tmp/data $((3 << 20))
	dd if=/tmp/data of="$DEV" bs=3M seek=$((bytes - (1 << 20))) oflag=direct,seek_bytes conv=fsync status=none
	same "$(md5sum </tmp/data)" \
		"$(dd if="$DEV" bs=1M skip=$((bytes - (1 << 20))) count=3 iflag=direct,skip_bytes status=none | md5sum)" data
	unmap m
done
