#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a reply that waits for its receiver is reported, and read when the receiver runs again
# Needs: module, faults
# Limit: 90
. "$LIB"

mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
# All but that receiver has the other CPU: what is on this shell's CPU stays there.
taskset -pc 0 $$ >/dev/null
load
create "$VDI" 16M
noise /tmp/noise 4096
map m connections=1 reply_timeout_ms=2000
write_4k 0
mark

# The receiver may run on one CPU only, where somebody runs whom it cannot displace; interrupts, and
# the network with them, go to the other.
for file in /proc/irq/*/smp_affinity; do
	echo 1 2>/dev/null >"$file" || true
done
taskset -pc 0 "$(pgrep -x "${DEV#/dev/}-rec")" >/dev/null
taskset -pc 1 "$(pgrep -x "${DEV#/dev/}-rx0")" >/dev/null
echo -1 >/proc/sys/kernel/sched_rt_runtime_us
for file in /sys/kernel/debug/sched/*_server/cpu1/runtime; do
	[ ! -e "$file" ] || echo 0 >"$file"
done
step 'somebody else has the CPU of the receiver'
# shellcheck disable=SC2016 # for that shell
taskset -c 1 chrt -f 50 bash -c 'echo >/tmp/spins; until [ -e /tmp/said ] || [ $SECONDS -ge 25 ]; do :; done' &
spinner=$!
within 10 test -e /tmp/spins
started=$(now_ms)
write_4k 4096 &
writer=$!
reports() { log_count "link 0: a reply has been waiting for its receiver for [0-9]+ ms: .*${DEV#/dev/}-rx0"; }
says() { [ "$(reports)" -ge 1 ]; }
within 25 says
# Noticed when the request is late, after two seconds, and five seconds of waiting.
lasted 5000 25000 "$started" 'the report'
# Looked at each second, and said again when it has lasted twice as long.
sleep 3
same 1 "$(reports)" 'reports of one wait'
kill -0 $writer || fail 'the write has ended without its receiver'
: >/tmp/said
wait $spinner
wait $writer
write_4k 8192
no_request_failed
unmap m
