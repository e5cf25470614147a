#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: replies with a wrong id, sent twice, too long or cut off end the connection and nothing else
# Set: smoke
# Needs: module, faults
# Group: faults
# Limit: 120
. "$LIB"

load
create "$VDI" 8M
noise /tmp/noise $((1 << 20))
map m
dd if=/tmp/noise of="$DEV" bs=1M oflag=direct status=none
unmap m

# ends DAMAGE REGEX: one read meets a damaged reply.
ends() {
	map m connections=2
	mark
	fault corrupt "READ_OBJ=$1:1:1"
	dd if="$DEV" of=/tmp/read bs=64k count=1 iflag=direct status=none 2>/tmp/said || true
	within 10 is_state m dead
	[ "$(log_count "sheepa: [0-9.:]+: $2; connection given up")" -ge 1 ] ||
		fail "$1: no line \"$2\": $(log_lines sheepa)"
	fault clear
	fails_with 'Input/output error' dd if="$DEV" of=/dev/null bs=4k count=1 iflag=direct status=none
	same 0 "$(get m in_flight)" in_flight
	unmap m
}
ends wrong-id 'reply to a request that was not sent \(id 0x[0-9a-f]+\)'
ends duplicate 'reply to a request that was not sent \(id 0x[0-9a-f]+\)'
ends oversize 'reply makes no sense: .*'
ends truncate 'connection lost: .*'

step single bits: data that are read are right, whatever was damaged
fault corrupt READ_OBJ@data=bit-flip
lost=0
failed=0
map m
for _ in $(seq 20); do
	if dd if="$DEV" of=/tmp/read bs=64k count=1 iflag=direct status=none 2>/dev/null; then
		cmp -n 65536 /tmp/read /tmp/noise
	else
		failed=$((failed + 1))
	fi
	if is_state m dead; then
		lost=$((lost + 1))
		unmap m
		map m
	fi
done
fault clear
step "of 20 reads $failed failed, and the connection was given up $lost times"
[ $((failed + lost)) -gt 0 ] || fail 'no damage was noticed'
unmap m

step damage while mapping
mapping m connect_timeout_ms=2000
for damage in wrong-id oversize truncate; do
	fault corrupt "READ_OBJ@inode=$damage:1:1"
	! put m map 1 2>/dev/null || fail "mapped in spite of $damage"
	fault clear
done
map m
same "$(md5sum </tmp/noise)" "$(dd if="$DEV" bs=1M count=1 iflag=direct status=none | md5sum)" data
unmap m
