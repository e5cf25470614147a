#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: partitions appear, hold data, and have links in /dev/sheep, which go when the disk goes
# Needs: module, sheep
# Group: files
# Limit: 120
. "$LIB"

load
ln -sf "$(command -v sheepctl)" /usr/sbin/sheepctl
mkdir -p /run/udev/rules.d
cp /host/udev/60-sheepdog.rules /run/udev/rules.d/
/usr/lib/systemd/systemd-udevd --daemon
create "$VDI" 32M
map m
link=/dev/sheep/$VDI
within 20 test -L "$link"
same "$DEV" "$(readlink -f "$link")" 'the link of the disk'
within 10 test -L /dev/sheep/by-mapping/m/disk
same "$DEV" "$(readlink -f /dev/sheep/by-mapping/m/disk)" 'the link of the mapping'

sfdisk --quiet "$DEV" <<-'END'
	label: gpt
	size=8MiB
	size=16MiB
END
within 20 test -L "$link-part2"
# udevd reads the table once more when sfdisk has closed the disk; partitions and links come anew.
within 10 udevadm settle
within 20 test -L "$link-part1"
same "${DEV}1" "$(readlink -f "$link-part1")" 'the link of the partition'
within 10 test -L /dev/sheep/by-mapping/m/part1
same "${DEV}1" "$(readlink -f /dev/sheep/by-mapping/m/part1)" 'its link below the mapping'
same $((16 << 20)) "$(blockdev --getsize64 "${DEV}2")" 'size of the partition'
# At an object's boundary, as the disk advises.
same 8192 "$(cat /sys/block/sheepa/sheepa1/start)" 'start of the partition'
noise /tmp/data $((8 << 20))
dd if=/tmp/data of="$link-part1" bs=1M oflag=direct status=none
same "$(md5sum </tmp/data)" "$(dd if="$DEV" bs=1M skip=4 count=8 iflag=direct status=none | md5sum)" 'the partition on the disk'

step a new mapping finds them
within 10 udevadm settle
unmap m
within 20 test ! -L "$link"
within 20 test ! -L /dev/sheep/by-mapping/m/disk
[ ! -e "${DEV}1" ] || fail "${DEV}1 is still there"
map m
within 20 test -L "$link-part1"
same "$(md5sum </tmp/data)" "$(md5sum <"$link-part1")" 'the partition later'
udevadm settle
unmap m
udevadm control --exit
