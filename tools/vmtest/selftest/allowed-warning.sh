#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a complaint that a test declares does not count
# Set: smoke
# Group: short
# Allow: at selftest
set -euo pipefail

echo "WARNING: CPU: 0 PID: 1 at selftest" >/dev/kmsg
