# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the benchmarks in the machine share: read by guest.sh and protections.sh.

# Ticks of 10 ms that a process has used; 0 without one (the server runs outside).
process_ticks() { # pid
	[ -n "$1" ] || { echo 0; return; }
	awk '{ print $14 + $15 }' "/proc/$1/stat"
}
busy_ticks() { awk '/^cpu / { print $2 + $3 + $4 + $7 + $8 }' /proc/stat; }

# Runs one fio job and adds a line with its figures to /tmp/results. `subject` is what is compared.
run_job() { # subject turn server-pid device name fio-options...
	local subject=$1 turn=$2 server=$3 device=$4 name=$5 before after server_before server_after
	shift 5
	server_before=$(process_ticks "$server")
	before=$(busy_ticks)
	fio --name="$name" --filename="/dev/$device" --direct=1 --ioengine=libaio --norandommap \
		--randrepeat=1 --size="${SIZE_MIB}M" --time_based --runtime="$JOB_SECONDS" \
		--output-format=json --output=/tmp/fio.json "$@" >/dev/null
	after=$(busy_ticks)
	server_after=$(process_ticks "$server")
	jq -c --arg subject "$subject" --argjson turn "$turn" --argjson ticks $((after - before)) \
		--argjson server_ticks $((server_after - server_before)) '
		.jobs[0] | (.read, .write) as $side | select($side.total_ios > 0) | {
			job: .jobname, subject: $subject, turn: $turn,
			iops: $side.iops, mb_per_s: ($side.bw_bytes / 1e6),
			p99_us: ($side.clat_ns.percentile["99.000000"] / 1000),
			cpu_us_per_io: ($ticks * 10000 / $side.total_ios),
			server_us_per_io: ($server_ticks * 10000 / $side.total_ios)
		}' /tmp/fio.json | tee -a /tmp/results
}

# All jobs, one after the other.
run_jobs() { # subject turn server-pid device
	run_job "$@" randread-4k-d1 --rw=randread --bs=4k --iodepth=1
	run_job "$@" randread-4k-d32 --rw=randread --bs=4k --iodepth=32
	run_job "$@" randwrite-4k-d1 --rw=randwrite --bs=4k --iodepth=1
	run_job "$@" randwrite-4k-d32 --rw=randwrite --bs=4k --iodepth=32
	run_job "$@" read-1m-d4 --rw=read --bs=1M --iodepth=4
	run_job "$@" write-1m-d4 --rw=write --bs=1M --iodepth=4
}

fill() { # device
	dd if=/dev/urandom of="/dev/$1" bs=1M count="$SIZE_MIB" oflag=direct status=none
}

listens() { ss -ltn | grep -q ":$1 "; } # port

wait_for() { # seconds command...
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || { echo "gave up waiting for: $*" >&2; return 1; }
		sleep 0.1
	done
}
