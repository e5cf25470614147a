#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: many mappings made at once all work, on one VDI or on several, with a gateway that comes and goes
# Needs: module, faults
# Limit: 180
# Gateways: 2
# Memory: 768
. "$LIB"

MAPPINGS_COUNT=40
! full || MAPPINGS_COUNT=100
SEVERAL=4

load
for number in $(seq $SEVERAL); do create "$VDI-$number" 8M; done
for number in $(seq $MAPPINGS_COUNT); do
	mapping "$number" "vdi=$VDI-$((number % SEVERAL + 1))" queue_depth=8 connect_timeout_ms=20000
done

# all ACTION VALUE: writes to an attribute of all mappings at the same time.
all() {
	local number failed=0 jobs=()
	for number in $(seq $MAPPINGS_COUNT); do
		put "$number" "$1" "$2" 2>/dev/null &
		jobs+=($!)
	done
	for job in "${jobs[@]}"; do wait "$job" || failed=$((failed + 1)); done
	[ "$failed" -eq 0 ] || fail "$1: $failed of $MAPPINGS_COUNT failed: $(log_lines 'sheepdog' | tail -n 5)"
}
live() { grep -lx live "$MAPPINGS"/*/state | wc -l; }

# A mapping knows the objects that there were when it was made: what is to be shared has to be there.
noise /tmp/noise 4096
map 1 "vdi=$VDI-2" queue_depth=8 connect_timeout_ms=20000
dd if=/dev/zero of="$DEV" bs=4k count=1 oflag=direct conv=notrunc status=none
put 1 unmap 1

step "map $MAPPINGS_COUNT"
all map 1
same $MAPPINGS_COUNT "$(live)" 'live mappings'
same $MAPPINGS_COUNT "$(cat "$MAPPINGS"/*/device | sort -u | wc -l)" 'names'

step 'what one of them writes the others of the same VDI read'
DEV=/dev/$(get 1 device)
within 10 test -b "$DEV"
write_4k
for number in 1 5 9; do
	DEV=/dev/$(get $number device)
	within 10 test -b "$DEV"
	read_4k
	cmp -n 4096 /tmp/read /tmp/noise
done

step 'all of them lose their gateway, and go to the next one'
gateway 0 close
moved() { [ "$(grep -lx "$(gateway_address 1)" "$MAPPINGS"/*/gateway | wc -l)" -eq $MAPPINGS_COUNT ]; }
within 30 moved
same $MAPPINGS_COUNT "$(live)" 'live mappings'
read_4k
gateway 0 serve

step 'unmap all'
all unmap 1
same '' "$(find /sys/block -name 'sheep*')" disks
same 0 "$(pgrep -c sheep || true)" threads

step 'map them while the first gateway goes and comes'
for number in $(seq $MAPPINGS_COUNT); do mapping "$number" "vdi=$VDI-$((number % SEVERAL + 1))" queue_depth=8 connect_timeout_ms=3000; done
(
	for _ in 1 2 3 4 5; do
		gateway 0 close
		sleep 0.2
		gateway 0 serve
		sleep 0.2
	done
) &
flapping=$!
all map 1
wait $flapping
same $MAPPINGS_COUNT "$(grep -lxE 'live|reconnecting' "$MAPPINGS"/*/state | wc -l)" 'mappings'
DEV=/dev/$(get 1 device)
read_4k
all unmap force
rmdir "$MAPPINGS"/*/
