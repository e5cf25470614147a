#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: memory that nobody refers to is reported, and fails a test
# Limit: 90
# Expect: complaint
. "$LIB"
. "${LIB%lib.sh}faults.bash"

modprobe kmemleak-test
rmmod kmemleak-test
leaks
[ "$LEAKS" -gt 0 ] || fail 'no leak was found'
