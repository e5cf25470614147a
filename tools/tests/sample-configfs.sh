#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a configfs directory that is pinned cannot be removed
# Limit: 60
# Group: samples
# shellcheck source=tools/tests/lib.sh
. "$LIB"

load_sample configfs
top=/sys/kernel/config/sample_configfs
mkdir "$top/a" "$top/b"
echo 1 >"$top/a/pin"
refused 'Device or resource busy' rmdir "$top/a"
rmdir "$top/b"
same 1 "$(cat "$top/a/pin")"
refused 'Invalid argument' tee "$top/a/pin" <<<2
refused 'in use' rmmod sample_configfs
echo 0 >"$top/a/pin"
rmdir "$top/a"
rmmod sample_configfs
