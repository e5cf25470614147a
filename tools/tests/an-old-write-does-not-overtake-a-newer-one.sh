#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a write that a given-up gateway executes late does not undo a newer one: that waits for the fence
# Set: smoke
# Needs: module, faults
# Load: low
# Group: gateways
# Limit: 120
# Gateways: 2
. "$LIB"

# The proof that the danger is real comes first: without a fence the old write wins.
noise /tmp/w1 4096
noise /tmp/w2 4096
mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
load
create "$VDI" 8M

put_4k() { dd if="$1" of="$DEV" bs=4k count=1 oflag=direct conv=notrunc status=none; }
# content FILE: what the object has.
content() {
	read_4k && cmp -s /tmp/read "$1"
}

# abandoned FENCE_MS: a write is read by gateway 0, which hangs, and is done through gateway 1.
abandoned() {
	mark
	map m reply_timeout_ms=1000 connect_timeout_ms=1000 fence_ms="$1"
	same "$(gateway_address 0)" "$(get m gateway)" gateway
	dd if=/dev/zero of="$DEV" bs=1M count=1 oflag=direct conv=notrunc status=none
	gateway 0 hold
	put_4k /tmp/w1
	same "$(gateway_address 1)" "$(get m gateway)" gateway
	content /tmp/w1 || fail 'the first write was acknowledged and is not there'
}

step 'without a fence'
abandoned 0
put_4k /tmp/w2
content /tmp/w2 || fail 'the second write was acknowledged and is not there'
gateway 0 serve
within 10 content /tmp/w1
unmap m

step 'with a fence of 12 s'
abandoned 12000
put_4k /tmp/w2 &
writer=$!
in_flight=/sys/kernel/debug/sheepdog/${DEV#/dev/}/in_flight
within 5 grep -q 'WRITE_OBJ [0-9a-f]*0 offset 0 length 4096 .*: waiting for an old request that may still be executed' "$in_flight"
step 'what does not overlap does not wait'
started=$(now_ms)
dd if=/tmp/w2 of="$DEV" bs=4k count=1 seek=1 oflag=direct conv=notrunc status=none
read_4k
lasted 0 3000 "$started" 'another write and a read'
kill -0 $writer || fail 'the second write did not wait'
gateway 0 serve
within 5 content /tmp/w1
kill -0 $writer || fail 'the second write did not wait for the fence'
wait $writer
content /tmp/w2 || fail 'the first write has undone the second one'
sleep 1
content /tmp/w2 || fail 'the first write has undone the second one'
unmap m
