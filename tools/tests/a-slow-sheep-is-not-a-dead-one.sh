#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a sheep that needs longer than reply_timeout_ms for each reply keeps its connections
# Needs: module, faults
# Load: low
# Group: faults
# Limit: 90
. "$LIB"

load
create "$VDI" 8M
noise /tmp/noise 4096
map m reply_timeout_ms=1000 connections=2
write_4k
# The probe is answered as late, within connect_timeout_ms.
fault delay ANY=3500
mark
connections() { host sheep fault stats | jq .stats.connections_total; }
before=$(connections)
for offset in 0 4096 8192; do write_4k $offset & done
wait
started=$(now_ms)
read_4k
write_4k
lasted 7000 40000 "$started" 'a read and a write'
fault clear
cmp -n 4096 /tmp/read /tmp/noise
same live "$(get m state)" state
probes=$(($(connections) - before))
step "it was probed $probes times"
[ "$probes" -ge 1 ] || fail 'nobody doubted it'
same 0 "$(log_count 'given up|connections lost|connected again')" 'lines about lost connections'
unmap m
