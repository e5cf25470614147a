#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a machine without user space is diagnosed by the kernel and ended at its limit
# Memory: 192
# Group: small
# Cpus: 1
# Disk: 64
# Limit: 10
# Load: low
# Expect: hang
set -euo pipefail

# Freezes process 1, and with it the way to the runner.
mkdir /sys/fs/cgroup/frozen
echo 1 >/sys/fs/cgroup/frozen/cgroup.procs
echo 1 >/sys/fs/cgroup/frozen/cgroup.freeze
sleep 1000
