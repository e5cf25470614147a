#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a gateway that refuses or is silent is passed over for the next one
# Needs: module, sheep
# Group: control
# Limit: 60
. "$LIB"

load
create "$VDI" 4M
black_hole
map m "gateways=$CLOSED,$BLACK_HOLE,$GATEWAYS" connect_timeout_ms=3000
logged "sheepa: $CLOSED: $ECONNREFUSED; is a sheep running there"
noise /tmp/data 65536
dd if=/tmp/data of="$DEV" bs=64k oflag=direct status=none
same "$(md5sum </tmp/data)" "$(head -c 65536 "$DEV" | md5sum)" data
