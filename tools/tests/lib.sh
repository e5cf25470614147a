# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What VM tests share: load the driver, make VDIs, map and unmap, look at errors, log lines and
# counters. A test sources it with `. "$LIB"` and says what it does with `step`. In: MODULE, GATEWAYS
# and VDI from the runner. Whatever a test leaves mapped is removed when it ends, by force.
#
# A test fails through the first command that fails, and says which one. Waits have limits.
set -Eeuo pipefail
export LC_ALL=C
trap 'echo "line $LINENO of $0 failed with status $?: $BASH_COMMAND" >&2' ERR
# See `fail_everywhere`.
trap 'exit 1' USR1

CONFIGFS=/sys/kernel/config
MAPPINGS=$CONFIGFS/sheepdog
MARK=
# Where `follow_log` keeps the kernel log.
FOLLOWED=
CREATED=()
# For `figures`: when the test began, sectors written to disks that were unmapped, the age of the
# oldest request that was seen.
BEGAN_S=$SECONDS
WRITTEN_SECTORS=0
WORST_MS=0
# How long writing to `map` or `unmap` may take where nothing is wrong; emulated CPUs are slow.
ACTION_LIMIT=60
# What limits inside of tests are multiplied by: a kernel that watches itself takes so much longer, whatever
# --scale says.
SLOWER=1
read -r KERNEL_RELEASE </proc/sys/kernel/osrelease
[[ $KERNEL_RELEASE != *-debug ]] || SLOWER=3
[ $SLOWER -eq 1 ] || echo $((30 * SLOWER)) >/proc/sys/kernel/hung_task_timeout_secs
# How log lines of the driver name errors. The debug kernel has no names for them (CONFIG_SYMBOLIC_ERRNAME).
# shellcheck disable=SC2034 # for the tests
EPIPE='(EPIPE|error -32)' ECONNRESET='(ECONNRESET|error -104)' ETIMEDOUT='(ETIMEDOUT|error -110)' ECONNREFUSED='(ECONNREFUSED|error -111)'
# Limit for silence in tests that are not about it: an emulated machine on a busy host is slow.
REPLY_TIMEOUT_MS=120000

# Starting a process takes an emulated machine a twentieth of a second and more. What tests call often
# does without, where bash can do it.

# Nobody writes to it: reading from it with a limit is a sleep that needs no process.
[ -p /tmp/nothing ] || mkfifo /tmp/nothing
exec {NOTHING}<>/tmp/nothing

# pause SECONDS: sleeps.
pause() { read -rt "$1" -u "$NOTHING" || true; }

# uptime_ms: sets NOW_MS, the time that passes, in milliseconds.
uptime_ms() {
	local seconds _
	read -r seconds _ </proc/uptime
	NOW_MS=$((10#${seconds/./} * 10))
}

step() {
	local seconds _
	read -r seconds _ </proc/uptime
	echo "[$seconds] $*"
}

# skip REASON: ends the test; it cannot run here.
skip() {
	echo "$*"
	exit 77
}

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

# fail_everywhere MESSAGE: as `fail`, also where the exit status is of no account, as in "$(...)" among
# the words of a command.
fail_everywhere() {
	echo "FAILED: $*" >&2
	kill -USR1 $$
	exit 1
}

# same WANTED GOT WHAT: compares two words.
same() { [ "$1" = "$2" ] || fail "${3:-value}: expected \"$1\", found \"$2\""; }

# within SECONDS COMMAND...: repeats a command until it succeeds (for longer on a debug kernel).
within() {
	local limit=$(($1 * SLOWER)) end
	end=$((SECONDS + limit))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || fail "not within $limit s: $*"
		pause 0.1
	done
}

# load [PARAMETER=VALUE...]: the module, which goes when the test ends.
# shellcheck disable=SC2120 # most tests have no parameters for the module
load() {
	modprobe configfs
	mountpoint -q $CONFIGFS || mount -t configfs none $CONFIGFS
	insmod "$MODULE" "$@"
	trap clean_up EXIT
	mark
}

clean_up() {
	local status=$? directory name
	set +eE
	cd /
	if [ -d $MAPPINGS ]; then
		for directory in "$MAPPINGS"/*/; do
			[ -d "$directory" ] || continue
			[ -z "$(cat "$directory/device")" ] || timeout $ACTION_LIMIT tee "$directory/unmap" <<<force >/dev/null
			rmdir "$directory"
		done
	fi
	# The runner's own sheep ends with the test; somebody else's cluster is left clean.
	if [ "${#CREATED[@]}" -gt 0 ] && ! own_sheep; then
		for name in "${CREATED[@]}"; do
			timeout $ACTION_LIMIT sheepctl vdi delete -y -g "$GATEWAYS" "$name" ||
				echo "VDI $name stays in the cluster"
		done
	fi
	if [ -d /sys/module/sheepdog ] && ! rmmod sheepdog; then
		status=1
	fi
	exit "$status"
}

# own_sheep: the runner started one for this test, whether or not that is still alive.
own_sheep() { [[ $(host sheep fault ping 2>&1) =~ '"ok":true'|'control socket' ]]; }

# ctl WORDS...: sheepctl for this test's cluster; the first words name the command.
ctl() { sheepctl "$1" "$2" --gateway "$GATEWAYS" "${@:3}"; }

# create NAME SIZE [OPTIONS...]: makes a VDI.
create() {
	ctl vdi create "${@:3}" "$1" "$2" >/dev/null
	CREATED+=("$1")
}

# create_odd NAME BYTES STORE_POLICY: makes a VDI that sheepctl does not make: of any size, or a hyper
# volume (store policy 1). NEW_VDI, see the protocol's sections 2.2 and 3.3; objects of 4 MiB.
create_odd() {
	local gateway=${GATEWAYS%%,*} size=$2 bytes='' _
	for _ in {1..8}; do
		bytes+=$(printf '\\x%02x' $((size & 255)))
		size=$((size >> 8))
	done
	exec 3<>"/dev/tcp/${gateway%:*}/${gateway##*:}"
	{
		printf '\x02\x11\x01\0\0\0\0\0\x01\0\0\0\0\x01\0\0'
		printf '%b\0\0\0\0\0\0%b\x16' "$bytes" "\\x0$3"
		head -c 16 /dev/zero
		printf '%s' "$1"
		head -c $((256 - ${#1})) /dev/zero
	} >&3
	CREATED+=("$1")
	same 00000000 "$(timeout 10 head -c 48 <&3 | od -An -tx1 -j16 -N4 | tr -d ' \n')" 'result of NEW_VDI'
	exec 3>&-
}

# mapping NAME [ATTRIBUTE=VALUE...]: makes a mapping's directory and configures it. The VDI is $VDI
# unless said otherwise.
mapping() {
	local directory=$MAPPINGS/$1 word
	[ -d "$directory" ] || mkdir "$directory"
	for word in "gateways=$GATEWAYS" "vdi=$VDI" reply_timeout_ms=$REPLY_TIMEOUT_MS "${@:2}"; do
		printf '%s\n' "${word#*=}" >"$directory/${word%%=*}"
	done
}

# map NAME [ATTRIBUTE=VALUE...]: maps, waits for the node, and leaves its path in DEV.
map() {
	mapping "$@"
	put "$1" map 1
	read -r DEV <"$MAPPINGS/$1/device"
	DEV=/dev/$DEV
	within 10 test -b "$DEV"
}

unmap() {
	local written
	written=$(sectors_written "$1")
	put "$1" unmap "${2:-1}"
	WRITTEN_SECTORS=$((WRITTEN_SECTORS + written))
	rmdir "$MAPPINGS/$1"
}

# get MAPPING ATTRIBUTE: reads an attribute.
get() {
	local value
	value=$(<"$MAPPINGS/$1/$2") && echo "$value"
}

# put MAPPING ATTRIBUTE VALUE: writes an attribute, and fails if that takes too long. If it does not end, the
# runner says why. In a subshell, to which no signal of a child can come while it waits.
put() (
	started=$SECONDS
	printf '%s\n' "$3" >"$MAPPINGS/$1/$2" || exit
	[ $((SECONDS - started)) -le $ACTION_LIMIT ] || fail "writing $3 to $2 took $((SECONDS - started)) s"
)

# refused MESSAGE COMMAND...: the command fails, and says MESSAGE (the errno's text).
refused() {
	local text status=0
	text=$("${@:2}" 2>&1) || status=$?
	[ "$status" -ne 0 ] || fail "succeeded, expected \"$1\": ${*:2}"
	[[ $text == *"$1"* ]] || fail "${*:2}: expected \"$1\", found \"$text\" (status $status)"
}

# refused_put MESSAGE MAPPING ATTRIBUTE VALUE
refused_put() { refused "$1" put "${@:2}"; }

# The log from here on is what `logged` and its like look at.
mark() {
	MARK="mark $$ $RANDOM$RANDOM"
	echo "vmtest: $MARK" >/dev/kmsg
}

# follow_log: from now on keeps lines about sheep in a file, for tests during which the kernel says more
# than it keeps: 128 KiB, or twenty reports of the OOM killer.
follow_log() {
	local ready="vmtest: follow $BASHPID $RANDOM$RANDOM"
	FOLLOWED=/tmp/kernel-log
	: >$FOLLOWED
	echo "$ready" >/dev/kmsg
	# Who reads /dev/kmsg and falls behind gets an error, and awk ends; kernel_log sees that. Hence the
	# priority: an emulated machine has little time for it.
	nice -n -20 awk '/sheep|tokio|blocked for more than|vmtest: / && sub(/^[^;]*;/, "") { print; fflush() }' \
		/dev/kmsg >>$FOLLOWED 2>/dev/null &
	disown
	# It begins with the oldest line that the kernel keeps; the next one may take that away.
	within $ACTION_LIMIT grep -qxF "$ready" $FOLLOWED
}

# kernel_log: what there is of it up to now.
kernel_log() {
	local end
	if [ -z "$FOLLOWED" ]; then
		dmesg --notime
		return
	fi
	end="vmtest: end $BASHPID $RANDOM$RANDOM"
	echo "$end" >/dev/kmsg
	within $ACTION_LIMIT grep -qxF "$end" "$FOLLOWED"
	cat "$FOLLOWED"
}

# find_lines REGEX: sets FOUND to the lines of the kernel log since the mark that match. The test fails if
# the log does not go back so far.
find_lines() {
	local mark="/^vmtest: $MARK\$/" end=$'\001'
	# Not from a process substitution, which would change $!.
	mapfile -t FOUND <<<"$(kernel_log | sed -nE "$mark,\$ { $mark { p; d }; \\$end$1${end}p }")"
	[ "${FOUND[0]:-}" = "vmtest: $MARK" ] ||
		fail_everywhere 'some of the kernel log since the mark is lost; is this a test for follow_log?'
	FOUND=("${FOUND[@]:1}")
}

# since_mark: the kernel log since the mark.
since_mark() { log_lines .; }

# log_lines REGEX: lines of the kernel log since the mark.
log_lines() {
	find_lines "$1"
	[ ${#FOUND[@]} = 0 ] || printf '%s\n' "${FOUND[@]}"
}

log_count() {
	find_lines "$1"
	echo ${#FOUND[@]}
}

# logged REGEX [COUNT]: since the mark, one line, or COUNT, matched; sets the next mark.
logged() {
	local count=${2:-1}
	within 5 has_lines "$1" "$count"
	mark
}

# Too many will not become fewer; too few may become more.
has_lines() {
	find_lines "$1"
	[ ${#FOUND[@]} -le "$2" ] || fail "$2 log lines \"$1\" expected, found ${#FOUND[@]}"
	[ ${#FOUND[@]} -eq "$2" ]
}

# no_request_failed: as far as the kernel has said since the mark.
no_request_failed() { same '' "$(log_lines ' error, dev sheep')" 'failed requests'; }

# served OPERATION: how many of them the sheep has seen.
served() { host sheep fault stats | jq ".stats.requests.$1 // 0"; }

# fault COMMAND [VALUE]: switches a fault of the sheep.
fault() { host sheep fault "$@" >/dev/null; }

# start_sheep: after it was killed; until something listens there.
start_sheep() {
	host sheep start
	within 60 listens "$(gateway_address 0)"
}
listens() { (exec 3<>"/dev/tcp/${1%:*}/${1##*:}") 2>/dev/null; }

# gateway INDEX MODE: what a gateway of the sheep does from now on: serve, close, stop, hold.
gateway() { host sheep gateway "$@" >/dev/null; }

# gateway_address INDEX: where it is.
gateway_address() { cut -d , -f $(($1 + 1)) <<<"$GATEWAYS"; }

# waits MAPPING [COUNT]: so many requests wait for a gateway, or at least one does.
waits() {
	local waiting
	read -r waiting <"$MAPPINGS/$1/waiting"
	[ "$waiting" -ge "${2:-1}" ]
}

# now_ms: the same, to be printed.
now_ms() {
	uptime_ms
	echo "$NOW_MS"
}

# lasted LOWEST HIGHEST STARTED WHAT: milliseconds since STARTED are between the two (more on a debug kernel).
lasted() {
	uptime_ms
	local took=$((NOW_MS - $3)) highest=$(($2 * SLOWER))
	step "$4 took $took ms"
	[ "$took" -ge "$1" ] && [ "$took" -le $highest ] || fail "$4 took $took ms, not $1 to $highest"
}

# uevents: from now on keeps what udev is told of block devices; `announced STATE` waits for a state.
uevents() {
	: >/tmp/uevents
	udevadm monitor --kernel --property --subsystem-match=block >>/tmp/uevents &
	within 20 grep -q KERNEL /tmp/uevents
}
announced() { within 20 grep -qx "SHEEPDOG_STATE=$1" /tmp/uevents; }

# kept: memory of the kernel that nothing can free, KiB.
kept() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	awk '/^(SUnreclaim|KernelStack|Percpu|VmallocUsed):/ { sum += $2 } END { print sum }' /proc/meminfo
}

# kept_little BEFORE AFTER WHAT: what `kept` said. A mapping holds tens of KiB; what the machine needs for itself
# varies by more. KASAN holds freed memory back, up to a 32nd of all; there kmemleak looks for leaks.
kept_little() {
	local limit=2048
	[ $SLOWER -eq 1 ] || limit=$(awk '$1 == "MemTotal:" { print int($2 / 24) }' /proc/meminfo)
	step "$3: $(($2 - $1)) KiB more"
	[ $(($2 - $1)) -lt "$limit" ] || fail "$3: $(($2 - $1)) KiB more than before"
}

# sum FILE: its checksum.
sum() { md5sum <"$1" | cut -d ' ' -f 1; }

# checksum DEVICE [BYTES]: of a device's data, read from the cluster and not from memory.
checksum() {
	blockdev --flushbufs "$1"
	if [ $# -gt 1 ]; then
		head -c "$2" "$1" | md5sum | cut -d ' ' -f 1
	else
		md5sum <"$1" | cut -d ' ' -f 1
	fi
}

# noise FILE BYTES: a file of random bytes.
noise() { head -c "$2" /dev/urandom >"$1"; }

# fio_verify OPTIONS...: fio on DEV; what it reads must be what it wrote.
fio_verify() {
	fio --name=verify --filename="$DEV" --thread --ioengine=libaio --direct=1 --verify=crc32c \
		--verify_fatal=1 --group_reporting --output=/tmp/fio.log "$@" ||
		{ cat /tmp/fio.log; fail "fio $*"; }
	sed -nE 's/^ +((READ|WRITE):.*)/  \1/p' /tmp/fio.log
}

# check_writes OPTIONS...: writecheck on DEV; each block holds exactly what was acknowledged last. Its
# report stays in /tmp/writecheck.json.
check_writes() {
	writecheck --device "$DEV" --json /tmp/writecheck.json "$@" || fail "writecheck $*"
}

# A port of this machine where nobody listens.
# shellcheck disable=SC2034 # for the tests
CLOSED=127.0.0.1:9

# black_hole: sets BLACK_HOLE to an address from which nothing ever comes back.
black_hole() {
	ip link show dummy0 >/dev/null 2>&1 || { modprobe dummy numdummies=0 && ip link add dummy0 type dummy; }
	ip address replace 192.0.2.2/24 dev dummy0
	ip link set dummy0 up
	# shellcheck disable=SC2034 # for the tests
	BLACK_HOLE=192.0.2.1:7000
}

# fails_with MESSAGE COMMAND...: as `refused`, for commands that reach the disk, within a limit.
fails_with() { refused "$1" timeout 60 "${@:2}"; }

# read_4k [OFFSET], write_4k [OFFSET]: one request, at a byte of the disk.
read_4k() { dd if="$DEV" of=/tmp/read bs=4k count=1 skip="${1:-0}" iflag=direct,skip_bytes status=none; }
write_4k() { dd if=/tmp/noise of="$DEV" bs=4k count=1 seek="${1:-0}" oflag=direct,seek_bytes conv=notrunc status=none; }

# writes: how many of them DEV has completed.
writes() {
	local fields
	read -ra fields <"/sys/block/${DEV#/dev/}/stat"
	echo "${fields[4]}"
}

# is_state MAPPING STATE
is_state() {
	local state
	read -r state <"$MAPPINGS/$1/state"
	[ "$state" = "$2" ]
}

# sectors_written MAPPING: to its disk since it was mapped, 0 without a disk.
sectors_written() {
	local disk fields
	read -r disk <"$MAPPINGS/$1/device" || true
	# It may go meanwhile.
	[ -z "$disk" ] || { read -ra fields <"/sys/block/$disk/stat"; } 2>/dev/null || true
	echo "${fields[6]:-0}"
}

# figures [NAME=VALUE...]: what a test under load measured, as one line that tools/build/soak collects:
# the names below, and those of the test, which replace them. A value has no space in it.
#
#	test kernel memory_mib cpus	where; the memory that the kernel has
#	seconds written_mib		how long, and how much went to disks of the driver
#	worst_ms			the oldest request that was seen (pressure.bash, `stalls`)
#	hung_tasks oom_kills		of the machine since its boot
figures() {
	local sectors=$WRITTEN_SECTORS directory word name names=()
	local -A values
	for directory in "$MAPPINGS"/*/; do
		[ ! -d "$directory" ] || sectors=$((sectors + $(sectors_written "$(basename "$directory")")))
	done
	for word in "test=$TEST" "kernel=$(uname -r)" \
		"memory_mib=$(awk '$1 == "MemTotal:" { print int($2 / 1024) }' /proc/meminfo)" "cpus=$(nproc --all)" \
		"seconds=$((SECONDS - BEGAN_S))" "written_mib=$((sectors / 2048))" "worst_ms=$WORST_MS" \
		"hung_tasks=$(kernel_log | awk '/ blocked for more than / { count++ } END { print count + 0 }')" \
		"oom_kills=$(awk '$1 == "oom_kill" { print $2 }' /proc/vmstat)" "$@"; do
		name=${word%%=*}
		[ -n "${values[$name]+set}" ] || names+=("$name")
		values[$name]=${word#*=}
	done
	printf 'figures:'
	for name in "${names[@]}"; do
		printf ' %s=%s' "$name" "${values[$name]}"
	done
	echo
}

# full: whether the long forms were asked for (kernel command line, vmtest --append).
full() { grep -qw sheepdog_tests=full /proc/cmdline; }

# seconds SHORT LONG: how long a test goes on, or how much it does, in its short and in its long form.
seconds() { if full; then echo "$2"; else echo "$1"; fi; }

# load_sample NAME: insmod a module of samples/, which checks itself.
load_sample() {
	local file=/host/samples/sample_$1.ko
	if [ ! -e "$file" ]; then
		echo "no $file: make samples builds it, and vmtest takes it with --file"
		exit 77
	fi
	modprobe configfs
	mountpoint -q $CONFIGFS || mount -t configfs none $CONFIGFS
	mark
	insmod "$file" || fail "sample_$1 is not content: $(log_lines "sample_$1: ")"
	logged "sample_$1: ok"
}
