#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: twice the memory of the machine is used with swap on the disk, and read back as written
# Needs: module, sheep
# Memory: 128
# Limit: 420
#
# The sheep is on another host. Swap on a volume that a sheep of this host serves is not promised.
. "$LIB"
. "${LIB%lib.sh}pressure.bash"

load
total=$(mib MemTotal)
create "$VDI" $((total * 3 + 256))M
# TCP may find no memory to send again what was lost: then the connection has to be replaced, before requests
# stand still for too long.
map m connections=2 reply_timeout_ms=10000
mkswap "$DEV" >/dev/null
swapon "$DEV"
# Pages of a tmpfs go to swap as those of programs do.
mount -t tmpfs -o size=$((total * 2 + 16))M tmpfs /mnt
content() { yes "round $1" | head -c $((total << 21)) || true; }
worst=0
end_s=$((SECONDS + $(seconds 0 600)))
for ((round = 0; round == 0 || SECONDS < end_s; round++)); do
	step "$((total * 2)) MiB in a machine of $total MiB"
	(content $round | dd of=/mnt/file bs=64k iflag=fullblock status=none && content $round | cmp - /mnt/file) &
	user=$!
	if stalls 25 $user; then
		fail "no request has ended for $LONGEST_MS ms"
	fi
	wait $user
	[ "$worst" -ge "$LONGEST_MS" ] || worst=$LONGEST_MS
	full && stress-ng --quiet --vm 2 --vm-bytes "${total}M" --vm-keep --vm-method incdec --verify --vm-ops 2 --timeout 300
done
rate() { awk -v name="$1" '$1 == name { print int($2 / 256) }' /proc/vmstat; }
step "$(rate pswpout) MiB out, $(rate pswpin) MiB in; longest wait $worst ms, $(oom_kills) OOM kills"
[ "$(rate pswpout)" -gt "$total" ] || fail 'too little was swapped to prove anything'
umount /mnt
swapoff "$DEV"
unmap m
figures "swapped_out_mib=$(rate pswpout)" "swapped_in_mib=$(rate pswpin)"
