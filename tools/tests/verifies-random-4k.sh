#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: fio's random writes of 4 KiB are read back as written, over 1 and 4 connections
# Set: smoke
# Needs: module, sheep
# Group: fio
# Limit: 120
. "$LIB"

MIB=$(seconds 4 32)
load
create "$VDI" 32M
for connections in 1 4; do
	step "$connections connections"
	map m connections=$connections
	fio_verify --rw=randwrite --bs=4k --size=32M --io_size="${MIB}M" --iodepth=32
	fio_verify --rw=randrw --bs=4k --size=32M --io_size="${MIB}M" --iodepth=16 --numjobs=2 --offset_increment=16M --size=16M
	unmap m
done
