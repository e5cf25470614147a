#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: fio's reads and writes of mixed sizes and depths, direct and buffered, are read back as written
# Needs: module, sheep
# Group: fio
# Limit: 180
. "$LIB"

MIB=$(seconds 8 64)
load
create "$VDI" 64M
map m connections=4
step direct
for depth in 1 7 64; do
	fio_verify --rw=randrw --bsrange=512-256k --bs_unaligned=0 --blockalign=512 --size=64M --io_size="${MIB}M" --iodepth=$depth
done
step buffered
buffered=(--direct=0 --ioengine=psync --rw=randwrite --bsrange=512-64k --blockalign=512 --size=64M --io_size="${MIB}M"
	--randseed=7 --end_fsync=1)
fio_verify "${buffered[@]}" --do_verify=0
unmap m
map m
fio_verify "${buffered[@]}" --verify_only
step mapped memory
fio_verify --direct=0 --ioengine=mmap --rw=randwrite --bs=4k --size=64M --io_size="$((MIB / 4))M"
unmap m
