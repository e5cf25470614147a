#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a test after which locks are no longer watched fails, whatever it allows the kernel to say
# Allow: .
# Expect: fail
modprobe lkdtm || exit 77
# Returns to user space with a spinlock held, which is lockdep's first and last report.
echo SPINLOCKUP >/sys/kernel/debug/provoke-crash/DIRECT
