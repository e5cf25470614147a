#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a read of memory that was freed is reported, and fails a test
# Expect: complaint
modprobe lkdtm || exit 77
echo READ_AFTER_FREE >/sys/kernel/debug/provoke-crash/DIRECT
