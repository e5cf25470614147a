#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs in the machine: /dev/sheepa with all its protections against a lack of memory and with each
# of them taken away (the module's parameter `unprotected`), turn about. Prints a line per fio run
# and a table per protection in the end (summary.jq).
#
# Environment: TURNS, JOB_SECONDS, CONNECTIONS, SIZE_MIB.
set -eu

: "${TURNS:=3}" "${JOB_SECONDS:=1}" "${CONNECTIONS:=1}" "${SIZE_MIB:=64}"
# shellcheck source=tools/bench/jobs.sh
. /host/jobs.sh
gateway=127.0.0.1:7000
declare -A without=(
	[1]='no-I/O and reserve scopes'
	[2]='reserve for sockets'
	[4]='no-I/O allocation of sockets'
	[8]='sockets outside the memory cgroup'
	[15]='all of them'
)

devsheep --listen "$gateway" >/tmp/devsheep.log 2>&1 &
server=$!
trap 'kill $server 2>/dev/null || true' EXIT
wait_for 20 listens 7000

modprobe configfs
mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
# Mapped from inside a memory cgroup, as by a service: outside of one nothing would be accounted.
mountpoint -q /sys/fs/cgroup || mount -t cgroup2 none /sys/fs/cgroup
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/bench
echo $$ >/sys/fs/cgroup/bench/cgroup.procs

filled=
for turn in $(seq "$TURNS"); do
	for bits in 0 1 2 4 8 15; do
		insmod "$MODULE" unprotected=$bits
		[ -n "$filled" ] || sheepctl vdi create --gateway "$gateway" bench "${SIZE_MIB}M"
		sheepctl map --gateway "$gateway" --connections "$CONNECTIONS" bench
		[ -n "$filled" ] || fill sheepa
		filled=1
		run_jobs "$bits" "$turn" "$server" sheepa
		sheepctl unmap sheepa
		rmmod sheepdog
	done
done

for bits in 1 2 4 8 15; do
	echo "with all protections / without: ${without[$bits]}"
	jq -rs --arg ours 0 --arg theirs $bits -f /host/summary.jq /tmp/results
done
