#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: the runner's sheep is reached from the machine, and is killed, stopped and started on demand
# Needs: faults
# Load: low
# Group: sheep
# Limit: 60
set -euo pipefail

[[ $GATEWAYS =~ ^10\.0\.2\.2:([0-9]+)$ ]]
port=${BASH_REMATCH[1]}
fails() { if "$@"; then exit 1; fi; }
connects() { timeout 5 bash -c "exec 3<>/dev/tcp/10.0.2.2/$port" 2>/dev/null; }
connects
host sheep kill
fails connects
fails host sheep kill
host sheep start
connects
host sheep stop
host sheep cont
host sheep restart
connects
host sheep fault ping
fails host sheep dance
