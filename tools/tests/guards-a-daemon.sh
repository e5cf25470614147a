#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a daemon that sheepctl guard starts is an I/O flusher in all threads and locked, and check tells which is not
# Needs: module, sheep
# Group: files
# Limit: 180
. "$LIB"

BIN=$(dirname "$(command -v sheepctl)")
PORT=7123

# start_sheep COMMAND...: a devsheep on this machine, started by the command.
start_sheep() {
	"$@" "$BIN/devsheep" --listen "127.0.0.1:$PORT" --threads 4 --directory /tmp/store >/tmp/sheep.log 2>&1 &
	SHEEP=$!
	within 20 grep -q 'listening on' /tmp/sheep.log
}

stop_sheep() {
	kill "$SHEEP"
	wait "$SHEEP" || true
}

# flushers PID: how many threads are I/O flushers (PF_MEMALLOC_NOIO, PF_LOCAL_THROTTLE), of how many.
flushers() {
	local stat flags all=0 marked=0
	for stat in /proc/"$1"/task/*/stat; do
		flags=$(sed 's/.*) //' "$stat" | cut -d ' ' -f 7)
		all=$((all + 1))
		[ $((flags & 0x180000)) -ne $((0x180000)) ] || marked=$((marked + 1))
	done
	echo "$marked $all"
}

# locked PID: kB.
locked() { awk '/^VmLck:/ { print $2 }' "/proc/$1/status"; }

# check_says STATUS KINDS: what `sheepctl check` finds, notes apart.
check_says() {
	local status=0 report
	report=$(sheepctl check --json 2>/tmp/check.err) || status=$?
	same "$1" "$status" "exit status of check ($report)"
	same "$2" "$(jq -r '[.findings[] | select(.level == "risk") | .kind] | sort | join(" ")' <<<"$report")" 'risks'
}

load
mkdir /tmp/store
create "$VDI" 16M

step a daemon as it comes
start_sheep env
sheepctl vdi create -g "127.0.0.1:$PORT" local 16M
read -r marked all <<<"$(flushers "$SHEEP")"
same 0 "$marked" 'I/O flushers'
same 0 "$(locked "$SHEEP")" 'locked memory'
step 'nothing is mapped, nothing can wait'
check_says 0 ''
map m vdi=local gateways="127.0.0.1:$PORT"
check_says 1 'memory-not-locked not-io-flusher'
sheepctl check | tee /tmp/report || true
# However many it has at that moment.
grep -qE "risk: devsheep \(pid $SHEEP\): ([0-9]+) of \1 threads no I/O flusher" /tmp/report || fail 'which daemon?'
unmap m
stop_sheep

step a guarded daemon
start_sheep sheepctl guard --
map m vdi=local gateways="127.0.0.1:$PORT"
noise /tmp/noise $((8 << 20))
dd if=/tmp/noise of="$DEV" bs=1M oflag=direct status=none
read -r marked all <<<"$(flushers "$SHEEP")"
step "$marked of $all threads are I/O flushers, $(locked "$SHEEP") kB locked"
[ "$all" -gt 1 ] || fail 'one thread proves nothing'
same "$all" "$marked" 'I/O flushers'
[ "$(locked "$SHEEP")" -gt 4096 ] || fail 'the memory is not locked'
same -1000 "$(cat "/proc/$SHEEP/oom_score_adj")" oom_score_adj
check_says 0 ''
within 30 grep -q "sheepctl: guard: devsheep (pid $SHEEP): [0-9]* threads, all I/O flushers; .* are locked" /tmp/sheep.log
! grep WRONG /tmp/sheep.log || fail 'the guard is not content'

step it goes into the background
# shellcheck disable=SC2016 # the inner shell expands it
sheepctl guard -- bash -c '(while sleep 1; do :; done) & echo $! >/tmp/child' 2>/tmp/guard.log
child=$(cat /tmp/child)
within 30 grep -q "guard: bash (pid $child): 1 thread, all I/O flushers; .* are locked" /tmp/guard.log
[ "$(locked "$child")" -gt 1000 ] || fail 'the child of the fork is not locked'
kill "$child"

step other risks
mkdir /sys/fs/cgroup/small
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
echo $((256 << 20)) >/sys/fs/cgroup/small/memory.max
echo "$SHEEP" >/sys/fs/cgroup/small/cgroup.procs
check_says 1 'small-memory-cgroup'
echo "$SHEEP" >/sys/fs/cgroup/cgroup.procs
mkswap -q "$DEV"
swapon "$DEV"
check_says 1 swap
swapoff "$DEV"
check_says 0 ''
unmap m
stop_sheep

step what cannot be guarded says so
status=0
sheepctl guard -- /no/such/daemon 2>/tmp/guard.log || status=$?
same 127 "$status" 'exit status'
status=0
setpriv --bounding-set=-sys_resource sheepctl guard -- true 2>/tmp/guard.log || status=$?
same 125 "$status" 'exit status'
grep -q 'CAP_SYS_RESOURCE is missing' /tmp/guard.log || { cat /tmp/guard.log; fail 'which capability?'; }
status=0
sheepctl guard -- bash -c 'exit 7' || status=$?
same 7 "$status" 'exit status'
