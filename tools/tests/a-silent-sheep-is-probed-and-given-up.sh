#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a sheep that answers neither requests nor a probe is given up; requests go on when it does
# Needs: module, faults
# Load: low
# Group: faults
# Limit: 150
. "$LIB"

load
create "$VDI" 8M
noise /tmp/noise 4096
map m reply_timeout_ms=2000 connect_timeout_ms=1000 connections=2
write_4k

step a sheep that stands still
host sheep stop
started=$(now_ms)
mark
write_4k 65536 &
writer=$!
# Within twice the limit, and the probe.
given_up() { has_lines "sheepa: $GATEWAYS: nothing received for [0-9]+ ms, and no reply to a probe: $ETIMEDOUT; connection given up" 1; }
within 20 given_up
lasted 1900 12000 "$started" 'giving the connection up'
within 5 waits m
same reconnecting "$(get m state)" state
failed_attempt() { [ "$(log_count "sheepa: $GATEWAYS: attempt [0-9]+ failed: $ETIMEDOUT")" -ge 1 ]; }
within 10 failed_attempt
host sheep cont
within 20 is_state m live
wait $writer
unmap m

step a request that is never answered is sent again, over another connection
map m reply_timeout_ms=1000
fault stall WRITE_OBJ:1:1
mark
started=$(now_ms)
write_4k
lasted 9900 25000 "$started" 'the write'
has_lines "sheepa: $GATEWAYS: a request has had no reply for 1[0-9]{4} ms; connection given up" 1
unmap m

step a sheep that stands still cannot be mapped from
host sheep stop
mapping m connect_timeout_ms=2000
refused_put 'Connection timed out' m map 1
logged "sheepa: [0-9.:]+: $ETIMEDOUT"
host sheep cont
