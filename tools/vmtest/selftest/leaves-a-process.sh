#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: what a test leaves running is killed when it ends, and its files in /tmp go
# Set: smoke
# Group: short
set -euo pipefail

if pgrep -x sleep; then exit 1; fi
[ -z "$(ls /tmp)" ]
mkdir /tmp/left
touch /tmp/left/file
sleep 1000 &
