#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: first writes to one object from many CPUs and queues make it once and lose nothing
# Needs: module, faults
# Group: fio
# Limit: 120
# Sheep: --delay CREATE_AND_WRITE_OBJ=5-30
. "$LIB"

load
create "$VDI" 16M
map m connections=4
same 0 "$(served CREATE_AND_WRITE_OBJ)" 'objects at first'
step 'four writers, each with its own quarter of every 64 KiB'
for writer in 0 1 2 3; do
	fio --name="w$writer" --filename="$DEV" --thread --ioengine=libaio --direct=1 --rw=write:48k --bs=16k \
		--offset=$((writer * 16))k --size=16M --io_size=4M --iodepth=64 --verify=crc32c --do_verify=0 \
		--output="/tmp/w$writer.log" &
done
wait
for writer in 0 1 2 3; do
	! grep -qE 'err= *[1-9]' "/tmp/w$writer.log" || { cat "/tmp/w$writer.log"; fail "writer $writer"; }
done
same 4 "$(served CREATE_AND_WRITE_OBJ)" 'objects made'
unmap m
step read it all back
map m
fio_verify --rw=read --bs=16k --size=16M --verify=crc32c --do_verify=1
unmap m
