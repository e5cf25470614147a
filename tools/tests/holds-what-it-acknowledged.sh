#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: each block holds exactly what was acknowledged last, while gateways die, hang and come back
# Needs: module, faults
# Load: low
# Group: gateways
# Limit: 240
# Gateways: 2
. "$LIB"

WRITE_S=45
! full || WRITE_S=600
# Far longer than a gateway here holds requests, and shorter than the default, so that hot blocks are
# written on after each failover.
FENCE_MS=10000

load
create "$VDI" 64M
map m connect_timeout_ms=1000 reply_timeout_ms=1000 fence_ms=$FENCE_MS connections=2
check_writes --threads 4 --hot 2 --seconds $WRITE_S --settle 3 --no-errors &
checking=$!
started=$(now_ms)
rounds=0
while [ $(($(now_ms) - started)) -lt $((WRITE_S * 1000)) ]; do
	for mode in close stop hold; do
		for index in 0 1; do
			gateway $index $mode
			# Long enough to be given up, and for newer writes of the same blocks.
			sleep 3.$((RANDOM % 10))
			gateway $index serve
			sleep 1
		done
	done
	fault disconnect
	rounds=$((rounds + 1))
done
wait $checking
step "connections lost $(log_count 'connections lost; ') times in $rounds rounds; $(jq -c \
	'{writes, reads, blocks, longest_write_ms}' /tmp/writecheck.json)"
no_request_failed
unmap m
