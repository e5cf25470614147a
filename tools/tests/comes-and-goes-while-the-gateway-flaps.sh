#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: maps and is unmapped by force, again and again, under load, while the gateway goes and comes
# Needs: module, faults
# Load: low
# Group: gateways
# Limit: 240
# Gateways: 2
. "$LIB"

ROUNDS=20
! full || ROUNDS=400

# The gateway goes and comes as long as the file is there.
flap() {
	while [ -e /tmp/flap ]; do
		gateway 0 close
		sleep 0.2
		gateway 0 serve
		sleep 0.3
		gateway 0 stop
		sleep 0.2
		gateway 0 serve
		sleep 0.2
	done
}

load
create "$VDI" 16M
touch /tmp/flap
flap &
flapping=$!
mark
mapped=0
for round in $(seq $ROUNDS); do
	# Every other time only the gateway that flaps is there.
	through=$GATEWAYS
	[ $((round % 2)) -eq 0 ] || through=$(gateway_address 0)
	mapping m "gateways=$through" connections=2 connect_timeout_ms=1000 reply_timeout_ms=1000
	put m map 1 2>/dev/null || continue
	mapped=$((mapped + 1))
	DEV=/dev/$(get m device)
	# `dd` must not leave a file of that name if it comes too late.
	dd if=/dev/zero of="$DEV" bs=64k oflag=direct conv=notrunc,nocreat status=none 2>/dev/null &
	dd if="$DEV" of=/dev/null bs=64k iflag=direct status=none 2>/dev/null &
	loads=$(jobs -p | grep -vx $flapping)
	sleep "0.$((RANDOM % 8))"
	started=$(now_ms)
	put m unmap force
	took=$(($(now_ms) - started))
	[ "$took" -le $((10000 * SLOWER)) ] || fail "round $round: unmapping by force took $took ms"
	# shellcheck disable=SC2086 # several
	wait $loads || true
	same new "$(get m state)" state
done
rm /tmp/flap
wait $flapping
step "mapped $mapped times of $ROUNDS; connections lost $(log_count 'connections lost; ') times"
[ "$mapped" -ge $((ROUNDS / 3)) ] || fail 'too seldom to prove anything'
rmdir "$MAPPINGS/m"
rmmod sheepdog
insmod "$MODULE"
map m
dd if="$DEV" of=/dev/null bs=1M iflag=direct status=none
unmap m
