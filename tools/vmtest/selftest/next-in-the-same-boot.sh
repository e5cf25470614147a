#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a test finds nothing running that the one before it in the same boot left behind
# Set: smoke
# Group: short
set -euo pipefail

if pgrep -x sleep; then exit 1; fi
sleep 1000 &
