#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a table in debugfs is shown item by item, and an open file keeps its module
# Limit: 60
# Group: samples
# shellcheck source=tools/tests/lib.sh
. "$LIB"

mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
load_sample debugfs
file=/sys/kernel/debug/sample_debugfs/squares
same 999 "$(wc -l <"$file")" lines
same '7 squared is 49' "$(sed -n 7p "$file")"
same "$(md5sum <"$file")" "$(dd if="$file" bs=7 status=none | md5sum)"
[ ! -e "${file%/*}/gone" ]
exec 3<"$file"
refused 'in use' rmmod sample_debugfs
exec 3<&-
rmmod sample_debugfs
[ ! -e "${file%/*}" ]
