#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: queue depths 1 and 1024 and 16 connections keep data, with more requests than there is room for
# Needs: module, sheep
# Group: fio
# Limit: 120
. "$LIB"

load
create "$VDI" 32M
for form in 'queue_depth=1 connections=1' 'queue_depth=1024 connections=1' 'queue_depth=1 connections=16' \
	'queue_depth=64 connections=16'; do
	step "$form"
	# shellcheck disable=SC2086 # words
	map m $form
	# The block layer makes no more of them than there are CPUs.
	wanted=$(get m connections)
	[ "$wanted" -le "$(nproc)" ] || wanted=$(nproc)
	same "$wanted" "$(find /sys/block/sheepa/mq/* -maxdepth 0 | wc -l)" 'hardware queues'
	fio_verify --rw=randwrite --bs=4k --size=8M --io_size=2M --iodepth=128 --numjobs=2 --offset_increment=8M
	unmap m
done
