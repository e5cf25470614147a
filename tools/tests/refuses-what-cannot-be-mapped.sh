#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: unknown VDI, closed port, silent hosts and hyper volumes are refused, each with its errno
# Set: smoke
# Needs: module, sheep
# Group: control
# Limit: 90
. "$LIB"

# cannot ERRNO LOG ATTRIBUTES...: and the mapping can be configured and tried again.
cannot() {
	mapping m "${@:3}"
	refused_put "$1" m map 1
	logged "$2"
	same failed "$(get m state)" state
	same '' "$(get m device)" device
}

load
cannot 'No such file or directory' "VDI no-such-vdi: no such VDI; check the name" vdi=no-such-vdi
cannot 'Connection refused' "sheepa: $CLOSED: $ECONNREFUSED" "gateways=$CLOSED"

step a hyper volume
create_odd "$VDI-hyper" $((64 << 20)) 1
cannot 'Operation not supported' "VDI $VDI-hyper: " "vdi=$VDI-hyper"

step a host from which nothing comes back
black_hole
start=$SECONDS
cannot 'Connection timed out' "sheepa: $BLACK_HOLE: $ETIMEDOUT" "gateways=$BLACK_HOLE" connect_timeout_ms=2000
[ $((SECONDS - start)) -le 12 ] || fail "took $((SECONDS - start)) s with a limit of 2 s"

step a host that accepts and is silent
socat TCP-LISTEN:7001,bind=127.0.0.1,reuseaddr,fork 'EXEC:sleep 600' &
within 10 bash -c 'exec 3<>/dev/tcp/127.0.0.1/7001' 2>/dev/null
start=$SECONDS
cannot 'Connection timed out' "sheepa: 127.0.0.1:7001: $ETIMEDOUT" gateways=127.0.0.1:7001 connect_timeout_ms=2000
[ $((SECONDS - start)) -le 12 ] || fail "took $((SECONDS - start)) s with a limit of 2 s"

step a host that is no sheep, but sends back what it gets
socat TCP-LISTEN:7002,bind=127.0.0.1,reuseaddr,fork EXEC:cat &
within 10 bash -c 'exec 3<>/dev/tcp/127.0.0.1/7002' 2>/dev/null
cannot 'Protocol error' "VDI $VDI: .*check the gateway address" gateways=127.0.0.1:7002

step it works after all that
create "$VDI" 4M
map m connect_timeout_ms=10000
