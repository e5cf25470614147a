#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: requests that have waited for a gateway for long do not make the driver impatient with the one that comes back and is slow
# Needs: module, faults
# Load: low
# Group: faults
# Limit: 120
. "$LIB"

# A frame without a reply is given ten times as long; the block layer looks every second.
load
create "$VDI" 8M
map m reply_timeout_ms=1000 connect_timeout_ms=5000
noise /tmp/noise 4096
write_4k
gateway 0 close
write_4k 4096 &
writer=$!
within 20 waits m
sleep 15
fault delay WRITE_OBJ@data=4000
gateway 0 serve
within 60 is_state m live
mark
started=$(now_ms)
wait $writer
lasted 2000 20000 "$started" 'the write'
logged 'connection given up' 0
fault clear
no_request_failed
read_4k 4096
cmp /tmp/noise /tmp/read
unmap m
