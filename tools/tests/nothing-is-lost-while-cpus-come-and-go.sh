#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: no wake-up and no request is lost while CPUs go offline and come back under load
# Needs: module, faults
# Cpus: 4
# Limit: 180
. "$LIB"
. "${LIB%lib.sh}pressure.bash"

# More CPUs than the host has for them: whoever holds a lock may not be running.
BOUND_S=20
# When requests are late the driver looks whether replies wait for their receivers.
REPLY_MS=5000
UNREAD='a reply has been waiting for its receiver'

# One mapping has a queue for each CPU, and so many requests that a wake-up follows upon every other.
# The other has one request at a time: if its wake-up is lost, there is none to make up for it.
follow_log
load
create "$VDI" 64M
create "$VDI-lone" 64M
map lone vdi="$VDI-lone" connections=1 reply_timeout_ms=$REPLY_MS
lone=$DEV
map m connections=4 reply_timeout_ms=$REPLY_MS
for disk in "$DEV" "$lone"; do
	dd if=/dev/zero of="$disk" bs=4M oflag=direct status=none 2>/dev/null || true
done

# of_jobs FILTER FILE: of fio's report, before which it may have said something else.
of_jobs() { sed -n '/^{/,$p' "$2" | jq "[.jobs[] | .read, .write | $1"; }
longest() { of_jobs '.clat_ns.max] | max / 1000000 | floor' "$1"; }
requests() { of_jobs '.total_ios] | add' "$1"; }

duration=$(seconds 15 600)
step "load for $duration s"
verify() {
	fio --name=verify --thread --direct=1 --verify=crc32c --verify_fatal=1 --rw=randrw --bs=4k \
		--time_based --runtime="$duration" --output-format=json "$@"
}
(
	verify --filename="$DEV" --size=16M --ioengine=libaio --iodepth=32 --numjobs=3 --offset_increment=16M \
		--output=/tmp/many.json
) &
many=$!
verify --filename="$lone" --size=32M --ioengine=psync --output=/tmp/lone.json &
alone=$!
cgroup hogs
inside hogs stress-ng --quiet --switch 1 --switch-freq 200 --cpu 1 --cpu-load 30 --sched-runtime 0

# comes_and_goes: one CPU, at most each second.
online=/sys/devices/system/cpu/cpu
changes=0 changed_s=0
comes_and_goes() {
	local cpu
	[ $SECONDS -gt $changed_s ] || return 1
	changed_s=$SECONDS
	cpu=$((1 + RANDOM % 3))
	echo $(($(cat $online$cpu/online) ^ 1)) >$online$cpu/online
	changes=$((changes + 1))
	return 1
}
for pid in $many $alone; do
	if stalls $BOUND_S "$pid" comes_and_goes; then
		fail "no request has ended for $LONGEST_MS ms"
	fi
	wait "$pid" || fail "fio: $(tail -n 20 /tmp/many.json /tmp/lone.json)"
done
for cpu in 1 2 3; do
	echo 1 >$online$cpu/online
done
end_all
many_ms=$(longest /tmp/many.json) lone_ms=$(longest /tmp/lone.json)
figures "worst_ms=$((many_ms > lone_ms ? many_ms : lone_ms))" "lone_ms=$lone_ms" \
	"requests=$(requests /tmp/many.json)" "lone_requests=$(requests /tmp/lone.json)" "changes=$changes"
[ "$changes" -ge 6 ] || fail "only $changes changes"
[ "$many_ms" -le $((BOUND_S * 1000)) ] && [ "$lone_ms" -le $((BOUND_S * 1000)) ] ||
	fail "a request took $many_ms ms, of those alone $lone_ms ms"
same 0 "$(log_count "$UNREAD")" "log lines \"$UNREAD\""
same 0 "$(log_count 'connection(s lost| given up)')" 'connections lost'
no_request_failed
unmap lone
unmap m
