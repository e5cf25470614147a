#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: whatever happens to gateways and connections, in any order, no request fails and no data are wrong
# Needs: module, faults
# Limit: 300
# Gateways: 3
# Memory: 640
# Sheep: --directory %d --no-sync
. "$LIB"

# The long form (kernel command line: sheepdog_tests=full) takes an hour, and wants --scale 20.
# sheepdog_seconds=N says how long; sheepdog_seed=N repeats the events of a run, though not their moments.
DURATION_S=30
! full || DURATION_S=3600
seconds=$(sed -n 's/.*sheepdog_seconds=\([0-9]*\).*/\1/p' /proc/cmdline)
DURATION_S=${seconds:-$DURATION_S}
seed=$(sed -n 's/.*sheepdog_seed=\([0-9]*\).*/\1/p' /proc/cmdline)
seed=${seed:-$(($(date +%s) % 32768))}
RANDOM=$seed
step "seed $seed"

declare -A events=()
LIES=(wrong-id duplicate truncate oversize garbage endless stray late)

# event: something happens, for one to three seconds.
event() {
	local kind gateway=$((RANDOM % 3)) pause=$((1 + RANDOM % 3))
	case $((RANDOM % 10)) in
	0)
		kind='sheep killed'
		host sheep kill
		sleep $pause
		host sheep start
		pause=0
		;;
	1) kind='gateway closed' && gateway $gateway close ;;
	2) kind='gateway stopped' && gateway $gateway stop ;;
	3) kind='gateway holding' && gateway $gateway hold ;;
	4) kind='connections reset' && fault disconnect ;;
	5) kind='reply that lies' && fault corrupt "ANY=${LIES[RANDOM % ${#LIES[@]}]}:0.1:2" ;;
	6) kind='connection reset for a request' && fault drop ANY:0.05:3 ;;
	7) kind='connection reset after a request' && fault drop_applied WRITE_OBJ:0.1:3 ;;
	8) kind='late and shuffled replies' && fault delay "ANY=0-$((RANDOM % 1500)):0.2" && fault shuffle 4 ;;
	9) kind='cluster that waits' && fault fail ANY=HALT:0.3 ;;
	esac
	events[$kind]=$((${events[$kind]:-0} + 1))
	sleep $pause
	fault clear
	for gateway in 0 1 2; do gateway $gateway serve; done
}

# load_old, load_new: until told to stop, writes what exists anew and what does not exist yet, and reads
# it again.
load_old() {
	until [ -e /tmp/stop ]; do
		fio_run old --size=32M --rw=randrw --bsrange=4k-16k --blockalign=4k --io_size=2M --iodepth=8
	done
}
load_new() {
	local offset
	for ((offset = 64; offset + 8 <= 512; offset += 4)); do
		[ ! -e /tmp/stop ] || return 0
		fio_run new --offset=${offset}M --size=4M --rw=randwrite --bs=16k --io_size=1M --iodepth=8
		# An hour is longer than the VDI.
		[ "$offset" -lt 500 ] || offset=64
	done
}
fio_run() {
	fio --name="$1" --filename="$DEV" --thread --ioengine=libaio --direct=1 --verify=crc32c --verify_fatal=1 \
		--output="/tmp/fio.$1" "${@:2}" || { cat "/tmp/fio.$1" && touch "/tmp/failed.$1" /tmp/stop; }
	echo "$1" >>/tmp/runs
}

follow_log
load
create "$VDI" 512M
map m connections=2 reply_timeout_ms=1000 connect_timeout_ms=1000 fence_ms=10000
dd if=/dev/zero of="$DEV" bs=4M count=8 oflag=direct conv=notrunc status=none
mark
load_old &
old=$!
load_new &
new=$!
end=$((SECONDS + DURATION_S))
while [ "$SECONDS" -lt $end ] && [ ! -e /tmp/stop ]; do
	event
	sleep "0.$((RANDOM % 10))"
done
step 'peace'
touch /tmp/stop
within 40 is_state m live
wait $old $new
for kind in "${!events[@]}"; do echo "  ${events[$kind]} x $kind"; done | sort -k 3
read -ra counts <"/sys/block/${DEV#/dev/}/stat"
longest=$(since_mark | sed -n 's/.*connected again after \([0-9]*\) ms.*/\1/p' | sort -n | tail -n 1)
step "$((counts[0] + counts[4])) requests, $(wc -l </tmp/runs) runs verified, connections lost" \
	"$(log_count 'connections lost; ') times, longest outage ${longest:-0} ms"
[ -z "$(find /tmp -name 'failed.*')" ] || fail 'data are lost or wrong, or a request failed'
no_request_failed
same 0 "$(get m waiting)" waiting
same 0 "$(get m in_flight)" in_flight
unmap m
