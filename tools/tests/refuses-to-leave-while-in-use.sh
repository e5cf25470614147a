#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: while the disk is open or mounted, unmap says EBUSY and rmmod fails; then both work
# Set: smoke
# Needs: module, sheep
# Group: control
# Limit: 90
. "$LIB"

load
create "$VDI" 16M
map m
refused 'is in use' rmmod sheepdog

step open
exec 4<"$DEV"
refused_put 'Device or resource busy' m unmap 1
logged 'sheepa: in use; unmount and close it, or unmap by force'
exec 4<&-

step mounted
mkfs.ext4 -q "$DEV"
mount "$DEV" /mnt
refused_put 'Device or resource busy' m unmap 1
logged 'sheepa: in use'
refused 'is in use' rmmod sheepdog
same live "$(get m state)" state
echo works >/mnt/file
umount /mnt

step neither
unmap m
rmmod sheepdog
insmod "$MODULE"
