#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a connection whose lost packets cannot be sent again for want of memory is replaced, and the write goes on
# Needs: module, sheep
# Limit: 120
. "$LIB"
. "${LIB%lib.sh}faults.bash"

# For the creation of an object that was lost there is a fence of five seconds: it exists before.
write_all() { dd if=/tmp/noise of="$DEV" bs=1M oflag=direct conv=notrunc,nocreat status=none; }

load
modprobe sch_netem
create "$VDI" 16M
noise /tmp/noise $((1 << 20))
map m connections=1 reply_timeout_ms=4000
write_all
started=$(now_ms)
write_all
step "a write where nothing is lost takes $(($(now_ms) - started)) ms"
noise /tmp/noise $((1 << 20))
interface=$(ip -o route get "${GATEWAYS%:*}" | sed -n 's/.* dev \([^ ]*\) .*/\1/p')
# A packet of many segments is cut before the first of them is sent again. That takes memory, in an interrupt; what
# was never sent takes none.
aim_below tcp_fragment
mark
tc qdisc add dev "$interface" root netem loss 100%
fail_some 100 failslab
started=$(now_ms)
write_all &
writer=$!
sleep 2
tc qdisc del dev "$interface" root
wait $writer
# From the write on, once the next look has found it; by the limit of a request it would be the tenfold.
lasted 3900 9000 "$started" 'a write that was lost on its way'
fail_none
step "$FAILED allocations failed"
[ "$FAILED" -gt 0 ] || fail 'nothing failed, so this proves nothing'
within 5 has_lines "sheepa: $GATEWAYS: nothing sent was acknowledged for [0-9]+ ms, though the gateway answers; connection given up" 1
within 5 has_lines 'connected again' 1
dd if="$DEV" of=/tmp/read bs=1M count=1 iflag=direct status=none
cmp /tmp/read /tmp/noise
no_request_failed
unmap m
