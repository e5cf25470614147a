#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a mapping's name is there once, and a live mapping is neither mapped again, changed nor removed
# Set: smoke
# Needs: module, sheep
# Group: control
# Limit: 60
. "$LIB"

load
create "$VDI" 4M
map m
refused 'File exists' mkdir "$MAPPINGS/m"
refused_put 'Device or resource busy' m map 1
logged 'mapping m: is mapped already'
for attribute in gateways=127.0.0.1:7000 vdi=x connections=2 queue_depth=2 connect_timeout_ms=500 \
	reply_timeout_ms=2000 io_timeout_ms=2000 fence_ms=9 read_only=1; do
	refused_put 'Device or resource busy' m "${attribute%%=*}" "${attribute#*=}"
	logged 'mapping m: in use, unmap before changing it'
done
refused 'Device or resource busy' rmdir "$MAPPINGS/m"
same live "$(get m state)" state
dd if="$DEV" of=/dev/null bs=1M iflag=direct status=none
unmap m
