#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: an object that a given-up gateway creates late does not lose what was written to it since
# Needs: module, faults
# Load: low
# Group: gateways
# Limit: 120
# Gateways: 2
. "$LIB"

# A CREATE replaces the whole object, so it is a danger to every byte of it.
noise /tmp/w1 4096
noise /tmp/w2 4096
load
create "$VDI" 16M

# put_at FILE OFFSET, content FILE OFFSET: in 4 KiB.
put_at() { dd if="$1" of="$DEV" bs=4k count=1 seek="$2" oflag=direct conv=notrunc status=none; }
content() { read_4k $(($2 * 4096)) && cmp -s -n 4096 /tmp/read "$1"; }

# abandoned FENCE_MS OBJECT: a CREATE is read by gateway 0, which hangs, and is done through gateway 1.
abandoned() {
	map m reply_timeout_ms=1000 connect_timeout_ms=1000 fence_ms="$1"
	same "$(gateway_address 0)" "$(get m gateway)" gateway
	gateway 0 hold
	put_at /tmp/w1 $(($2 * 1024))
	same "$(gateway_address 1)" "$(get m gateway)" gateway
}

step 'without a fence'
abandoned 0 0
put_at /tmp/w2 8
content /tmp/w2 8 || fail 'the second write was acknowledged and is not there'
gateway 0 serve
within 10 content /dev/zero 8
content /tmp/w1 0 || fail 'the first write is not there'
unmap m

step 'with a fence of 12 s'
map m reply_timeout_ms=1000 connect_timeout_ms=1000 fence_ms=12000
gateway 0 hold
put_at /tmp/w1 1024 &
first=$!
moved() { [ "$(get m gateway)" = "$(gateway_address 1)" ]; }
within 20 moved
put_at /tmp/w2 1032 &
second=$!
sleep 1
kill -0 $first || fail 'the CREATE was sent again beside the abandoned one'
kill -0 $second || fail 'the second write did not wait'
same 2 "$(get m waiting)" waiting
gateway 0 serve
sleep 1
kill -0 $first && kill -0 $second || fail 'one did not wait for the fence'
wait $first
wait $second
sleep 1
content /tmp/w1 1024 || fail 'the first write is not there'
content /tmp/w2 1032 || fail 'the object was created again'
unmap m
