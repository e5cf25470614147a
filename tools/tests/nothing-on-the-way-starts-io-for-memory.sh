#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: no thread of the driver may start I/O to get memory, and no page that it takes, in whoever's context, was asked for with flags that do
# Needs: module, faults
# Group: allocations
# Limit: 180
. "$LIB"
. "${LIB%lib.sh}pressure.bash"

TRACING=/sys/kernel/tracing
mountpoint -q $TRACING || mount -t tracefs tracefs $TRACING
EVENT=$TRACING/events/kmem/mm_page_alloc
# The flags of this event are those that count, with what the scopes of the task have taken away.
HISTOGRAM=hist:keys=common_stacktrace,gfp_flags:size=4096
# Histograms need the ring buffer, which is made when an event is enabled for the first time.
echo 1 >$EVENT/enable
echo 0 >$EVENT/enable

# __GFP_IO and __GFP_FS of include/linux/gfp_types.h; PF_MEMALLOC_NOIO of include/linux/sched.h.
GFP_IO_FS=$((0x40 | 0x80))
PF_MEMALLOC_NOIO=$((0x00080000))

# threads: sets THREADS and UNSCOPED, of the driver: all of them, and those that are in no scope.
threads() {
	local file line fields
	THREADS=0 UNSCOPED=0
	for file in /proc/[0-9]*/stat; do
		{ read -r line <"$file"; } 2>/dev/null || continue
		[[ $line == *'(sheep'* ]] || continue
		read -ra fields <<<"${line##*) }"
		# Children of kthreadd only: not sheepctl.
		[ "${fields[1]}" = 2 ] || continue
		THREADS=$((THREADS + 1))
		[ $((fields[6] & PF_MEMALLOC_NOIO)) != 0 ] || UNSCOPED=$((UNSCOPED + 1))
	done
}

# pages: reads the histogram. Sets PAGES, taken with a function of the driver on the stack and no interrupt
# in between; MAY_IO, those of them whose flags let I/O be started; and OTHERS, with such flags, of everybody
# else in this machine.
pages() {
	awk -v mask=$GFP_IO_FS '
		/^[{] common_stacktrace:/ { ours = interrupt = 0; stack = ""; next }
		/^ / {
			sub(/\+0x[0-9a-f]+\/0x[0-9a-f]+/, "", $1)
			stack = stack " " $1
			if (!ours && $1 ~ /^(asm_|sysvec_|common_interrupt|__irq_exit|handle_softirqs)/) interrupt = 1
			if ($2 == "[sheepdog]" && !interrupt) ours = 1
			next
		}
		/gfp_flags:/ {
			sub(/.*gfp_flags: */, "")
			flags = $1 + 0
			sub(/.*hitcount: */, "")
			io = and(flags, mask) != 0
			if (ours) pages += $1
			if (ours && io) { may += $1; print "may start I/O, " $1 " times, flags " flags ":" stack >"/dev/stderr" }
			if (!ours && io) others += $1
		}
		/Dropped: [1-9]/ { print "the histogram is too small: " $0 >"/dev/stderr"; exit 1 }
		END { print pages + 0, may + 0, others + 0 }' $EVENT/hist >/tmp/pages
	read -r PAGES MAY_IO OTHERS </tmp/pages
}

# use UNPROTECTED: reads, writes, and loses connections.
use() {
	load unprotected="$1"
	map m connections=2
	threads
	echo "$HISTOGRAM" >$EVENT/trigger
	for _ in {1..3}; do
		fio --name=use --filename="$DEV" --thread --ioengine=libaio --direct=1 --size=32M --io_size="$(seconds 4 128)M" \
			--rw=randrw --bsrange=4k-256k --iodepth=16 --output=/tmp/fio.log
		fault disconnect
		dd if=/dev/zero of="$DEV" bs=64k count=64 conv=notrunc,fsync status=none
	done
	pages
	echo "!$HISTOGRAM" >$EVENT/trigger
	local before=$THREADS unscoped=$UNSCOPED
	threads
	UNSCOPED=$((UNSCOPED + unscoped))
	THREADS=$((THREADS + before))
	no_request_failed
	[ "$(log_count 'connections lost; ')" -ge 1 ] || fail 'no connection was lost'
	step "unprotected $1: $UNSCOPED of $THREADS threads in no scope; $MAY_IO of $PAGES pages might have started I/O, as $OTHERS of others"
	[ "$THREADS" -gt 4 ] || fail 'where are the threads of the driver?'
	[ "$PAGES" -gt 0 ] && [ "$OTHERS" -gt 0 ] || fail 'no pages were seen, which proves nothing'
	unmap m
	rmmod sheepdog
}

create "$VDI" 32M
load
map m
dd if=/dev/zero of="$DEV" bs=4M count=8 oflag=direct status=none
unmap m
rmmod sheepdog
use "$(parameter unprotected 0)"
same '0 0' "$UNSCOPED $MAY_IO" 'threads in no scope, pages that might have started I/O'
step 'without scopes, and without flags of sockets, this test would have seen it'
use 5
[ "$UNSCOPED" = "$THREADS" ] || fail 'threads were in a scope'
[ "$MAY_IO" -gt 0 ] || fail 'no page was seen that might have started I/O'
