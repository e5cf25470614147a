#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a complaint of the kernel outweighs a script that passes
# Set: full
# Expect: complaint
set -euo pipefail

# A stock kernel has no switch that makes it warn, so this speaks in its place.
echo "WARNING: CPU: 0 PID: 1 at selftest" >/dev/kmsg
