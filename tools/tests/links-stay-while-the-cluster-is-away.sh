#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: while the disk says that its cluster is away, udev keeps its links and does not read it
# Needs: module, faults
# Group: files
# Limit: 120
. "$LIB"

# The kernel lets user space add words to an event, but not choose their names: this rule renames
# one, and the disk seems to say it.
say_state() {
	echo "change $(cat /proc/sys/kernel/random/uuid) STATE=$1" >"/sys/block/${DEV#/dev/}/uevent"
}
settled() { timeout 20 udevadm settle --timeout=15; }
property() { udevadm info --query=property --property="$1" --value "$2"; }

load
ln -sf "$(command -v sheepctl)" /usr/sbin/sheepctl
mkdir -p /run/udev/rules.d
cp /host/udev/60-sheepdog.rules /run/udev/rules.d/
# shellcheck disable=SC2016 # udev expands it
echo 'ENV{SYNTH_ARG_STATE}=="?*", ENV{SHEEPDOG_STATE}="$env{SYNTH_ARG_STATE}"' >/run/udev/rules.d/59-test.rules
/usr/lib/systemd/systemd-udevd --daemon
create "$VDI" 32M
map m
settled
sfdisk --quiet "$DEV" <<<'label: gpt
size=16MiB'
within 20 test -L "/dev/sheep/$VDI-part1"
settled
mkfs.ext4 -q -L label "${DEV}1"
within 20 test -L /dev/disk/by-label/label
settled
uuid=$(property ID_FS_UUID "${DEV}1")
table=$(property ID_PART_TABLE_UUID "$DEV")
[ -n "$uuid" ] && [ -n "$table" ] || fail 'blkid found nothing'

links_stand() {
	same "$DEV" "$(readlink -f "/dev/sheep/$VDI")" 'the link of the disk'
	same "${DEV}1" "$(readlink -f "/dev/sheep/$VDI-part1")" 'the link of the partition'
	same "${DEV}1" "$(readlink -f "/dev/disk/by-uuid/$uuid")" 'the link by UUID'
	same "${DEV}1" "$(readlink -f /dev/disk/by-label/label)" 'the link by label'
	same ext4 "$(property ID_FS_TYPE "${DEV}1")" 'the type of the file system'
	same "$table" "$(property ID_PART_TABLE_UUID "$DEV")" 'the partition table'
}

for state in reconnecting failing; do
	step "the sheep stands still: $state"
	blockdev --flushbufs "$DEV"
	host sheep stop
	say_state "$state"
	settled || fail "udev reads the disk while it is $state"
	same "$state" "$(property SHEEPDOG_STATE "$DEV")" 'the state that udev keeps'
	links_stand
	step 'somebody opens it for writing and closes it, and so with the partition'
	: 3<>"$DEV" 4<>"${DEV}1"
	echo change >"/sys/block/${DEV#/dev/}/${DEV#/dev/}1/uevent"
	settled || fail "udev reads the disk after a close while it is $state"
	links_stand
	host sheep cont
done

step 'it is live again, and looked at again'
say_state live
settled
same live "$(property SHEEPDOG_STATE "$DEV")" 'the state that udev keeps'
links_stand
tune2fs -L other "${DEV}1" >/dev/null
within 20 test -L /dev/disk/by-label/other
settled
unmap m
udevadm control --exit
