#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a sheep that stands still, or never answers one request, fails requests after io_timeout_ms
# Needs: module, faults
# Group: faults
# Limit: 120
. "$LIB"

# late WHAT: a write fails between the limit and five times the limit.
late() {
	local started=$SECONDS took
	fails_with 'Input/output error' dd if=/tmp/noise of="$DEV" bs=4k count=1 oflag=direct conv=notrunc status=none
	took=$((SECONDS - started))
	step "$1: the write failed after $took s"
	[ "$took" -ge 2 ] && [ "$took" -le 15 ] || fail "$1: $took s with a limit of 3 s"
	logged 'sheepa: [0-9.:]+: no reply for [0-9]+ ms; connection given up'
	within 5 is_state m dead
	unmap m
}

load
create "$VDI" 8M
noise /tmp/noise 4096
map m io_timeout_ms=3000 connections=2
write_4k
host sheep stop
late 'a sheep that stands still'
host sheep cont

map m io_timeout_ms=3000
fault stall WRITE_OBJ:1:1
late 'a request that is never answered'
map m io_timeout_ms=3000
write_4k
unmap m

step a sheep that stands still cannot be mapped from
host sheep stop
mapping m connect_timeout_ms=2000
refused_put 'Connection timed out' m map 1
logged 'sheepa: [0-9.:]+: ETIMEDOUT'
host sheep cont
