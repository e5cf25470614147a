#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a connection on which nothing arrives any more is replaced, while the gateway answers on others
# Needs: module, sheep
# Load: low
# Group: files
# Limit: 90
. "$LIB"

# forget HOOK: a firewall has forgotten the connections that there are. Their packets go nowhere, and nobody says
# so: what is sent (TCP of this host knows that, and probes), or what comes back.
forget() {
	local port=sport ports
	ports=$(ss -Htn state established dst "${GATEWAYS%:*}" dport "${GATEWAYS##*:}" | awk '{ sub(/.*:/, "", $3); print $3 }' | paste -sd ,)
	[ "$1" = output ] || port=dport
	nft add table inet forgotten
	nft add chain inet forgotten packets "{ type filter hook $1 priority 0; }"
	nft add rule inet forgotten packets tcp $port "{ $ports }" drop
}

load
modprobe nf_tables
create "$VDI" 8M
noise /tmp/noise 4096
# An idle one would be found out by its keep-alive probes.
map m reply_timeout_ms=2000 connections=1
write_4k
offset=0
for hook in output input; do
	forget $hook
	mark
	started=$(now_ms)
	offset=$((offset + 65536))
	write_4k $offset
	lasted 1900 15000 "$started" "a write with no $hook"
	within 5 has_lines "sheepa: $GATEWAYS: nothing sent was acknowledged for [0-9]+ ms, though the gateway answers; connection given up" 1
	within 5 has_lines 'connected again' 1
	nft delete table inet forgotten
	read_4k $offset
	cmp /tmp/read /tmp/noise
done
no_request_failed
unmap m
