#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a QEMU guest fills its disk through a page cache full of dirty pages, with a sheep on this host
# Needs: module
# Memory: 320
# Disk: 1024
# Limit: 300
#
# To take a protection away: --append 'sheepdog_flusher=no' (or unlocked, or locked, see pressure.bash),
# 'sheepdog_unprotected=N' (the module's parameter).
. "$LIB"
. "${LIB%lib.sh}pressure.bash"

# No request may wait longer.
STALL_S=25
# See tools/guest-image: what the guest writes, from the second MiB on.
MIB=$(parameter size "$(seconds 48 256)")
ROUNDS=$(seconds 1 "$(parameter rounds 8)")
FIRST=2048
NUMBERS_AT=432

# little NUMBER: four bytes.
little() { printf '%b' "$(printf '\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255)))"; }

# content ROUND: what the guest writes.
content() {
	gawk -b -v first=$FIRST -v count=$((MIB * 2048)) -v round="$1" '
		function little(n) { return sprintf("%c%c%c%c", n % 256, int(n / 256) % 256, int(n / 65536) % 256, int(n / 16777216)) }
		BEGIN {
			rest = sprintf("%504s", ""); gsub(" ", "Z", rest); rest = little(round) rest
			for (i = 0; i < count; i++) printf "%s", little(first + i) rest
		}'
}

follow_log
load unprotected="$(parameter unprotected 0)"
mkfs.ext4 -q /dev/vdd
mkdir /store
mount /dev/vdd /store
sheep=(--no-sync)
guarded_as_asked
step "a sheep in this machine: ${SHEEP_WITH[*]} ${sheep[*]}"
local_sheep --directory /store/sheep --threads 2 "${sheep[@]}"
VDI=local
ctl vdi create "$VDI" $((MIB + 2))M >/dev/null
map m connections=2
dd if=/host/guest-writer.img of="$DEV" bs=1M count=1 oflag=direct status=none
(little $((MIB * 2048)) && little "$ROUNDS") |
	dd of="$DEV" bs=1 seek=$NUMBERS_AT conv=notrunc,fsync status=none

# Dirty pages are to fill what is there before anybody writes them back: the guest is slower than the disk.
echo 70 >/proc/sys/vm/dirty_background_ratio
echo 80 >/proc/sys/vm/dirty_ratio
echo 60000 >/proc/sys/vm/dirty_expire_centisecs
step "$(mib MemAvailable) MiB available"
# unsafe: the BIOS negotiates no flush, so that QEMU would flush after each write. All is synced below.
hog "$(parameter hog 90)" --vm-keep --vm-hang 1
step boot
qemu-system-x86_64 -accel tcg,tb-size=16 -m 64 -nodefaults -display none -serial stdio -no-reboot \
	-object iothread,id=disk -drive file="$DEV",format=raw,if=none,id=disk,cache=unsafe \
	-device virtio-blk-pci,drive=disk,iothread=disk </dev/null >/tmp/serial 2>/tmp/said &
guest=$!
dirty=0
# note_dirty: without forking, as what `stalls` does.
note_dirty() {
	local key kib _ sum=0
	while read -r key kib _; do
		case $key in Dirty: | Writeback:) sum=$((sum + kib)) ;; esac
	done </proc/meminfo
	[ $((sum / 1024)) -le $dirty ] || dirty=$((sum / 1024))
	return 1
}
if stalls $STALL_S $guest note_dirty; then
	fail "no request has ended for $LONGEST_MS ms; $(sheep_ooms) OOM kills by the sheep"
fi
wait $guest || { cat /tmp/said; fail 'the guest'; }
step "the guest says: $(tr -d '\r' </tmp/serial)"
same written "$(tr -d '\r\n' </tmp/serial)" 'what the guest says'
step "longest wait $LONGEST_MS ms, $dirty MiB dirty at most, $(mib MemAvailable) MiB available, $(oom_kills) OOM kills, $(sheep_ooms) by the sheep"
[ $dirty -ge 16 ] || fail 'memory was not full of dirty pages: that proves nothing'
sync
end_all
blockdev --flushbufs "$DEV"
echo 3 >/proc/sys/vm/drop_caches
step 'what is on the disk'
content "$ROUNDS" | cmp -n $((MIB << 20)) --ignore-initial=0:$((FIRST * 512)) - "$DEV"
unmap m
