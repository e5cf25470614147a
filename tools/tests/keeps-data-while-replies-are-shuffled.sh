#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: replies that come late and in any order end the right requests with the right data
# Set: smoke
# Needs: module, faults
# Group: fio
# Limit: 120
# Sheep: --delay 0-8:0.5
. "$LIB"

load
create "$VDI" 32M
map m connections=2
fault shuffle 8
fio_verify --rw=randrw --bsrange=4k-128k --blockalign=4k --size=32M --io_size=12M --iodepth=32
fault clear
fio_verify --rw=randwrite --bs=4k --size=32M --io_size=2M --iodepth=32
unmap m
