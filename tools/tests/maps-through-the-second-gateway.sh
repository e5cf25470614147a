#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: with a first gateway that is dead, stands still, or cuts replies off, a VDI is mapped through the second
# Needs: module, faults
# Load: low
# Group: gateways
# Limit: 90
# Gateways: 2
. "$LIB"

# second HOW LINE: maps, works, and comes back from the second one; the log says why.
second() {
	mark
	map m connect_timeout_ms=2000 connections=2
	same "$(gateway_address 1)" "$(get m gateway)" "gateway, $1"
	logged "sheepa: $(gateway_address 0): $2; is a sheep running there"
	write_4k
	read_4k
	cmp -n 4096 /tmp/read /tmp/noise
}

load
create "$VDI" 8M
noise /tmp/noise 4096
gateway 0 close
second dead "$ECONNREFUSED"
unmap m

gateway 0 stop
second 'standing still' "$ETIMEDOUT"
step 'the second goes while the first still stands still; then the first comes back'
gateway 1 close
within 10 is_state m reconnecting
write_4k &
gateway 0 serve
within 20 is_state m live
wait $!
same "$(gateway_address 0)" "$(get m gateway)" gateway
unmap m
gateway 1 serve

step both are dead
gateway 0 close
gateway 1 close
mapping m
refused_put 'Connection refused' m map 1
same failed "$(get m state)" state
gateway 0 serve
gateway 1 serve
map m
read_4k
unmap m
