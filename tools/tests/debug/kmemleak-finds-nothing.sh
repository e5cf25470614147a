#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: being mapped, used and unmapped again and again, half of the times by force, leaves no memory that nobody refers to
# Needs: module, faults
# Gateways: 2
# Limit: 240
. "$LIB"
. "${LIB%lib.sh}faults.bash"

ROUNDS=30
! full || ROUNDS=100

load
create "$VDI" 16M
noise /tmp/noise 65536
for round in $(seq $ROUNDS); do
	map m connections=2
	dd if=/tmp/noise of="$DEV" bs=64k count=1 oflag=direct conv=notrunc status=none
	dd if="$DEV" of=/tmp/back bs=64k count=1 iflag=direct status=none
	cmp /tmp/noise /tmp/back
	# Requests in flight, on connections that are lost now and then.
	dd if="$DEV" of=/dev/null bs=64k iflag=direct status=none 2>/dev/null &
	[ $((round % 5)) != 0 ] || fault disconnect
	if [ $((round % 2)) = 0 ]; then
		put m unmap force
		wait
	else
		wait
		put m unmap 1
	fi
	rmdir "$MAPPINGS/m"
done
step "$ROUNDS times"
leaks
same 0 "$LEAKS" leaks
# The module's own, which are data and text of it otherwise.
rmmod sheepdog
leaks
same 0 "$LEAKS" 'leaks of the module that is gone'
