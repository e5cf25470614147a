# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the interop tests share: a development sheep per test, QEMU's tools on its VDIs, waiting with
# a limit. Whatever a test starts ends with it, and its log is shown if the test failed.
#
# In: INTEROP_STORE, `memory` or `directory`: where the sheep keeps objects.

bats_require_minimum_version 1.5.0

# How long one command of a client may take, in seconds; the slowest takes two on an idle machine.
COMMAND_LIMIT=60
# How long a process may take to start or to end, in seconds.
PROCESS_LIMIT=20
# Exit status of what aborts itself.
ABORTED=134

STARTED=()

fail() {
	echo "$*" >&2
	return 1
}

# within SECONDS COMMAND...: repeats a command until it succeeds.
within() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || fail "in vain, for all the time it had: $*" || return
		sleep 0.05
	done
}

# background NAME COMMAND...: starts a command whose output goes to NAME.out and NAME.log, and whose
# input is the file INPUT, or nothing. Sets LAST.
background() {
	local name=$BATS_TEST_TMPDIR/$1
	shift
	"$@" <"${INPUT:-/dev/null}" >>"$name.out" 2>>"$name.log" 3>&- &
	LAST=$!
	STARTED+=("$LAST")
}

# gone PID: the process has ended.
gone() { ! kill -0 "$1" 2>/dev/null; }

# stop PID: ends a process and waits for it.
stop() {
	kill "$1" 2>/dev/null || true
	if ! within "$PROCESS_LIMIT" gone "$1"; then
		kill -KILL "$1"
		fail "process $1 did not end when told to"
	fi
}

# end_at_once PID: ends a process that does not end when told to.
end_at_once() {
	kill -KILL "$1" 2>/dev/null || true
	within "$PROCESS_LIMIT" gone "$1"
}

teardown() {
	local pid log
	for pid in "${STARTED[@]}"; do stop "$pid"; done
	if [ -z "${BATS_TEST_COMPLETED:-}" ]; then
		for log in "$BATS_TEST_TMPDIR"/*.log; do
			[ ! -s "$log" ] || tail -n 20 "$log" | sed "s|^|$(basename "$log"): |"
		done
	fi
}

# start_sheep [OPTION...]: starts a development sheep, on SHEEP_PORT or a free port. Sets SHEEP (its
# process), SOCKET, PORT, GATEWAY and CLUSTER, QEMU's prefix for names of VDIs.
start_sheep() {
	local place=()
	export DEVSHEEP_LOG=warn
	[ "$INTEROP_STORE" = memory ] || place=(--directory "$BATS_TEST_TMPDIR/objects")
	SOCKET=$BATS_TEST_TMPDIR/sock
	: >"$BATS_TEST_TMPDIR/sheep.out"
	background sheep devsheep --listen "127.0.0.1:${SHEEP_PORT:-0}" --unix "$SOCKET" "${place[@]}" "$@"
	SHEEP=$LAST
	within "$PROCESS_LIMIT" sheep_ready
	PORT=$(sed -n 's/^listening on 127\.0\.0\.1:\([0-9]*\)$/\1/p' "$BATS_TEST_TMPDIR/sheep.out")
	GATEWAY=127.0.0.1:$PORT
	CLUSTER=sheepdog://$GATEWAY
}

# With ports that are taken the sheep ends before it is ready; waiting on would be in vain.
sheep_ready() { gone "$SHEEP" || grep -q '^listening on 127' "$BATS_TEST_TMPDIR/sheep.out"; }

limited() { timeout "$COMMAND_LIMIT" "$@"; }

# img COMMAND...: qemu-img. What it says about its driver's age does not matter here.
img() { limited qemu-img "$@" 2> >(grep -v 'driver is deprecated' >&2); }

# io VDI COMMAND...: qemu-io, on a VDI of the cluster or on a URL. Options of qemu-io in IO_OPTIONS.
io() {
	local url=$1 arguments=() command
	shift
	[[ $url == *://* ]] || url=$CLUSTER/$url
	for command; do arguments+=(-c "$command"); done
	# shellcheck disable=SC2086 # several options
	limited qemu-io ${IO_OPTIONS:-} -f raw "${arguments[@]}" "$url"
}

create() { img create -q -f raw "${@:3}" "$CLUSTER/$1" "$2"; }

snapshot() { img snapshot -c "$2" "$CLUSTER/$1"; }

# clone SNAPSHOT NAME. Once the clone is made, QEMU 5.2 frees the snapshot's name twice; whether its
# C library ends it for that is chance.
clone() {
	local status=0
	img create -q -f raw -F sheepdog -b "$CLUSTER/$1" "$CLUSTER/$2" || status=$?
	[ "$status" = 0 ] || [ "$status" = "$ABORTED" ] || return
	size_of "$2" >/dev/null
}

# size_of VDI, allocated_of VDI: bytes, as QEMU sees them.
size_of() { img info --output=json -f raw "$CLUSTER/$1" | number virtual-size; }
allocated_of() { img info --output=json -f raw "$CLUSTER/$1" | number actual-size; }
number() { sed -n "s/^ *\"$1\": \([0-9]*\),*\$/\1/p"; }

# random FILE BYTES
random() { head -c "$2" /dev/urandom >"$BATS_TEST_TMPDIR/$1"; }

# open_client VDI [OPTION...]: a qemu-io that keeps the VDI open; `tell` gives it commands.
open_client() {
	mkfifo "$BATS_TEST_TMPDIR/commands"
	# The client must not end before it is told to, so somebody keeps the other end open.
	exec {COMMANDS}<>"$BATS_TEST_TMPDIR/commands"
	INPUT=$BATS_TEST_TMPDIR/commands background client qemu-io -f raw "${@:2}" "$CLUSTER/$1"
	CLIENT=$LAST
	PROMPTS=1
	within "$PROCESS_LIMIT" prompted
}

# tell COMMAND: gives the open client a command and waits for its end, when it asks for the next.
tell() {
	echo "$1" >&"$COMMANDS"
	PROMPTS=$((PROMPTS + 1))
	within "$COMMAND_LIMIT" prompted || fail "no end of: $1"
}

prompted() { [ "$(grep -o 'qemu-io> ' "$BATS_TEST_TMPDIR/client.out" | wc -l)" -ge "$PROMPTS" ]; }

close_client() {
	echo quit >&"$COMMANDS"
	within "$PROCESS_LIMIT" gone "$CLIENT" || return
	! grep -i -e failed -e error "$BATS_TEST_TMPDIR/client.out" "$BATS_TEST_TMPDIR/client.log"
}
