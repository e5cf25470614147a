#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bats
#
# QEMU 5.2's tools on the development sheep: snapshots, clones, and what happens to those who have
# a VDI open meanwhile.

load support

@test "snapshots are listed with their tags, the oldest first" {
	start_sheep
	create vol 8M
	snapshot vol one
	snapshot vol two
	[ "$(img snapshot -l "$CLUSTER/vol" | awk 'NR > 2 { print $1, $2 }' | paste -sd ,)" = '1 one,2 two' ]
}

@test "each snapshot keeps the data of its time" {
	start_sheep
	create vol 16M
	io vol 'write -P 0x01 0 9M'
	snapshot vol one
	io vol 'write -P 0x02 2M 5M'
	snapshot vol two
	io vol 'write -P 0x03 3M 1M' 'write -P 0x03 12M 1M'
	IO_OPTIONS=-r io 'vol#one' 'read -P 0x01 0 9M' 'read -P 0 9M 7M'
	IO_OPTIONS=-r io 'vol#2' 'read -P 0x01 0 2M' 'read -P 0x02 2M 5M' 'read -P 0x01 7M 2M' 'read -P 0 9M 7M'
	io vol 'read -P 0x01 0 2M' 'read -P 0x02 2M 1M' 'read -P 0x03 3M 1M' 'read -P 0x02 4M 3M' \
		'read -P 0x01 7M 2M' 'read -P 0 9M 3M' 'read -P 0x03 12M 1M'
}

@test "a snapshot that does not exist is refused" {
	start_sheep
	create vol 8M
	snapshot vol one
	run ! io 'vol#two' 'read 0 512'
	[[ $output == *"Failed to find the requested tag"* || $output == *"No vdi found"* || $output == *"cannot get vdi info"* ]]
}

@test "a clone begins with the snapshot's data, and neither sees the other's writes" {
	start_sheep
	create vol 16M
	io vol 'write -P 0x11 0 9M'
	snapshot vol one
	clone 'vol#one' copy
	[ "$(size_of copy)" = $((16 << 20)) ]
	io copy 'read -P 0x11 0 9M' 'read -P 0 9M 7M' 'write -P 0x22 3M 2M' 'write -P 0x22 12M 1M'
	io vol 'write -P 0x33 6M 1M'
	io copy 'read -P 0x11 0 3M' 'read -P 0x22 3M 2M' 'read -P 0x11 5M 4M' 'read -P 0 9M 3M' \
		'read -P 0x22 12M 1M' 'read -P 0 13M 3M'
	io vol 'read -P 0x11 0 6M' 'read -P 0x33 6M 1M' 'read -P 0x11 7M 2M' 'read -P 0 9M 7M'
	IO_OPTIONS=-r io 'vol#one' 'read -P 0x11 0 9M' 'read -P 0 9M 7M'
}

@test "a clone of a clone's snapshot has the data of both" {
	start_sheep
	create vol 12M
	io vol 'write -P 0x11 0 8M'
	snapshot vol one
	clone 'vol#one' second
	io second 'write -P 0x22 4M 4M'
	snapshot second two
	clone 'second#two' third
	io third 'write -P 0x33 0 1M' 'read -P 0x33 0 1M' 'read -P 0x11 1M 3M' 'read -P 0x22 4M 4M' 'read -P 0 8M 4M'
	io second 'read -P 0x11 0 4M' 'read -P 0x22 4M 4M'
}

@test "an inherited object that is discarded reads as zeroes, and stays in the snapshot" {
	start_sheep
	create vol 8M
	io vol 'write -P 0x44 0 8M'
	snapshot vol one
	IO_OPTIONS='-d unmap' io vol 'discard 0 4M'
	io vol 'read -P 0 0 4M' 'read -P 0x44 4M 4M'
	IO_OPTIONS=-r io 'vol#one' 'read -P 0x44 0 8M'
}

@test "a client that has the VDI open while a snapshot is taken goes on in the new VDI" {
	start_sheep
	create vol 16M
	open_client vol
	tell 'write -P 0x55 0 8M'
	snapshot vol one
	tell 'write -P 0x66 2M 4M'
	tell 'write -P 0x66 12M 1M'
	tell 'read -P 0x55 0 2M'
	snapshot vol two
	tell 'write -P 0x77 2M 1M'
	close_client
	IO_OPTIONS=-r io 'vol#one' 'read -P 0x55 0 8M' 'read -P 0 8M 8M'
	IO_OPTIONS=-r io 'vol#two' 'read -P 0x55 0 2M' 'read -P 0x66 2M 4M' 'read -P 0x55 6M 2M' 'read -P 0x66 12M 1M'
	io vol 'read -P 0x55 0 2M' 'read -P 0x77 2M 1M' 'read -P 0x66 3M 3M' 'read -P 0x55 6M 2M' \
		'read -P 0 8M 4M' 'read -P 0x66 12M 1M' 'read -P 0 13M 3M'
}

@test "writing to an opened snapshot turns the VDI back to it" {
	start_sheep
	create vol 12M
	io vol 'write -P 0x11 0 8M'
	snapshot vol one
	io vol 'write -P 0x22 0 12M'
	io 'vol#one' 'write -P 0x33 1M 1M'
	io vol 'read -P 0x11 0 1M' 'read -P 0x33 1M 1M' 'read -P 0x11 2M 6M' 'read -P 0 8M 4M'
	IO_OPTIONS=-r io 'vol#one' 'read -P 0x11 0 8M'
}

@test "a snapshot of a grown VDI keeps the old size, the VDI the new one" {
	start_sheep
	create vol 8M
	snapshot vol one
	img resize -q -f raw "$CLUSTER/vol" 16M
	[ "$(size_of vol)" = $((16 << 20)) ]
	[ "$(size_of 'vol#one')" = $((8 << 20)) ]
}
