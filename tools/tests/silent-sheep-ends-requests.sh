#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: when the sheep stands still, a request ends with an error after io_timeout_ms, and unmap works
# Needs: module, faults
. "$LIB"

load
create "$VDI" 16M
map m io_timeout_ms=3000
dd if=/dev/urandom of="$DEV" bs=4096 count=1 oflag=direct status=none
host sheep stop
started=$SECONDS
refused 'Input/output error' dd if="$DEV" of=/dev/null bs=4096 count=1 iflag=direct
took=$((SECONDS - started))
host sheep cont
step "the read ended after $took s"
[ "$took" -ge 2 ] && [ "$took" -lt 20 ]
unmap m force
