#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: bios that the block layer fails on their way to the disk fail alone, also while gateways die; nothing of them is left
# Needs: module, faults
# Gateways: 2
# Limit: 120
. "$LIB"
. "${LIB%lib.sh}faults.bash"

PART_S=$(seconds 10 120)
INJECTOR=fail_make_request

is_busy() { [ "$(writes)" -ge 20 ]; }
nothing_waits() { [ "$(get m waiting)" = 0 ] && [ ! -s "$FAULTS/sheepdog/${DEV#/dev/}/in_flight" ]; }
counted() { jq "$1" /tmp/writecheck.json; }

load
create "$VDI" 64M
map m connections=2 connect_timeout_ms=2000 reply_timeout_ms=4000
noise /tmp/noise 4096
fault_set $INJECTOR space 0
fault_set $INJECTOR verbose 0
fault_set $INJECTOR task-filter 0
echo 1 >"/sys/block/${DEV#/dev/}/make-it-fail"
mark
for percent in 5 50; do
	check_writes --threads 4 --hot 2 --seconds "$PART_S" --settle 3 &
	checking=$!
	within 30 is_busy
	fail_some "$percent" $INJECTOR
	pause 3
	gateway 0 close
	gateway 1 close
	pause 1
	gateway 0 serve
	gateway 1 serve
	sleep $((PART_S - 4))
	fail_none
	wait $checking
	step "$percent in a hundred: $FAILED failed; $(jq -c '{writes, reads, write_errors, read_errors, longest_write_ms}' /tmp/writecheck.json)"
	# A large I/O is several bios, and an I/O may have come too late to be one of writecheck's: never more errors
	# than bios that failed.
	errors=$(counted '.write_errors + .read_errors')
	[ "$(counted .write_errors)" -gt 0 ] && [ "$(counted .read_errors)" -gt 0 ] || fail 'no write or no read failed: that proves nothing'
	[ "$errors" -le "$FAILED" ] || fail "$FAILED bios failed, but $errors I/Os"
done
echo 0 >"/sys/block/${DEV#/dev/}/make-it-fail"

# The driver has not seen any of them: no request failed, none is left.
no_request_failed
within 60 is_state m live
within 20 nothing_waits
write_4k
read_4k
cmp -n 4096 /tmp/noise /tmp/read
unmap m
