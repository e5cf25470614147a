#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a QEMU guest boots from the disk through its own boot loader, and writes to it
# Set: smoke
# Needs: module, sheep
# Group: guest
# Limit: 120
# Memory: 1024
. "$LIB"

load
create "$VDI" 4M
map m connections=2
dd if=/host/guest.img of="$DEV" bs=1M oflag=direct status=none
question="question $RANDOM$RANDOM"
# The mailbox: the guest reads this line, and answers in the next sector (tools/guest-image).
dd of="$DEV" bs=512 seek=2048 conv=sync,fsync status=none <<<"$question"
unmap m

map m connections=2
step boot
timeout 100 qemu-system-x86_64 -m 512 -display none -serial stdio -no-reboot -hda "$DEV" </dev/null >/tmp/serial 2>/tmp/said ||
	{ cat /tmp/said; fail 'the guest'; }
step "the guest says: $(tr -d '\r' </tmp/serial)"
unmap m

map m connections=2
same "guest BIOS answers $question" \
	"$(dd if="$DEV" bs=512 skip=2049 count=1 iflag=direct status=none | tr -d '\0')" 'the answer on the disk'
unmap m
