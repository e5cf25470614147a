#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: what a test leaves running is killed when it ends
# Set: smoke
# Group: short
set -euo pipefail

! pgrep -x sleep
sleep 1000 &
