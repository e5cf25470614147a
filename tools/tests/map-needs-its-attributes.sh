#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: mapping without gateways or VDI, to a port nobody listens on, or to a host that does not answer fails in time
# Set: smoke
# Group: basics
# Needs: module
# Limit: 60
. "$LIB"

load_module
mkdir "$CONFIG/m"
cd "$CONFIG/m"
refused 'Invalid argument' map 1
echo 10.0.2.15:9 >gateways
refused 'Invalid argument' map 1
echo some >vdi
refused 'Connection refused' map 1
[ "$(cat state)" = failed ]

# Nobody answers: packets to this address are dropped.
nft 'add table inet t; add chain inet t out { type filter hook output priority 0; }; add rule inet t out ip daddr 192.0.2.1 drop'
echo 192.0.2.1:7000 >gateways
echo 1000 >connect_timeout_ms
started=$SECONDS
refused 'Connection timed out' map 1
[ $((SECONDS - started)) -lt 10 ] || fail "it took $((SECONDS - started)) s"
cd /
rmdir "$CONFIG/m"
