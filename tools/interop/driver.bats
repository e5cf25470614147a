#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bats
#
# The kernel driver in a virtual machine and QEMU 5.2's tools outside of it, on one development
# sheep: each reads what the other wrote.

load support

# machine SCRIPT: boots the stock kernel, maps the VDI `vol` as $DISK, runs the script, unmaps. A
# complaint of the kernel is a failure too.
machine() {
	# shellcheck disable=SC2016 # the machine's shell expands it
	timeout 280 /src/tools/build/vm exec --gateways "$GATEWAY" --limit 120 '
		set -euo pipefail
		modprobe configfs
		mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
		insmod "$MODULE"
		sheepctl map --gateway "$GATEWAYS" vol
		DISK=/dev/sheepa
		'"$1"'
		sheepctl unmap vol
		rmmod sheepdog'
}

@test "the driver reads what QEMU wrote" {
	start_sheep
	random image $((21 << 20))
	img convert -f raw -O raw "$BATS_TEST_TMPDIR/image" "$CLUSTER/vol"
	img resize -q -f raw "$CLUSTER/vol" 40M
	io vol 'write -P 0x5a 38M 2M'
	{
		cat "$BATS_TEST_TMPDIR/image"
		head -c 17M /dev/zero
		head -c 2M /dev/zero | tr '\0' '\132'
	} | sha256sum | cut -d ' ' -f 1 >"$BATS_TEST_TMPDIR/sum"
	# shellcheck disable=SC2016 # the machine's shell expands it
	machine '[ "$(sha256sum <$DISK)" = "'"$(cat "$BATS_TEST_TMPDIR/sum")"'  -" ]'
}

@test "QEMU reads what the driver wrote" {
	start_sheep
	create vol 40M
	# Over the edge of an object, in the middle of one, and at the very end.
	# shellcheck disable=SC2016 # the machine's shell expands it
	machine '
		fill() { head -c "$3" /dev/zero | tr "\0" "\\$1" | dd of=$DISK bs=64k seek="$2" iflag=fullblock oflag=direct status=none; }
		fill 245 48 9M
		fill 132 400 64k
		fill 063 639 64k'
	io vol 'read -P 0 0 3M' 'read -P 0xa5 3M 9M' 'read -P 0 12M 13M' 'read -P 0x5a 25M 64k' \
		'read -P 0 25664k 15232k' 'read -P 0x33 40896k 64k'
	[ "$(allocated_of vol)" = $((20 << 20)) ]
}

@test "driver and QEMU take turns on the same objects" {
	start_sheep
	create vol 16M
	io vol 'write -P 0x11 0 10M'
	# shellcheck disable=SC2016 # the machine's shell expands it
	machine '
		head -c 10M /dev/zero | tr "\0" "\021" | cmp -n 10485760 - $DISK
		head -c 4M /dev/zero | tr "\0" "\042" | dd of=$DISK bs=1M seek=2 iflag=fullblock oflag=direct status=none'
	io vol 'read -P 0x11 0 2M' 'read -P 0x22 2M 4M' 'read -P 0x11 6M 4M' 'read -P 0 10M 6M' 'write -P 0x33 3M 1M'
	# shellcheck disable=SC2016 # the machine's shell expands it
	machine '
		dd if=$DISK bs=1M skip=3 count=1 status=none | cmp - <(head -c 1M /dev/zero | tr "\0" "\063")
		dd if=$DISK bs=1M skip=4 count=2 status=none | cmp - <(head -c 2M /dev/zero | tr "\0" "\042")'
}
