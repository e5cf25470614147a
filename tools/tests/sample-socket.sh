#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: TCP from the kernel: both families, a limit for connecting, a reset wakes the receiver
# Limit: 90
# Group: samples
# shellcheck source=tools/tests/lib.sh
. "$LIB"

ip link set lo up
load_sample socket
top=/sys/kernel/config/sample_socket

# A peer that echoes, in both families, and one that says nothing.
socat TCP4-LISTEN:7001,bind=127.0.0.1,fork PIPE &
socat TCP6-LISTEN:7002,bind='[::1]',ipv6only,fork PIPE &
socat -u TCP4-LISTEN:7003,bind=127.0.0.1,fork OPEN:/dev/null &
listening() { [ "$(ss -Hltn 'sport >= 7001 and sport <= 7003' | wc -l)" = 3 ]; }
within 20 listening

echo 127.0.0.1:7001 >"$top/echo"
echo '[::1]:7002' >"$top/echo"
refused 'Connection refused' tee "$top/echo" <<<127.0.0.1:7009
refused 'Invalid argument' tee "$top/echo" <<<localhost:7001
logged 'sample_socket: write address:port, as in'

echo 127.0.0.1:7003 >"$top/silent"

black_hole
echo "$BLACK_HOLE" >"$top/limit"
# A peer that answers is no test of the limit, and the sample says so.
refused 'Protocol error' tee "$top/limit" <<<127.0.0.1:7001
rmmod sample_socket
kill %1 %2 %3
