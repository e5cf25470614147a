#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bats
#
# QEMU 5.2's tools, with a Sheepdog driver that knows nothing of this project, on the development
# sheep: VDIs and their data.

load support

@test "a new VDI has the size that it was asked for, to the byte" {
	start_sheep
	create even 100M
	create odd $(((10 << 20) + 512))
	[ "$(size_of even)" = $((100 << 20)) ]
	[ "$(size_of odd)" = $(((10 << 20) + 512)) ]
	[ "$(allocated_of even)" = 0 ]
}

@test "a name that is taken is refused" {
	start_sheep
	create vol 8M
	run ! create vol 8M
	[[ $output == *"VDI exists"* ]]
}

@test "a VDI that does not exist is refused" {
	start_sheep
	run ! img info "$CLUSTER/nothing"
	[[ $output == *"No vdi found"* ]]
}

@test "what was never written reads as zeroes" {
	start_sheep
	create vol 16M
	io vol 'read -P 0 0 16M'
}

@test "what was written reads back across objects, in every cache mode" {
	start_sheep
	create vol 32M
	for mode in none writeback writethrough directsync unsafe; do
		IO_OPTIONS="-t $mode" io vol 'write -P 0xa5 1000k 10M' 'read -P 0xa5 1000k 10M' \
			'read -P 0 0 1000k' 'read -P 0 11264k 1M' 'write -P 0 1000k 10M'
	done
}

@test "an overwritten part leaves the rest as it was" {
	start_sheep
	create vol 16M
	io vol 'write -P 0x11 0 12M'
	io vol 'write -P 0x22 4095k 2k'
	io vol 'read -P 0x11 0 4095k' 'read -P 0x22 4095k 2k' 'read -P 0x11 4097k 8191k'
}

@test "the last sector of a VDI of odd size is written, the one behind it is not" {
	start_sheep
	create vol $(((9 << 20) + 512))
	io vol 'write -P 0x33 9M 512' 'read -P 0x33 9M 512' 'read -P 0 8M 1M'
	run ! io vol 'write -P 0x44 9437696 512'
}

@test "objects of 1 MiB and of 32 MiB are where they belong" {
	start_sheep
	create small 8M -o object_size=1M
	create large 80M -o object_size=32M
	io small 'write -P 0x55 1023k 2M' 'read -P 0x55 1023k 2M' 'read -P 0 3071k 1M'
	io large 'write -P 0x66 32767k 33M' 'read -P 0x66 32767k 33M' 'read -P 0 0 32767k'
	[ "$(allocated_of small)" = $((3 << 20)) ]
	[ "$(allocated_of large)" = $((96 << 20)) ]
}

@test "an image converted into a VDI and back is the same" {
	start_sheep
	random image $(((21 << 20) + 1536))
	img convert -f raw -O raw "$BATS_TEST_TMPDIR/image" "$CLUSTER/vol"
	img compare -q -f raw -F raw "$BATS_TEST_TMPDIR/image" "$CLUSTER/vol"
	img convert -f raw -O raw "$CLUSTER/vol" "$BATS_TEST_TMPDIR/back"
	cmp "$BATS_TEST_TMPDIR/image" "$BATS_TEST_TMPDIR/back"
}

@test "an image that differs in one sector does not compare equal" {
	start_sheep
	random image $((6 << 20))
	img convert -f raw -O raw "$BATS_TEST_TMPDIR/image" "$CLUSTER/vol"
	io vol 'write -P 0x77 5M 512'
	run -1 img compare -f raw -F raw "$BATS_TEST_TMPDIR/image" "$CLUSTER/vol"
	[[ $output == *"Content mismatch at offset 5242880"* ]]
}

@test "a format with metadata of its own works inside a VDI" {
	start_sheep
	create vol 32M
	# The driver cannot make a format inside a VDI; it can store one that is there.
	img create -q -f qcow2 "$BATS_TEST_TMPDIR/empty" 24M
	img convert -n -f raw -O raw "$BATS_TEST_TMPDIR/empty" "$CLUSTER/vol"
	random image $((9 << 20))
	truncate -s 24M "$BATS_TEST_TMPDIR/image"
	img convert -n -f raw -O qcow2 "$BATS_TEST_TMPDIR/image" "$CLUSTER/vol"
	img check -q -f qcow2 "$CLUSTER/vol"
	img compare -q -f raw -F qcow2 "$BATS_TEST_TMPDIR/image" "$CLUSTER/vol"
}

@test "a grown VDI keeps its data, and the new part reads as zeroes" {
	start_sheep
	create vol 6M
	io vol 'write -P 0x88 0 6M'
	img resize -q -f raw "$CLUSTER/vol" 20M
	[ "$(size_of vol)" = $((20 << 20)) ]
	io vol 'read -P 0x88 0 6M' 'read -P 0 6M 14M' 'write -P 0x99 19M 1M' 'read -P 0x99 19M 1M'
}

@test "a discarded object reads as zeroes, is gone, and can be written again" {
	start_sheep
	create vol 16M
	io vol 'write -P 0xaa 0 12M'
	[ "$(allocated_of vol)" = $((12 << 20)) ]
	IO_OPTIONS='-d unmap' io vol 'discard 4M 4M' 'read -P 0xaa 0 4M' 'read -P 0 4M 4M' 'read -P 0xaa 8M 4M'
	[ "$(allocated_of vol)" = $((8 << 20)) ]
	IO_OPTIONS='-d unmap' io vol 'write -P 0xbb 5M 1M' 'read -P 0 4M 1M' 'read -P 0xbb 5M 1M' 'read -P 0 6M 2M'
	[ "$(allocated_of vol)" = $((12 << 20)) ]
}

@test "written zeroes read as zeroes" {
	start_sheep
	create vol 16M
	io vol 'write -P 0xcc 0 12M' 'write -z 3M 6M'
	io vol 'read -P 0xcc 0 3M' 'read -P 0 3M 6M' 'read -P 0xcc 9M 3M'
}

@test "a flush succeeds, whether the sheep flushes or refuses to" {
	start_sheep
	create refused 8M
	io refused 'write -P 0xdd 0 1M' flush 'write -P 0xdd 1M 1M' flush 'read -P 0xdd 0 2M'
	stop "$SHEEP"
	start_sheep --flush
	create flushed 8M
	io flushed 'write -P 0xdd 0 1M' flush 'write -P 0xdd 1M 1M' flush 'read -P 0xdd 0 2M'
}

@test "many requests at once, answered in any order, do what they should" {
	start_sheep --shuffle 4 --delay 0-3:0.2
	create vol 16M
	img bench -f raw -t none -w --pattern=0x5a -c 256 -d 32 -s 65536 "$CLUSTER/vol" >&2
	io vol 'read -P 0x5a 0 16M'
}

@test "data outlive the sheep" {
	[ "$INTEROP_STORE" = directory ] || skip "in memory they do not"
	start_sheep
	create vol 16M
	io vol 'write -P 0xee 3M 6M'
	end_at_once "$SHEEP"
	start_sheep
	io vol 'read -P 0 0 3M' 'read -P 0xee 3M 6M' 'read -P 0 9M 7M'
}

@test "a VDI that one client has open is refused to a second, on a cluster with locks" {
	start_sheep --use-lock
	create vol 8M
	open_client vol
	run ! io vol 'read 0 512'
	[[ $output == *"cannot get vdi info"* ]]
	tell 'write -P 0x12 0 1M'
	close_client
	io vol 'read -P 0x12 0 1M'
}

@test "a VDI is open to several clients on a cluster without locks" {
	start_sheep
	create vol 8M
	open_client vol
	io vol 'write -P 0x34 0 1M'
	close_client
	io vol 'read -P 0x34 0 1M'
}

@test "qemu-nbd exports a VDI to today's QEMU" {
	start_sheep
	create vol 16M
	background nbd qemu-nbd -f raw -t -k "$BATS_TEST_TMPDIR/nbd" "$CLUSTER/vol"
	within "$PROCESS_LIMIT" test -S "$BATS_TEST_TMPDIR/nbd"
	limited /usr/bin/qemu-io -f raw -c 'write -P 0x56 2M 5M' "nbd+unix:///?socket=$BATS_TEST_TMPDIR/nbd"
	stop "$LAST"
	io vol 'read -P 0 0 2M' 'read -P 0x56 2M 5M' 'read -P 0 7M 9M'
}
