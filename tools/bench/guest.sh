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
servers=()
declare -A server
trap 'kill "${servers[@]}" 2>/dev/null || true' EXIT

if [ -z "${GATEWAY:-}" ]; then
	GATEWAY=127.0.0.1:7000
	NBD=127.0.0.1:10809
	devsheep --listen "$GATEWAY" >/tmp/devsheep.log 2>&1 &
	servers+=($!)
	server[sheepa]=$!
	nbdkit --foreground --ipaddr=127.0.0.1 --port=10809 memory "${SIZE_MIB}M" &
	servers+=($!)
	server[nbd0]=$!
	for _ in $(seq 100); do
		grep -q listening /tmp/devsheep.log && ss -ltn | grep -q :10809 && break
		sleep 0.1
	done
fi

modprobe configfs
modprobe nbd nbds_max=1
insmod "$MODULE"
mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
sheepctl vdi create --gateway "$GATEWAY" bench "${SIZE_MIB}M"
sheepctl map --gateway "$GATEWAY" --connections "$CONNECTIONS" bench
nbd-client -C "$CONNECTIONS" -b 512 "${NBD%:*}" "${NBD##*:}" /dev/nbd0

# Ticks of 10 ms that the server of a device has used; 0 if it runs outside.
server_ticks() { # device
	local pid=${server[$1]:-}
	[ -n "$pid" ] || { echo 0; return; }
	awk '{ print $14 + $15 }' "/proc/$pid/stat"
}
busy_ticks() { awk '/^cpu / { print $2 + $3 + $4 + $7 + $8 }' /proc/stat; }

run_job() { # turn device name fio-options...
	local turn=$1 device=$2 name=$3 before after server_before server_after
	shift 3
	server_before=$(server_ticks "$device")
	before=$(busy_ticks)
	fio --name="$name" --filename="/dev/$device" --direct=1 --ioengine=libaio --norandommap \
		--randrepeat=1 --size="${SIZE_MIB}M" --time_based --runtime="$JOB_SECONDS" \
		--output-format=json --output=/tmp/fio.json "$@" >/dev/null
	after=$(busy_ticks)
	server_after=$(server_ticks "$device")
	jq -c --arg device "$device" --argjson turn "$turn" --argjson ticks $((after - before)) \
		--argjson server_ticks $((server_after - server_before)) '
		.jobs[0] | (.read, .write) as $side | select($side.total_ios > 0) | {
			job: .jobname, device: $device, turn: $turn,
			iops: $side.iops, mb_per_s: ($side.bw_bytes / 1e6),
			p99_us: ($side.clat_ns.percentile["99.000000"] / 1000),
			cpu_us_per_io: ($ticks * 10000 / $side.total_ios),
			server_us_per_io: ($server_ticks * 10000 / $side.total_ios)
		}' /tmp/fio.json | tee -a /tmp/results
}

for device in sheepa nbd0; do
	dd if=/dev/urandom of="/dev/$device" bs=1M count="$SIZE_MIB" oflag=direct status=none
done
for turn in $(seq "$TURNS"); do
	for device in sheepa nbd0; do
		run_job "$turn" $device randread-4k-d1 --rw=randread --bs=4k --iodepth=1
		run_job "$turn" $device randread-4k-d32 --rw=randread --bs=4k --iodepth=32
		run_job "$turn" $device randwrite-4k-d1 --rw=randwrite --bs=4k --iodepth=1
		run_job "$turn" $device randwrite-4k-d32 --rw=randwrite --bs=4k --iodepth=32
		run_job "$turn" $device read-1m-d4 --rw=read --bs=1M --iodepth=4
		run_job "$turn" $device write-1m-d4 --rw=write --bs=1M --iodepth=4
	done
done

nbd-client -d /dev/nbd0
sheepctl unmap sheepa
rmmod sheepdog
jq -rs -f /host/summary.jq /tmp/results
