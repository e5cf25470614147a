#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: replies of every damaged kind, under load, harm neither data nor memory, and all is well after them
# Needs: module, faults
# Group: survives
# Limit: 300
. "$LIB"

# The long form (kernel command line: sheepdog_tests=full) takes half an hour, and wants --scale 10.
FUZZ_S=10
EACH_S=2
! full || FUZZ_S=1500 EACH_S=20
# After these nothing is believed that is not true: no request fails.
NOTICED=(wrong-id duplicate truncate oversize garbage endless stray late drip)
# These can make another result of a reply, or call a write done that is still on its way.
BELIEVED=(bit-flip header early fuzz)

# Of those, what ends the connection whenever it comes.
ENDS=' wrong-id duplicate truncate oversize garbage endless stray '

given_up_since() { [ "$(log_count 'connection given up')" -gt "$1" ]; }
busy() { [ "$(writes)" -ge 20 ]; }

# damage KIND SECONDS PROBABILITY: while the load goes on; until it was noticed, if it has to be.
damage() {
	local given_up
	given_up=$(log_count 'connection given up')
	fault corrupt "ANY=$1:$3"
	sleep "$2"
	[[ $ENDS != *" $1 "* ]] || within 30 given_up_since "$given_up"
	fault clear
	step "$1: connections given up $(($(log_count 'connection given up') - given_up)) times"
}

# checked MEGABYTE: reads what it has written until told to stop; no request fails.
checked() {
	until [ -e /tmp/stop ]; do
		fio --name="at-$1" --filename="$DEV" --thread --ioengine=libaio --direct=1 --verify=crc32c --verify_fatal=1 \
			--offset="${1}M" --size=4M --rw=randrw --bsrange=4k-32k --blockalign=4k --io_size=512k --iodepth=8 \
			--output="/tmp/fio.$1" || { cat "/tmp/fio.$1" && touch /tmp/wrong /tmp/stop; }
		echo "$1" >>/tmp/runs
	done
}

# same_again: writes until told to stop what is there already, so that it does not matter when.
same_again() {
	local place
	until [ -e /tmp/stop ]; do
		place=$((RANDOM % 64))
		dd if=/tmp/noise of="$DEV" bs=64k count=1 skip=$place seek=$place oflag=direct conv=notrunc status=none || true
		echo write >>/tmp/runs
	done
}

# read_again: what is read is what was written, if it is read at all.
read_again() {
	local place
	until [ -e /tmp/stop ]; do
		place=$((RANDOM % 64))
		if dd if="$DEV" of=/tmp/again bs=64k count=1 skip=$place iflag=direct status=none; then
			cmp -i $((place * 65536)):0 -n 65536 /tmp/noise /tmp/again || touch /tmp/wrong /tmp/stop
			echo read >>/tmp/runs
		fi
	done
}

# A list of many gateways, all the same, so that there is no pause after each attempt.
many=$GATEWAYS
for _ in {1..15}; do many+=,$GATEWAYS; done
MAP=("gateways=$many" connections=2 reply_timeout_ms=1000 connect_timeout_ms=1000 fence_ms=1000)
load
create "$VDI" 16M
noise /tmp/noise $((4 << 20))
map m "${MAP[@]}"
dd if=/dev/zero of="$DEV" bs=4M count=4 oflag=direct conv=notrunc status=none
dd if=/tmp/noise of="$DEV" bs=1M oflag=direct conv=notrunc status=none
unmap m
before=$(kept)

step 'damage that is noticed'
map m "${MAP[@]}"
mark
checked 4 &
checked 8 &
within 60 busy
for kind in "${NOTICED[@]}"; do damage "$kind" $EACH_S 0.1; done
touch /tmp/stop
wait
[ ! -e /tmp/wrong ] || fail 'data are wrong, or a request failed'
no_request_failed
within 30 is_state m live
step "$(wc -l </tmp/runs) runs verified"
rm /tmp/stop /tmp/runs

step 'damage that is believed'
same_again 2>/dev/null &
read_again 2>/dev/null &
for kind in "${BELIEVED[@]}"; do
	seconds=$EACH_S
	[ "$kind" != fuzz ] || seconds=$FUZZ_S
	damage "$kind" $seconds 0.1
done
touch /tmp/stop
wait
step "$(grep -c read /tmp/runs) reads compared, $(grep -c write /tmp/runs) writes"
[ ! -e /tmp/wrong ] || fail 'a read gave wrong data'
within 30 is_state m live

step 'all is well'
mark
dd if="$DEV" of=/tmp/again bs=1M count=4 iflag=direct status=none
cmp /tmp/noise /tmp/again
fio_verify --rw=randwrite --bs=16k --offset=8M --size=8M --io_size=1M --iodepth=8
no_request_failed
same 0 "$(log_count 'given up')" 'connections given up since'
same 0 "$(get m waiting)" waiting
unmap m
no_connections() { [ "$(host sheep fault stats | jq .stats.connections)" -eq 0 ]; }
within 20 no_connections
kept_little "$before" "$(kept)" 'all of it'
