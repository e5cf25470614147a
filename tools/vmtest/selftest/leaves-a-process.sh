#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: what a test leaves running is killed when it ends
# Set: smoke
# Group: short
set -euo pipefail

if pgrep -x sleep; then exit 1; fi
sleep 1000 &
