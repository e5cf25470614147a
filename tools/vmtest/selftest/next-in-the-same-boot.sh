#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a test finds nothing running, and no file in /tmp, that the one before it in the same boot left behind
# Set: smoke
# Group: short
set -euo pipefail

if pgrep -x sleep; then exit 1; fi
[ -z "$(ls /tmp)" ]
mkdir /tmp/left
touch /tmp/left/file
sleep 1000 &
