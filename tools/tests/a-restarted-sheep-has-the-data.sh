#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: what was acknowledged is there after the sheep was killed and started again
# Needs: module, events
# Load: low
# Group: faults
# Limit: 120
# Sheep: --directory %d
. "$LIB"

load
create "$VDI" 32M
map m connections=4
fio --name=durable --filename="$DEV" --thread --ioengine=libaio --direct=1 --rw=randwrite --bs=16k --size=32M \
	--io_size=4M --iodepth=8 --verify=crc32c --do_verify=0 --randseed=3 --output=/tmp/fio.log
host sheep kill
start_sheep
unmap m
map m
fio --name=durable --filename="$DEV" --thread --ioengine=libaio --direct=1 --rw=randwrite --bs=16k --size=32M \
	--io_size=4M --iodepth=8 --verify=crc32c --verify_only --verify_fatal=1 --randseed=3 --output=/tmp/fio.log ||
	{ cat /tmp/fio.log; fail 'data are lost'; }
unmap m
