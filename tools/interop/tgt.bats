#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bats
#
# Debian's tgt, whose Sheepdog backing store is a client of its own, on the development sheep: an
# iSCSI target on loopback. Initiators are libiscsi's tools and QEMU's iSCSI driver, in user space.
#
# tgt has limits of its own: it knows objects of 4 MiB only; its read over several objects puts the
# zeroes of a hole in the wrong place (protocol sheet, 15), so the tests read holes object by object;
# it documents tags of snapshots, and refuses every one as an unexpected token.

load support

TARGET=iqn.2026-01.sheepdog.interop:target

tgt() { limited tgtadm -C 0 --lld iscsi "$@"; }

free_port() {
	python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# The target listens on a free port of loopback and on a socket of its own for tgtadm.
start_target() {
	export TGT_IPC_SOCKET=$BATS_TEST_TMPDIR/tgt
	PORTAL=127.0.0.1:$(free_port)
	background tgtd tgtd -f -C 0 --iscsi "portal=$PORTAL"
	TGTD=$LAST
	within "$PROCESS_LIMIT" tgt -m system -o show >/dev/null
	tgt -m target -o new -t 1 -T "$TARGET"
	tgt -m target -o bind -t 1 -I ALL
}

# tgt cuts a TCP port off after its fourth digit.
start_sheep_on_short_port() {
	local candidate
	for candidate in {7000..7099}; do
		SHEEP_PORT=$candidate start_sheep
		gone "$SHEEP" || return 0
	done
	fail "all ports from 7000 to 7099 are taken"
}

# export_vdi STORE LUN: STORE is tgt's name of a VDI: protocol, place, name and perhaps tag. Sets DISK.
export_vdi() {
	tgt -m logicalunit -o new -t 1 -l "$2" --bstype sheepdog --backing-store "$1" || return
	DISK=iscsi://$PORTAL/$TARGET/$2
}

# A LUN goes once the initiator that used it has left.
close_lun() { tgt -m logicalunit -o delete -t 1 -l "$1"; }

@test "a LUN has the size of its VDI" {
	start_sheep
	create vol 64M
	start_target
	export_vdi "unix:$SOCKET:vol" 1
	limited iscsi-readcapacity16 "$DISK" | grep -x 'Total size:67108864'
	limited iscsi-ls -s "iscsi://$PORTAL" | grep 'Lun:1 *Type:DIRECT_ACCESS'
}

@test "what the target writes it reads back, and QEMU's driver reads the same" {
	start_sheep
	create vol 32M
	start_target
	export_vdi "unix:$SOCKET:vol" 1
	io "$DISK" 'write -P 0x11 0 9M' 'write -P 0x22 4095k 1026k' flush \
		'read -P 0x11 0 4095k' 'read -P 0x22 4095k 1026k' 'read -P 0x11 5121k 4095k'
	close_lun 1
	io vol 'read -P 0x11 0 4095k' 'read -P 0x22 4095k 1026k' 'read -P 0x11 5121k 4095k' 'read -P 0 12M 20M'
	[ "$(allocated_of vol)" = $((12 << 20)) ]
}

@test "what QEMU's driver wrote the target reads" {
	start_sheep
	random image $((13 << 20))
	img convert -f raw -O raw "$BATS_TEST_TMPDIR/image" "$CLUSTER/vol"
	start_target
	export_vdi "unix:$SOCKET:vol" 1
	img compare -q -f raw -F raw "$BATS_TEST_TMPDIR/image" "$DISK"
}

@test "what was never written reads as zeroes through the target" {
	start_sheep
	create vol 16M
	start_target
	export_vdi "unix:$SOCKET:vol" 1
	io "$DISK" 'write -P 0x33 5M 512' 'read -P 0 0 4M' 'read -P 0 4M 1M' 'read -P 0x33 5M 512' 'read -P 0 8M 4M'
}

@test "the target reaches a sheep over TCP" {
	start_sheep_on_short_port
	create vol 16M
	start_target
	export_vdi "tcp:127.0.0.1:$PORT:vol" 1
	io "$DISK" 'write -P 0x44 3M 4M' 'read -P 0x44 3M 4M'
	io vol 'read -P 0 0 3M' 'read -P 0x44 3M 4M'
}

@test "the target refuses a VDI that does not exist" {
	start_sheep
	start_target
	run ! export_vdi "unix:$SOCKET:nothing" 1
	grep 'cannot get vdi info, No vdi found, nothing' "$BATS_TEST_TMPDIR/tgtd.log"
	# After a LUN that could not be opened tgtd does not end when told to.
	end_at_once "$TGTD"
}

@test "the target writes to a clone, and the snapshot below stays" {
	start_sheep
	create vol 12M
	io vol 'write -P 0x55 0 12M'
	snapshot vol one
	clone 'vol#one' copy
	start_target
	export_vdi "unix:$SOCKET:copy" 1
	io "$DISK" 'read -P 0x55 0 12M' 'write -P 0x66 3M 2M' 'read -P 0x55 0 3M' 'read -P 0x66 3M 2M' 'read -P 0x55 5M 7M'
	close_lun 1
	io copy 'read -P 0x55 0 3M' 'read -P 0x66 3M 2M' 'read -P 0x55 5M 7M'
	IO_OPTIONS=-r io 'vol#one' 'read -P 0x55 0 12M'
}

@test "the target goes on in the new VDI when a snapshot is taken under it" {
	start_sheep
	create vol 12M
	start_target
	export_vdi "unix:$SOCKET:vol" 1
	io "$DISK" 'write -P 0x99 0 8M'
	snapshot vol one
	io "$DISK" 'write -P 0xaa 3M 2M' 'write -P 0xaa 9M 1M' 'read -P 0x99 0 3M' 'read -P 0xaa 3M 2M'
	close_lun 1
	io vol 'read -P 0x99 0 3M' 'read -P 0xaa 3M 2M' 'read -P 0x99 5M 3M' 'read -P 0 8M 1M' 'read -P 0xaa 9M 1M'
	IO_OPTIONS=-r io 'vol#one' 'read -P 0x99 0 8M' 'read -P 0 8M 4M'
}

@test "a VDI behind the target is refused to QEMU until the LUN is gone, on a cluster with locks" {
	start_sheep --use-lock
	create vol 8M
	start_target
	export_vdi "unix:$SOCKET:vol" 1
	run ! io vol 'read 0 512'
	[[ $output == *"cannot get vdi info"* ]]
	close_lun 1
	io vol 'read -P 0 0 512'
}
