#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: reading and writing what exists allocates nothing in the driver: under it only TCP does, and above it only what any bio costs
# Needs: module, sheep
# Group: allocations
# Limit: 150
. "$LIB"

# Where the kernel allocates memory; each event gets a histogram of stacks.
EVENTS=(kmem/kmalloc kmem/kmem_cache_alloc kmem/mm_page_alloc percpu/percpu_alloc_percpu vmalloc/alloc_vmap_area)
TRACING=/sys/kernel/tracing
mountpoint -q $TRACING || mount -t tracefs tracefs $TRACING
for event in "${EVENTS[@]}"; do
	[ -e "$TRACING/events/$event/trigger" ] || fail "this kernel has no event $event"
done
# Histograms need the ring buffer, which is made when an event is enabled for the first time.
echo 1 >"$TRACING/events/${EVENTS[0]}/enable"
echo 0 >"$TRACING/events/${EVENTS[0]}/enable"
HISTOGRAM=hist:keys=common_stacktrace:size=4096

# counted COMMAND...: runs it, and leaves each stack that allocated meanwhile as one line in /tmp/stacks:
# how often, then the functions, from the allocator outwards.
counted() {
	local event
	for event in "${EVENTS[@]}"; do
		echo "$HISTOGRAM" >"$TRACING/events/$event/trigger"
	done
	"$@"
	for event in "${EVENTS[@]}"; do
		awk -v event="${event#*/}" '
			/^[{] common_stacktrace:/ { stack = event; next }
			/^[}] hitcount:/ { print $3, stack; next }
			/^ / { sub(/\+0x[0-9a-f]+\/0x[0-9a-f]+/, "", $1); stack = stack " " $1 $2 }
			/Dropped: [1-9]/ { print "the histogram is too small: " $0 >"/dev/stderr"; exit 1 }
		' "$TRACING/events/$event/hist"
		echo "!$HISTOGRAM" >"$TRACING/events/$event/trigger"
	done >/tmp/stacks
	[ -s /tmp/stacks ] || fail 'nobody in this machine was seen to allocate'
}

# sort_out: reads /tmp/stacks and leaves in /tmp/<kind> what is of that kind. A stack is the driver's if
# one of its functions is there; what lies between that function and the allocator says on whose behalf.
KINDS=(module network end-of-bio interrupt block other)
sort_out() {
	local kind
	for kind in "${KINDS[@]}"; do
		: >"/tmp/$kind"
	done
	awk '{
		kind = "other"
		for (i = 3; i <= NF; i++) {
			if ($i ~ /\[sheepdog\]/) { kind = "module"; break }
		}
		for (j = 3; j < i && kind == "module"; j++) {
			if ($j ~ /^(asm_|sysvec_|common_interrupt|__irq_exit)/) kind = "interrupt"
			else if ($j ~ /^(__)?(tcp|sk|skb|alloc_skb|inet|ip)_/) kind = "network"
			else if ($j ~ /^(blk_mq_end_request|blk_update_request|bio_endio|bio_put)/) kind = "end-of-bio"
		}
		for (i = 3; i <= NF && kind == "other"; i++) {
			if ($i ~ /^(asm_|sysvec_|common_interrupt|__irq_exit)/) break
			if ($i ~ /(^|_)(submit_bio|blk_mq|bio)/ || $i ~ /^blkdev_/) kind = "block"
		}
		print >>("/tmp/" kind)
	}' /tmp/stacks
}
# total KIND: allocations of it; per_request KIND: in thousandths.
total() { awk '{ sum += $1 } END { print sum + 0 }' "/tmp/$1"; }
per_request() { echo $(($(total "$1") * 1000 / requests)); }
# sites KIND: who allocates at least twice in a hundred requests, and the caller.
sites() {
	awk -v least=$((requests / 50)) '{ sum[$3 " for " $4] += $1 }
		END { for (site in sum) if (sum[site] >= least) print site }' "/tmp/$1" | sort
}
shows() { sort -rn "/tmp/$1" | awk -v count="${2:-5}" 'NR <= count { print substr($0, 1, 400) }'; }

# load_on DISK: reads and writes, small and large, of what is there.
IO_MIB=$(seconds 3 96)
load_on() {
	fio --name=small --filename="$1" --thread --ioengine=libaio --direct=1 --size=32M --io_size="${IO_MIB}M" \
		--rw=randrw --bs=4k --iodepth=16 --stonewall \
		--name=large --filename="$1" --thread --ioengine=libaio --direct=1 --size=32M --io_size="$((IO_MIB * 8))M" \
		--rw=rw --bs=256k --iodepth=4 --stonewall --output-format=json --output=/tmp/fio.log >/dev/null
	requests=$(jq '[.jobs[] | .read, .write | .total_ios] | add' /tmp/fio.log)
}

load
create "$VDI" 32M
map m connections=2
dd if=/dev/zero of="$DEV" bs=4M count=8 oflag=direct status=none

step 'what any bio costs: the same on a disk that does nothing'
modprobe null_blk nr_devices=1 gb=1 submit_queues=2
echo none >/sys/block/nullb0/queue/scheduler
load_on /dev/nullb0
counted load_on /dev/nullb0
sort_out
sites block >/tmp/any-disk
step "$requests requests: $(total block) allocations: $(paste -sd , /tmp/any-disk)"

step 'the disk'
echo none >"/sys/block/${DEV#/dev/}/queue/scheduler"
load_on "$DEV"
counted load_on "$DEV"
sort_out
for kind in "${KINDS[@]}"; do
	step "$requests requests: $kind allocates $(total "$kind") times, from $(wc -l <"/tmp/$kind") places"
	shows "$kind" 4
done
[ "$(total network)" -gt 0 ] || fail 'not even TCP was seen to allocate: the count proves nothing'
same 0 "$(total module)" 'allocations by the driver'
# What ends a bio gives its memory back, for which the slab allocator needs some now and then.
[ "$(per_request end-of-bio)" -le 50 ] || fail "to end bios takes $(per_request end-of-bio) allocations per 1000"
# A bio comes from a cache of its CPU, or is one allocation; which of the two depends on where it ended.
[ "$(per_request block)" -le 1050 ] || fail "the block layer allocates $(per_request block) times per 1000 requests"
same '' "$(sites block | comm -23 - /tmp/any-disk)" 'sites that allocate for this disk only'

step 'that an allocation by the driver is seen: a disk is mapped'
create "$VDI-2" 4M
counted map second vdi="$VDI-2"
sort_out
shows module 3
[ "$(total module)" -gt 0 ] || fail 'the allocations of a mapping were not seen'
unmap second
rmmod null_blk
unmap m
