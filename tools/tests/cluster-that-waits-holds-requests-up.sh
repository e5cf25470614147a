#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: requests that the cluster cannot serve now are sent again, with pauses, until it can, or io_timeout_ms is over
# Set: smoke
# Needs: module, faults
# Load: low
# Group: gateways
# Limit: 120
# Gateways: 2
. "$LIB"

load
create "$VDI" 8M
noise /tmp/noise 4096
map m
write_4k
mark

# holds_up RESULT SECONDS MOST: for so long the write waits, and the sheep sees no more than MOST of it.
holds_up() {
	local before started seen
	before=$(served WRITE_OBJ)
	fault fail "WRITE_OBJ@data=$1"
	started=$(now_ms)
	write_4k &
	sleep "$2"
	kill -0 $! || fail "$1: the write did not wait"
	same 1 "$(get m waiting)" "waiting during $1"
	fault clear
	wait $!
	lasted $(($2 * 1000)) $((($2 + 10) * 1000)) "$started" "$1: the write"
	seen=$(($(served WRITE_OBJ) - before))
	step "$1: the sheep saw $seen writes"
	[ "$seen" -ge 2 ] && [ "$seen" -le $(($3 * SLOWER)) ] || fail "$1: the sheep saw $seen writes"
	[ "$(log_count "sheepa: [0-9.:]+: WRITE_OBJ [0-9a-f]{16}: result $1; the cluster is not able to serve this now")" -ge 1 ] ||
		fail "$1: $(log_lines sheepa)"
	same live "$(get m state)" state
}
# At 0, 0.1, 0.3, 0.7, 1.5, 3.1, 6.1 s.
holds_up WAIT_FOR_JOIN 5 7
holds_up HALT 2 6
holds_up STARTUP 2 6
same 0 "$(log_count 'connections lost')" 'lost connections'

step a cluster that waits while objects are made
fault fail CREATE_AND_WRITE_OBJ=HALT:1:2
fault fail WRITE_OBJ@inode=HALT:1:2
write_4k $((4 << 20))
[ "$(log_count 'sheepa: [0-9.:]+: (CREATE_AND_)?WRITE_OBJ [0-9a-f]{16}: result HALT')" -ge 4 ] || fail "$(log_lines sheepa)"
fault clear

step a gateway that goes away sends to the next one
offset=0
for result in SHUTDOWN KILLED; do
	before=$(get m gateway)
	fault fail "WRITE_OBJ@data=$result:1:1"
	# Not twice the same bytes: that would wait for the fence.
	write_4k $((offset += 4096))
	[ "$(get m gateway)" != "$before" ] || fail "$result: the gateway is still $before"
done
same 2 "$(log_count 'sheepa: connections lost; ')" 'changes of the gateway'
unmap m

step no longer than io_timeout_ms
map m io_timeout_ms=3000
fault fail WRITE_OBJ@data=HALT
started=$(now_ms)
refused 'Connection timed out' write_4k
lasted 2900 9000 "$started" 'the write'
same live "$(get m state)" state
fault clear
write_4k
unmap m
