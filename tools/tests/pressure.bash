# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What tests that run out of memory share, on top of lib.sh: hogs, memory cgroups, a sheep inside the
# machine, and a look at the disk that tells a stall from a slow host. Source it after lib.sh.
#
# A test is not to be chosen by the OOM killer: it has to tell what happened to the others.
echo -1000 >/proc/self/oom_score_adj

CGROUPS=/sys/fs/cgroup
mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug

# cgroup NAME [MAX]: makes a memory cgroup, or changes its limit.
cgroup() {
	grep -qw memory $CGROUPS/cgroup.subtree_control || echo +memory >$CGROUPS/cgroup.subtree_control
	[ -d "$CGROUPS/$1" ] || mkdir "$CGROUPS/$1"
	echo "${2:-max}" >"$CGROUPS/$1/memory.max"
}

# inside CGROUP COMMAND...: runs a command in it, in the background, as one whom the OOM killer takes
# first. Its last words are of no interest: it will be killed.
inside() {
	(
		echo 1000 >/proc/self/oom_score_adj
		echo $BASHPID >"$CGROUPS/$1/cgroup.procs"
		exec "${@:2}"
	) >/dev/null 2>&1 &
	disown
}

# hog MIB [STRESS-NG OPTIONS...]: touches so much memory again and again, and maps it anew after
# each time. stress-ng starts a worker again that the OOM killer took.
hog() {
	cgroup hogs
	inside hogs stress-ng --quiet --vm 1 --vm-bytes "$1M" --vm-method write64 "${@:2}"
}

# end_all: ends what runs in memory cgroups.
end_all() {
	local group
	for group in "$CGROUPS"/*/cgroup.kill; do
		[ ! -e "$group" ] || echo 1 >"$group"
	done
	within 60 is_deserted
}
is_deserted() { ! grep -q 'populated 1' "$CGROUPS"/*/cgroup.events; }

# without_io_ms: sets WITHOUT_MS, how long requests have been under way on DEV of which none has
# ended. The first call begins to count.
without_io_ms() {
	local fields disk=${DEV#/dev/}
	read -ra fields <"/sys/block/$disk/stat"
	uptime_ms
	# Reads, writes, discards that ended; in flight.
	local ended=${fields[0]}.${fields[4]}.${fields[11]}
	if [ "$ended" != "${LAST_ENDED:-}" ] || [ "${fields[8]}" = 0 ]; then
		LAST_ENDED=$ended
		LAST_MS=$NOW_MS
	fi
	WITHOUT_MS=$((NOW_MS - LAST_MS))
}

# see_ages: raises WORST_MS to the age of the oldest request that the driver has now, on any disk.
see_ages() {
	local file lines line age
	for file in /sys/kernel/debug/sheepdog/*/in_flight; do
		{ mapfile -t lines <"$file"; } 2>/dev/null || continue
		for line in "${lines[@]}"; do
			age=${line#* age }
			age=${age%% ms: *}
			[ "$age" -le "$WORST_MS" ] || WORST_MS=$age
		done
	done
}

# show_stall: prints what the driver and TCP are waiting for.
show_stall() {
	head -n 40 /sys/kernel/debug/sheepdog/*/{in_flight,links} || true
	grep -E '^(MemFree|MemAvailable|Dirty|Writeback):' /proc/meminfo
	# It waits for each socket whose owner waits with the socket locked.
	ss --tcp --info --memory --numeric >/tmp/sockets 2>&1 &
	disown
	pause 2
	cat /tmp/sockets
}

# stalls LIMIT PID [CONDITION]: waits until the child ends, or until requests on DEV stand still for so
# many seconds (more on a debug kernel), or until the condition holds. Sets LONGEST_MS, the longest time without one that
# ended. True if they stand still, or with the condition. Meanwhile looks at ages, for `figures`.
stalls() {
	LONGEST_MS=0
	LAST_ENDED=
	while kill -0 "$2" 2>/dev/null; do
		without_io_ms
		see_ages
		[ "$WITHOUT_MS" -le "$LONGEST_MS" ] || LONGEST_MS=$WITHOUT_MS
		[ "$WITHOUT_MS" -lt $(($1 * SLOWER * 1000)) ] || { show_stall; return 0; }
		[ $# -lt 3 ] || ! "${@:3}" || return 0
		pause 0.5
	done
	return 1
}

# local_sheep OPTIONS...: a sheep in this machine, started with the command SHEEP_WITH if there
# is one, in the cgroup SHEEP_GROUP if that is set; sets LOCAL_SHEEP (its process) and GATEWAYS.
SHEEP_WITH=()
SHEEP_GROUP=
local_sheep() {
	(
		[ -z "$SHEEP_GROUP" ] || echo $BASHPID >"$CGROUPS/$SHEEP_GROUP/cgroup.procs"
		exec "${SHEEP_WITH[@]}" devsheep --listen 127.0.0.1:0 "$@"
	) >/tmp/local-sheep &
	# shellcheck disable=SC2034 # for the tests
	LOCAL_SHEEP=$!
	within 30 grep -q '^listening on ' /tmp/local-sheep
	# shellcheck disable=SC2034 # for lib.sh
	GATEWAYS=$(sed -n 's/^listening on //p' /tmp/local-sheep)
}

# local_fault COMMAND SPEC: a command of the control channel of a sheep that was started with --control
# 127.0.0.1:0, as `fault` is of the one on the other host.
local_fault() {
	local control answer fd
	control=$(sed -n 's/^control on //p' /tmp/local-sheep)
	exec {fd}<>"/dev/tcp/${control%:*}/${control##*:}"
	echo "{\"cmd\":\"$1\",\"spec\":\"$2\"}" >&"$fd"
	read -r -t "$ACTION_LIMIT" -u "$fd" answer
	exec {fd}>&-
	[[ $answer == *'"ok":true'* ]] || fail "$1 $2: $answer"
}

# show_threads PID: where those threads of a process stand that wait inside the kernel for something that no
# signal interrupts.
show_threads() {
	local task
	for task in /proc/"$1"/task/*; do
		! grep -q '^State:.*(disk sleep)' "$task/status" || { cat "$task/comm" "$task/stack"; }
	done
}

# What a command is started with for its pages to stay, those of code and libraries too, and no more: as an I/O flusher
# sheepctl guard starts it.
LOCKED=(env SHEEPCTL_GUARD=test LD_PRELOAD=/host/bin/libsheepdog_memlock.so)

# guarded_as_asked: sets SHEEP_WITH to how a sheep of this machine is protected: by sheepctl guard, as an
# administrator does it, or as sheepdog_flusher=... on the kernel's command line says.
guarded_as_asked() {
	case $(parameter flusher yes) in
	yes) SHEEP_WITH=(sheepctl guard --) ;;
	unlocked) SHEEP_WITH=(sheepctl guard --no-lock --) ;;
	locked) SHEEP_WITH=("${LOCKED[@]}") ;;
	no) SHEEP_WITH=() ;;
	*) fail "sheepdog_flusher is yes, no, locked (and no I/O flusher) or unlocked (an I/O flusher)" ;;
	esac
}

# mib KEY: a line of /proc/meminfo in MiB.
mib() { awk -v key="$1:" '$1 == key { print int($2 / 1024) }' /proc/meminfo; }

# What a machine counts from its start.
oom_kills() { awk '$1 == "oom_kill" { print $2 }' /proc/vmstat; }
# tcp_count NAME: a counter of TCP, for example PFMemallocDrop, packets received into the reserve for
# a socket that may not have them.
tcp_count() {
	awk -v name="$1" '$1 == "TcpExt:" && !column { for (i = 2; i <= NF; i++) if ($i == name) column = i; next }
		$1 == "TcpExt:" { print $column }' /proc/net/netstat
}

# parameter NAME DEFAULT: what sheepdog_NAME=... on the kernel's command line says (vmtest --append):
# how a test is run with a protection taken away.
parameter() {
	local value
	value=$(sed -n "s/.*\bsheepdog_$1=\([^ ]*\).*/\1/p" /proc/cmdline)
	echo "${value:-$2}"
}

# sheep_ooms: how often threads of a sheep in this machine called the OOM killer.
sheep_ooms() { log_count '^(devsheep|tokio-).* invoked oom-killer'; }
