#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: replies with a wrong id, sent twice, too long or cut off end the connection, not the request
# Set: smoke
# Needs: module, faults
# Load: low
# Group: faults
# Limit: 120
. "$LIB"

load
create "$VDI" 8M
noise /tmp/noise $((1 << 20))
map m
dd if=/tmp/noise of="$DEV" bs=1M oflag=direct status=none
unmap m

# ends DAMAGE REGEX: one read meets a damaged reply, and is answered over the next connection.
ends() {
	map m connections=2
	mark
	fault corrupt "READ_OBJ@data=$1:1:1"
	read_64k || fail "$1: the read failed"
	cmp -n 65536 /tmp/read /tmp/noise
	within 20 has_lines 'sheepa: .*: connected again after [0-9]+ ms, attempt [0-9]+; [01] requests go on' 1
	[ "$(log_count "sheepa: [0-9.:]+: $2; connection given up")" -ge 1 ] ||
		fail "$1: no line \"$2\": $(log_lines sheepa)"
	same live "$(get m state)" "state after $1"
	same 0 "$(get m in_flight)" in_flight
	unmap m
}
read_64k() { dd if="$DEV" of=/tmp/read bs=64k count=1 iflag=direct status=none; }
ends wrong-id 'reply to a request that was not sent \(id 0x[0-9a-f]+\)'
ends duplicate 'reply to a request that was not sent \(id 0x[0-9a-f]+\)'
ends oversize 'reply makes no sense: .*'
ends truncate 'connection lost: .*'

step single bits: data that are read are right, whatever was damaged
mark
failed=0
for _ in $(seq 12); do
	map m
	fault corrupt READ_OBJ@data=bit-flip:1:1
	if read_64k 2>/dev/null; then
		cmp -n 65536 /tmp/read /tmp/noise
	else
		failed=$((failed + 1))
	fi
	unmap m
done
lost=$(log_count 'connection given up')
step "of 12 reads $failed failed, and $lost were read again over another connection"
[ $((failed + lost)) -gt 0 ] || fail 'no damage was noticed'

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
