#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: when the gateway in use dies or stands still, requests go on through the next one, without an error
# Set: smoke
# Needs: module, faults
# Load: low
# Group: gateways
# Limit: 180
# Gateways: 3
. "$LIB"

# No write needs a new object, which a lost CREATE would hold up for as long as the fence stands.
load
create "$VDI" 32M
map m connections=2 reply_timeout_ms=2000 connect_timeout_ms=1000
dd if=/dev/zero of="$DEV" bs=4M count=8 oflag=direct status=none

# leaves FROM MODE TO LONGEST_MS: under load, gateway FROM goes and TO takes over.
leaves() {
	local started longest longest_ms=$(($4 * SLOWER))
	mark
	same "$(gateway_address "$1")" "$(get m gateway)" gateway
	fio_verify --rw=randwrite --bs=4k --size=32M --io_size=2M --iodepth=16 --rate_iops=60 --output-format=json &
	sleep 2
	started=$(now_ms)
	gateway "$1" "$2"
	within $((30 * SLOWER)) same_gateway "$3"
	lasted 0 "$longest_ms" "$started" "gateway $1, $2: the change"
	has_lines "sheepa: $(gateway_address "$3"): connected again after [0-9]+ ms, attempt [0-9]+; [0-9]+ requests go on" 1
	wait $!
	longest=$(jq '.jobs[0].write.clat_ns.max / 1000000 | floor' /tmp/fio.log)
	step "gateway $1, $2: the longest write took $longest ms"
	[ "$longest" -le "$longest_ms" ] || fail "a write took $longest ms"
	same "$(gateway_address "$3")" "$(get m gateway)" gateway
	gateway "$1" serve
}
same_gateway() { [ "$(get m gateway)" = "$(gateway_address "$1")" ] && is_state m live; }

leaves 0 close 1 8000
leaves 1 close 2 8000
# Twice the reply timeout until the silence is noticed, a probe, and one attempt.
leaves 2 stop 0 16000
no_request_failed
unmap m
