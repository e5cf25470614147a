#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a gateway with an IPv6 address works, alone and after one with IPv4
# Needs: module, sheep
# Group: control
# Limit: 60
. "$LIB"

load
create "$VDI" 4M
# The sheep listens on IPv4 alone, so a relay in this machine has the other address.
socat 'TCP6-LISTEN:7000,bind=[::1],reuseaddr,fork' "TCP4:${GATEWAYS%%,*}" &
within 10 bash -c 'exec 3<>/dev/tcp/::1/7000' 2>/dev/null
noise /tmp/data 65536
map m 'gateways=[::1]:7000' connections=2
same '[::1]:7000' "$(get m gateways)" gateways
dd if=/tmp/data of="$DEV" bs=64k oflag=direct status=none
unmap m
map m "gateways=$CLOSED,[::1]:7000"
same "$(md5sum </tmp/data)" "$(head -c 65536 "$DEV" | md5sum)" data
unmap m
