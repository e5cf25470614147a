#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: Linux, installed on the disk, boots from it in QEMU through GRUB, writes to its ext4, and turns itself off
# Needs: module, sheep
# Group: guest
# Limit: 600
# Memory: 1024
. "$LIB"

full || skip 'long: a kernel boots on a CPU that is emulated twice (sheepdog_tests=full)'
[ -d /host/linux ] || skip 'no /host/linux: run vmtest in the root with --with guest-linux'
load
create "$VDI" 64M
map m connections=2
question="question $RANDOM$RANDOM"
step install
/host/linux/system install "$DEV" "$question"
refused 'the guest left no answer' /host/linux/system check "$DEV" "$question"
unmap m

map m connections=2
step boot
started=$(now_ms)
# Whatever goes wrong in the guest ends it; if it stands still the limit of the test does.
time qemu-system-x86_64 -m 512 -display none -serial stdio -no-reboot -hda "$DEV" </dev/null 2>/tmp/said ||
	{ cat /tmp/said; fail 'the guest'; }
step "it ran for $(($(now_ms) - started)) ms"
unmap m

map m connections=2
step check
/host/linux/system check "$DEV" "$question"
refused 'the data are not those' /host/linux/system check "$DEV" "another $question"
unmap m
