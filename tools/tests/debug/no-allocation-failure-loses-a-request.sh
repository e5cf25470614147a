#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: no request is lost or fails while allocations of the driver fail, gateways die and come back
# Needs: module, faults
# Gateways: 2
# Limit: 240
. "$LIB"
. "${LIB%lib.sh}faults.bash"

PART_S=$(seconds 15 120)
PERCENTS=(1 10 50)

# lost: how often a connection was.
lost() { log_count 'connections lost; '; }

# told: what happened since the mark, of a part of the test.
told() {
	fail_none
	step "$1: $FAILED allocations failed; connections lost $(lost) times, made $(log_count 'connected again') times, not made $(log_count ' attempt [0-9]+ failed') times, for want of memory $(log_count ' attempt [0-9]+ failed: (ENOMEM|ENOBUFS|error -12|error -105)') times"
	[ "$FAILED" -gt 0 ] || fail 'nothing failed, so this proves nothing'
	no_request_failed
	within 60 is_state m live
	read_4k
	since_mark | failed_in >>/tmp/places
	mark
}

load
create "$VDI" 64M
map m connections=2 connect_timeout_ms=2000 reply_timeout_ms=4000
noise /tmp/noise 4096
aim

for percent in "${PERCENTS[@]}"; do
	check_writes --threads 4 --hot 2 --seconds "$PART_S" --settle 3 --no-errors &
	checking=$!
	fail_some "$percent"
	sleep "$PART_S"
	told "$percent in a hundred fail"
	wait $checking
	step "$(jq -c '{writes, reads, blocks, longest_write_ms}' /tmp/writecheck.json)"
done

# Connections cannot be made while all fails, and are when it is over.
for round in 1 2 3; do
	check_writes --threads 4 --hot 2 --seconds "$PART_S" --settle 3 --no-errors &
	checking=$!
	fail_some 100
	gateway 0 close
	gateway 1 close
	sleep 2
	gateway 0 serve
	gateway 1 serve
	sleep 5
	told "all fail, round $round"
	wait $checking
	step "$(jq -c '{writes, reads, blocks, longest_write_ms}' /tmp/writecheck.json)"
done

# Gateways go and come, while half of all fails.
check_writes --threads 4 --hot 2 --seconds "$PART_S" --settle 3 --no-errors &
checking=$!
fail_some 50
end=$((SECONDS + PART_S))
while [ $SECONDS -lt $end ]; do
	for index in 0 1; do
		gateway $index close
		sleep "0.$((RANDOM % 10))"
		gateway $index serve
		sleep 1
	done
done
told 'half of all fail, and gateways die'
wait $checking
step "$(jq -c '{writes, reads, blocks, longest_write_ms}' /tmp/writecheck.json)"

step 'unmapping while all fails'
check_writes --threads 2 --seconds 2 --settle 1 --no-errors
fail_some 100
put m unmap 1
fail_none
step 'and by force, under load'
map m connections=2
dd if=/dev/zero of="$DEV" bs=64k oflag=direct conv=notrunc,nocreat status=none 2>/dev/null &
dd if="$DEV" of=/dev/null bs=64k iflag=direct status=none 2>/dev/null &
sleep 1
fail_some 100
put m unmap force
fail_none
wait
rmdir "$MAPPINGS/m"
sort /tmp/places | uniq -c | sort -rn | short_names
same 0 "$(pgrep -c '^sheep' || true)" 'threads of the driver'
leaks
same 0 "$LEAKS" leaks
