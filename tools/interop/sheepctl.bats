#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bats
#
# sheepctl and QEMU 5.2's tools manage the same VDIs on the development sheep, and see the same.

load support

vdi() { limited sheepctl vdi "$1" --gateway "$GATEWAY" "${@:2}"; }

lock() { limited sheepctl vdi lock "$1" --gateway "$GATEWAY" "${@:2}"; }

# field VDI NAME: a field of what sheepctl knows about a VDI.
field() {
	vdi info --json "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$2"
}

@test "sheepctl sees size and object size of a VDI that qemu-img made" {
	start_sheep
	create vol 100M
	create large $(((10 << 20) + 512)) -o object_size=8M
	[ "$(field vol size_bytes)" = $((100 << 20)) ]
	[ "$(field vol object_size)" = $((4 << 20)) ]
	[ "$(field large size_bytes)" = $(((10 << 20) + 512)) ]
	[ "$(field large object_size)" = $((8 << 20)) ]
}

@test "qemu-img sees size and object size of a VDI that sheepctl made" {
	start_sheep
	vdi create vol 100M
	vdi create --object-size 8M large 40M
	[ "$(size_of vol)" = $((100 << 20)) ]
	[ "$(size_of large)" = $((40 << 20)) ]
	io vol 'write -P 0x11 3M 2M' 'read -P 0x11 3M 2M'
	io large 'write -P 0x22 7M 2M' 'read -P 0 0 7M' 'read -P 0x22 7M 2M'
	[ "$(allocated_of vol)" = $((8 << 20)) ]
	[ "$(allocated_of large)" = $((16 << 20)) ]
}

@test "sheepctl counts the objects that QEMU wrote" {
	start_sheep
	create vol 64M
	io vol 'write -P 0x33 3M 2M' 'write -P 0x33 20M 1M'
	[ "$(field vol own_objects)" = 3 ]
	snapshot vol one
	io vol 'write -P 0x44 20M 1M'
	[ "$(field vol own_objects)" = 1 ]
	[ "$(field vol inherited_objects)" = 2 ]
}

@test "each sees the snapshots of the other" {
	start_sheep
	create vol 8M
	io vol 'write -P 0x11 0 8M'
	vdi snapshot --tag one vol
	io vol 'write -P 0x22 0 4M'
	snapshot vol two
	[ "$(img snapshot -l "$CLUSTER/vol" | awk 'NR > 2 { print $1, $2 }' | paste -sd ,)" = '1 one,2 two' ]
	[ "$(field vol@one snapshot)" = True ]
	[ "$(field vol@two snapshot_id)" = 2 ]
	IO_OPTIONS=-r io 'vol#one' 'read -P 0x11 0 8M'
	IO_OPTIONS=-r io 'vol#two' 'read -P 0x22 0 4M' 'read -P 0x11 4M 4M'
}

@test "an open qemu-io goes on when sheepctl takes a snapshot" {
	start_sheep
	create vol 8M
	open_client vol
	tell 'write -P 0x55 0 8M'
	vdi snapshot --tag one vol
	tell 'write -P 0x66 2M 1M'
	close_client
	IO_OPTIONS=-r io 'vol#one' 'read -P 0x55 0 8M'
	io vol 'read -P 0x55 0 2M' 'read -P 0x66 2M 1M' 'read -P 0x55 3M 5M'
}

@test "QEMU reads and writes a clone that sheepctl made" {
	start_sheep
	create vol 12M
	io vol 'write -P 0x77 0 8M'
	snapshot vol one
	vdi clone vol@one copy
	io copy 'read -P 0x77 0 8M' 'read -P 0 8M 4M' 'write -P 0x88 1M 1M' 'read -P 0x88 1M 1M'
	io vol 'read -P 0x77 0 8M'
}

@test "sheepctl names the parent of a clone that qemu-img made" {
	start_sheep
	create vol 12M
	snapshot vol one
	clone 'vol#one' copy
	[ "$(field copy parent_vdi_id)" = "$(field vol@one vdi_id)" ]
}

@test "each sees the other's change of size" {
	start_sheep
	create vol 8M
	vdi resize vol 20M
	[ "$(size_of vol)" = $((20 << 20)) ]
	img resize -q -f raw "$CLUSTER/vol" 40M
	[ "$(field vol size_bytes)" = $((40 << 20)) ]
}

@test "a VDI that sheepctl deleted is gone for QEMU, its snapshot is not" {
	start_sheep
	create vol 8M
	io vol 'write -P 0x99 0 8M'
	snapshot vol one
	vdi delete --yes vol
	run ! img info -f raw "$CLUSTER/vol"
	[[ $output == *"No vdi found"* ]]
	IO_OPTIONS=-r io 'vol#one' 'read -P 0x99 0 8M'
}

@test "sheepctl shows the lock of an open QEMU, and does not delete under it" {
	start_sheep --use-lock
	create vol 8M
	open_client vol
	lock list --json | grep '"name": "vol"'
	run ! vdi delete --yes vol
	[[ $output == *lock* ]]
	close_client
	vdi delete --yes vol
}

@test "sheepctl releases the lock of a QEMU that was killed" {
	start_sheep --use-lock
	create vol 8M
	open_client vol
	end_at_once "$CLIENT"
	run ! io vol 'read 0 512'
	lock release vol
	io vol 'read -P 0 0 512'
}
