#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a mapping for which memory fails, at whichever place, is refused cleanly, or works
# Needs: module, sheep
# Memory: 512
# Limit: 180
. "$LIB"
. "${LIB%lib.sh}faults.bash"

# In the short form every so manieth allocation fails, in the full form each of them.
STRIDE=23
! full || STRIDE=1
# Few requests, and so few allocations that are all the same.
QUEUE_DEPTH=2

declare -A SITES ERRORS
refused=0
mapped=0

# Ends at the first step that fails, and says why.
configure_and_map() {
	local word
	mkdir "$MAPPINGS/m" || return
	for word in "gateways=$GATEWAYS" "vdi=$VDI" queue_depth=$QUEUE_DEPTH reply_timeout_ms=$REPLY_TIMEOUT_MS; do
		printf '%s\n' "${word#*=}" >"$MAPPINGS/m/${word%%=*}" || return
	done
	put m map 1
}

# attempt: makes a mapping while memory fails, and looks at what came of it.
attempt() {
	local said status=0
	said=$(configure_and_map 2>&1) || status=$?
	fail_none
	if [ "$status" -ne 0 ]; then
		refused=$((refused + 1))
		said=${said##*: }
		said=${said:-no answer}
		ERRORS[$said]=$((${ERRORS[$said]:-0} + 1))
		[ ! -d "$MAPPINGS/m" ] || same '' "$(get m device)" 'the device of a mapping that failed'
	else
		mapped=$((mapped + 1))
		works
	fi
	[ ! -d "$MAPPINGS/m" ] || rmdir "$MAPPINGS/m"
}

# works: the mapping m serves requests, and goes.
works() {
	DEV=/dev/$(get m device)
	within 10 test -b "$DEV"
	dd if=/tmp/noise of="$DEV" bs=64k count=1 oflag=direct conv=notrunc status=none
	dd if="$DEV" of=/tmp/back bs=64k count=1 iflag=direct status=none
	cmp /tmp/noise /tmp/back
	put m unmap 1
}

# clean: nothing is left of mappings.
clean() {
	same 0 "$(pgrep -c '^sheep' || true)" 'threads of the driver'
	same '' "$(find /sys/block -name 'sheep*')" disks
	same '' "$(ls "$FAULTS/sheepdog")" 'directories in debugfs'
}

load
create "$VDI" 16M
noise /tmp/noise 65536
aim
for injector in "${INJECTORS[@]}"; do
	number=0
	tried=0
	while :; do
		number=$((number + 1 + (STRIDE > 1 ? RANDOM % (2 * STRIDE - 1) : 0)))
		dmesg -C
		fail_at "$injector" "$number"
		attempt
		has_failed "$injector" || break
		tried=$((tried + 1))
		site=$(dmesg --notime | failed_in | sed -n 1p)
		[ -z "$site" ] || [ -n "${SITES[$site]:-}" ] || SITES[$site]=$(address "$site")
	done
	step "$injector: $tried of about $number allocations of a mapping made to fail, one at a time"
	clean
done

# Threads are made by kthreadd, on whose stack the driver is not.
aim 0 0xffffffffffffffff
for injector in "${INJECTORS[@]}"; do fault_set "$injector" verbose 0; done
number=0
tried=0
while :; do
	number=$((number + 1 + (STRIDE > 1 ? RANDOM % 15 : 0)))
	echo $number >/proc/2/fail-nth
	attempt
	left=$(cat /proc/2/fail-nth)
	echo 0 >/proc/2/fail-nth
	[ "$left" = 0 ] || break
	tried=$((tried + 1))
done
step "threads: $tried of about $number allocations made to fail, one at a time"
clean

# A send that finds no memory is tried again until there is some (for ever, where none is to be had), and the
# read of the partition table waits for it.
FAIL_TIMES=50
step "${#SITES[@]} places made to fail $FAIL_TIMES times in a row, one at a time"
for site in "${!SITES[@]}"; do
	place=${SITES[$site]}
	aim "$place" "$(printf '0x%x' $((place + 1)))"
	for injector in "${INJECTORS[@]}"; do fault_set "$injector" verbose 0; done
	fail_some 100
	was=$refused
	attempt
	step "  $(short_names <<<"$site"): $FAILED failures, $([ $refused -gt $was ] && echo refused || echo mapped)"
done
clean
aim
for said in "${!ERRORS[@]}"; do
	step "refused ${ERRORS[$said]} times: $said"
	case $said in
	'Cannot allocate memory' | 'No buffer space available') ;;
	# What the kernel says where it cannot make a thread.
	'Resource temporarily unavailable') ;;
	*) fail "an error that says nothing about memory: $said" ;;
	esac
done
step "mapped $mapped times all the same"
mapping m
put m map 1
works
rmdir "$MAPPINGS/m"
leaks
same 0 "$LEAKS" leaks
