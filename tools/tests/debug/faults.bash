# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What tests on the debug kernel share, on top of lib.sh: allocations that fail where the driver makes
# them (Documentation/fault-injection/fault-injection.rst in the kernel), and leaks.
#
# Two injectors, `failslab` (kmalloc and caches) and `fail_page_alloc`. An allocation is one of the
# driver's if a function of the module is on the stack. A third, `fail_make_request`, is for bios.
FAULTS=/sys/kernel/debug
INJECTORS=(failslab fail_page_alloc)
KMEMLEAK=$FAULTS/kmemleak
[ -d $FAULTS/failslab ] && [ -e $KMEMLEAK ] || skip 'needs the debug kernel: make test-debug'

# How often `fail_some` makes an injector fail at most, and which injectors it has set.
FAIL_TIMES=1000000
FAILING=()

# Allocations that each injector has counted since the boot, see fail_at.
declare -A COUNTED=([failslab]=0 [fail_page_alloc]=0)

# Where kmemleak's own functions are.
LEAK_START=
LEAK_END=

fault_set() { echo "$3" >"$FAULTS/$1/$2"; }

# module_text: sets TEXT_START and TEXT_END, where the module's code is.
module_text() {
	TEXT_START=$(cat /sys/module/sheepdog/sections/.text)
	TEXT_END=$(printf '0x%x' $((TEXT_START + $(cat /sys/module/sheepdog/coresize))))
}

# aim [START END]: what is to fail are allocations below a function of the module, or below calls that
# return to an address from START to before END; nothing does until one of the functions below is called.
# kmemleak allocates for itself on the same stacks, and turns itself off when that fails, so its functions
# are left out.
aim() {
	local injector leaks
	if [ $# = 0 ]; then
		module_text
		set -- "$TEXT_START" "$TEXT_END"
	fi
	if [ -z "$LEAK_START" ]; then
		leaks=$(awk '$3 ~ /^kmemleak_(alloc|alloc_percpu|vmalloc|scan_area|ignore|update_trace)$/ { print $1 }' /proc/kallsyms | sort)
		LEAK_START=0x$(sed -n 1p <<<"$leaks")
		LEAK_END=$(printf '0x%x' $((0x$(tail -n 1 <<<"$leaks") + 0x400)))
	fi
	for injector in "${INJECTORS[@]}"; do
		fault_set "$injector" probability 0
		fault_set "$injector" task-filter 0
		fault_set "$injector" space 0
		fault_set "$injector" interval 1
		fault_set "$injector" stacktrace-depth 32
		fault_set "$injector" require-start "$1"
		fault_set "$injector" require-end "$2"
		fault_set "$injector" reject-start "$LEAK_START"
		fault_set "$injector" reject-end "$LEAK_END"
		fault_set "$injector" ignore-gfp-wait 0
		fault_set "$injector" verbose 2
		fault_set "$injector" verbose_ratelimit_interval_ms 0
	done
	fault_set fail_page_alloc min-order 0
	fault_set fail_page_alloc ignore-gfp-highmem 0
}

# aim_below FUNCTION: what is to fail are allocations below this function of the kernel.
aim_below() {
	local found start end
	found=$(awk '$2 ~ /^[tT]$/ { print $1, $3 }' /proc/kallsyms | sort |
		awk -v name="$1" 'begun { print "0x" begun, "0x" $1; begun = "" } $2 == name { begun = $1 }')
	read -r start end <<<"$found"
	[ -n "$end" ] || fail "/proc/kallsyms has no $1"
	aim "$start" "$end"
}

# fail_some PERCENT [INJECTOR...]: that part of them fails, until `fail_none`; their stacks are logged, at
# most two a second.
fail_some() {
	local injector percent=$1
	shift
	[ $# -gt 0 ] || set -- "${INJECTORS[@]}"
	for injector in "$@"; do
		fault_set "$injector" verbose_ratelimit_interval_ms 1000
		fault_set "$injector" verbose_ratelimit_burst 2
		fault_set "$injector" interval 1
		fault_set "$injector" times "$FAIL_TIMES"
		fault_set "$injector" probability "$percent"
	done
	FAILING+=("$@")
}

# fail_at INJECTOR NUMBER: one fails, the NUMBER-th from now. The injector fails each `interval`-th of all
# that it has ever counted, so the number that it has counted is known only while each call of this
# function makes one fail.
fail_at() {
	local interval=$((COUNTED[$1] + $2))
	fault_set "$1" interval "$interval"
	fault_set "$1" times 1
	fault_set "$1" probability 100
	[ "$interval" -eq 1 ] || COUNTED[$1]=$interval
}

# fail_none: no more. Sets FAILED to how many did since `fail_some`.
fail_none() {
	local injector left
	FAILED=0
	for injector in "${INJECTORS[@]}" "${FAILING[@]}"; do fault_set "$injector" probability 0; done
	for injector in "${FAILING[@]}"; do
		read -r left <"$FAULTS/$injector/times"
		FAILED=$((FAILED + FAIL_TIMES - left))
		fault_set "$injector" times 1
	done
	FAILING=()
}

# has_failed INJECTOR: the one of fail_at did.
has_failed() {
	local left
	read -r left <"$FAULTS/$1/times"
	[ "$left" = 0 ]
}

# failed_in: reads a kernel log, and prints where in the module allocations failed, lines
# `function+offset`.
failed_in() {
	awk '/^FAULT_INJECTION: forcing a failure/ { open = 1 }
		open && /\[sheepdog\]/ && $1 != "?" { sub(/\/.*/, "", $1); print $1; open = 0 }'
}

# address FUNCTION+OFFSET: where that is.
address() {
	local function=${1%+*} base
	base=$(awk -v name="$function" '$3 == name && $4 == "[sheepdog]" { print $1; exit }' /proc/kallsyms)
	[ -n "$base" ] || fail "/proc/kallsyms has no $function"
	printf '0x%x' $((0x$base + ${1#*+}))
}

# short_names: names of Rust functions as people read them.
short_names() { sed -E 's/_R[A-Za-z0-9_]*(sheepdog_main)/\1/; s/[0-9]+([a-z_]+)/ \1/g'; }

# leaks: sets LEAKS, how many objects of the driver nobody refers to, and prints their stacks. An object
# counts once it is five seconds old and looks the same in two scans. Asking fails if kmemleak has turned
# itself off.
leaks() {
	local report=/tmp/leaks
	sleep 6
	echo scan >$KMEMLEAK
	echo scan >$KMEMLEAK
	cat $KMEMLEAK >$report
	# shellcheck disable=SC2034 # for the tests
	LEAKS=$(grep -c '^unreferenced object' $report || true)
	cat $report
}
