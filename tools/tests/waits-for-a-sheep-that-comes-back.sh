#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: while the sheep is away requests wait, and when it is back they go on, without an error
# Set: smoke
# Needs: module, events
# Load: low
# Group: faults
# Limit: 120
# Sheep: --directory %d --no-sync
. "$LIB"

load
create "$VDI" 64M
gateway=$(gateway_address 0)
map m "gateways=$gateway" connections=2
uevents
mark
fio_verify --size=8M --offset=8M --rw=randwrite --bs=8k --iodepth=16 --rate_iops=100 --loops=2 &
fio=$!
under_load() { [ "$(writes)" -gt 50 ]; }
within 30 under_load
step the sheep dies
host sheep kill
# As few as that: fio submits no more while it waits for the first.
within 10 waits m 1
same reconnecting "$(get m state)" state
same "$gateway" "$(get m gateway)" gateway
sleep 4
kill -0 $fio || fail 'the load did not wait'
# Whoever notices first, the receiver or a sender.
[ "$(log_count "sheepa: $gateway: (connection lost: .*|cannot send: ($EPIPE|$ECONNRESET)); connection given up")" -ge 1 ] || fail "$(log_lines sheepa)"
has_lines 'sheepa: connections lost; [0-9]+ requests wait' 1
[ "$(log_count "sheepa: $gateway: attempt [0-9]+ failed: $ECONNREFUSED; next in [1-4] s, [0-9]+ requests waiting")" -ge 2 ] ||
	fail "attempts: $(log_lines sheepa)"
step it comes back
host sheep start
within 60 is_state m live
within 5 has_lines "sheepa: $gateway: connected again after [0-9]+ ms, attempt [0-9]+; [1-9][0-9]* requests go on" 1
wait $fio
same 0 "$(get m waiting)" waiting
announced reconnecting
announced live
no_request_failed
unmap m
