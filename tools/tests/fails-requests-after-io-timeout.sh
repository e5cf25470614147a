#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: with io_timeout_ms requests fail after it with ETIMEDOUT, later ones at once, until a sheep is back
# Set: smoke
# Needs: module, faults
# Load: low
# Group: faults
# Limit: 150
# Sheep: --directory %d --no-sync
. "$LIB"

TIMED_OUT='Connection timed out'
# How late a request may fail: the block layer looks once per limit; an emulated machine is slow.
LATEST_MS=9000

# away HOW ORDER: a request waits for its time, state and udev say so, the next one fails at once.
away() {
	local started
	started=$(now_ms)
	host sheep "$2"
	refused "$TIMED_OUT" write_4k
	lasted 2900 $LATEST_MS "$started" "$1: a write"
	# A gateway that stands still is given up with the first request that is late.
	within 10 is_state m failing
	logged 'sheepa: no gateway for 3000 ms \(io_timeout_ms\): requests fail until one is back'
	announced failing
	started=$(now_ms)
	refused "$TIMED_OUT" write_4k 1048576
	refused "$TIMED_OUT" read_4k
	lasted 0 1500 "$started" "$1: a write and a read while it is failing"
}

load
create "$VDI" 8M
noise /tmp/noise 4096
# A write that failed is feared for the fence, and a later one of the same bytes waits for that.
map m io_timeout_ms=3000 reply_timeout_ms=600000 connect_timeout_ms=1000 fence_ms=1000 connections=2
uevents
write_4k

step the sheep dies
away dead kill
host sheep start
within 15 is_state m live
announced live
write_4k
read_4k
cmp -n 4096 /tmp/read /tmp/noise

step it stands still
: >/tmp/uevents
away silent stop
host sheep cont
within 15 is_state m live
write_4k
unmap m

step one request is not answered, while the sheep answers others
map m io_timeout_ms=3000 fence_ms=1000
fault stall WRITE_OBJ:1:1
started=$(now_ms)
refused "$TIMED_OUT" write_4k
lasted 2900 $LATEST_MS "$started" 'a write'
within 10 is_state m live
write_4k
unmap m
