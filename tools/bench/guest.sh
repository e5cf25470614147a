#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs in the machine: /dev/sheepa on the development sheep against the kernel's nbd on nbdkit's
# memory plugin, turn about. Prints a line per fio run and a table in the end (summary.jq).
#
# Environment: TURNS, JOB_SECONDS, CONNECTIONS, SIZE_MIB; GATEWAY and NBD (address:port) of servers
# outside, or none to start them here.
set -eu

: "${TURNS:=5}" "${JOB_SECONDS:=2}" "${CONNECTIONS:=1}" "${SIZE_MIB:=128}"
# shellcheck source=tools/bench/jobs.sh
. /host/jobs.sh
declare -A server
trap 'kill "${server[@]}" 2>/dev/null || true' EXIT

if [ -z "${GATEWAY:-}" ]; then
	GATEWAY=127.0.0.1:7000
	NBD=127.0.0.1:10809
	devsheep --listen "$GATEWAY" >/tmp/devsheep.log 2>&1 &
	server[sheepa]=$!
	nbdkit --foreground --ipaddr=127.0.0.1 --port=10809 memory "${SIZE_MIB}M" &
	server[nbd0]=$!
	wait_for 20 listens 7000
	wait_for 20 listens 10809
fi

modprobe configfs
modprobe nbd nbds_max=1
insmod "$MODULE"
mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
sheepctl vdi create --gateway "$GATEWAY" bench "${SIZE_MIB}M"
sheepctl map --gateway "$GATEWAY" --connections "$CONNECTIONS" bench
nbd-client -C "$CONNECTIONS" -b 512 "${NBD%:*}" "${NBD##*:}" /dev/nbd0

for device in sheepa nbd0; do
	fill $device
done
for turn in $(seq "$TURNS"); do
	for device in sheepa nbd0; do
		run_jobs $device "$turn" "${server[$device]:-}" $device
	done
done

nbd-client -d /dev/nbd0
sheepctl unmap sheepa
rmmod sheepdog
jq -rs --arg ours sheepa --arg theirs nbd0 -f /host/summary.jq /tmp/results
