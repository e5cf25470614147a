#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: while all memory but the emergency reserve is gone, requests end; without the reserve for sockets they stand still
# Needs: module, faults
# Memory: 256
# Card: vmxnet3
# Limit: 120
#
# The card's driver takes memory for each packet, from the reserve as soon as any socket may use that
# (sk_memalloc_socks), which is so while a disk is mapped. What comes in so is only for sockets with the flag.
# virtio-net has hundreds of buffers ahead: with it nothing was seen to fail in so short a time.
. "$LIB"
. "${LIB%lib.sh}pressure.bash"

# Half of the seconds without memory. Whoever wants some meanwhile and is not of the driver gets none: much longer,
# and the kernel kills one process after the other. Hence requests of four pages, for which direct I/O takes none.
HALF_S=0.8
WRITTEN_MIB=192

# window DISK: prints the disk's reads and writes that had ended when the memory went, after half of the time, and
# before it came back. Watermarks above all that there is leave nothing but the reserve. The directory and
# the file stay in use: to look for them takes memory.
cat >/tmp/window <<END
#!/bin/bash
cd -P "/sys/block/\$1"
read -r before </proc/sys/vm/min_free_kbytes
exec {NOTHING}<>/tmp/nothing {STAT}<stat {FREE}>/proc/sys/vm/min_free_kbytes
look() {
	local fields
	read -ra fields <stat
	reads+=("\${fields[0]}")
	writes+=("\${fields[4]}")
}
pause() { read -rt $HALF_S -u "\$NOTHING"; }
look
echo 4000000 >&"\$FREE"
pause
look
pause
look
echo "\$before" >/proc/sys/vm/min_free_kbytes
echo "\${reads[*]}"
echo "\${writes[*]}"
END
chmod +x /tmp/window

# without_memory PARAMETER...: maps, reads and writes, and takes the memory away. Sets READS and WRITES, what
# had ended (see above), and DROPPED, packets from the reserve whose socket may not have them.
without_memory() {
	local before
	load "$@"
	map m connections=2
	"${LOCKED[@]}" dd if="$DEV" of=/dev/null bs=16k iflag=direct status=none &
	READER=$!
	"${LOCKED[@]}" dd if=/dev/zero of="$DEV" bs=16k oflag=direct,seek_bytes seek=$((WRITTEN_MIB << 20)) status=none &
	WRITER=$!
	pause 1
	before=$(tcp_count PFMemallocDrop)
	"${LOCKED[@]}" /tmp/window "${DEV#/dev/}" >/tmp/seen
	DROPPED=$(($(tcp_count PFMemallocDrop) - before))
	{ read -ra READS && read -ra WRITES; } </tmp/seen
	step "reads ${READS[*]}, writes ${WRITES[*]}, $DROPPED packets dropped"
}

modprobe vmxnet3
card=$(basename /sys/bus/pci/drivers/vmxnet3/0*/net/*)
ip address add 10.0.3.15/24 dev "$card"
GATEWAYS=10.0.3.2:${GATEWAYS##*:}
# fresh_buffers: the card gets its buffers anew. Those that it took from the reserve last for hundreds of packets,
# which are dropped for all sockets without the flag.
fresh_buffers() {
	ip link set "$card" down
	ip link set "$card" up
	within 30 listens "$GATEWAYS"
}
fresh_buffers
load
create "$VDI" 4G
map m
dd if=/dev/zero of="$DEV" bs=1M count=$WRITTEN_MIB oflag=direct status=none
unmap m
rmmod sheepdog

step 'nothing but the reserve'
without_memory
for which in READS WRITES; do
	declare -n ended=$which
	[ "${ended[2]}" -gt $((ended[1] + 5)) ] || fail "$which stood still: ${ended[*]}"
done
same 0 "$DROPPED" 'packets that were dropped'
kill "$READER" "$WRITER" || fail 'too little was read or written for that'
wait
no_request_failed
unmap m
rmmod sheepdog

fresh_buffers

step 'not even that for sockets'
without_memory unprotected=2
for which in READS WRITES; do
	declare -n ended=$which
	same "${ended[1]}" "${ended[2]}" "$which that ended without memory: this proves nothing; ended"
done
[ "$DROPPED" -gt 0 ] || fail 'no packet from the reserve came: this proves nothing'
# It would be long before it is connected again.
put m unmap force
wait
rmdir "$MAPPINGS/m"
