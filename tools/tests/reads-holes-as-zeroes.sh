#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: what was never written reads as zeroes and costs no request
# Set: smoke
# Needs: module, faults
# Group: data
# Limit: 60
. "$LIB"

load
create "$VDI" 64M
map m
dd if=/dev/urandom of="$DEV" bs=64k count=1 seek=$((20 << 20)) oflag=direct,seek_bytes status=none
before=$(served READ_OBJ)
dd if="$DEV" of=/tmp/hole bs=1M count=16 iflag=direct status=none
cmp -n $((16 << 20)) /tmp/hole /dev/zero
dd if="$DEV" of=/tmp/hole bs=1M skip=24 count=40 iflag=direct status=none
cmp -n $((40 << 20)) /tmp/hole /dev/zero
same "$before" "$(served READ_OBJ)" 'requests for holes'

step a hole within an object is the cluster\'s
dd if="$DEV" of=/tmp/hole bs=64k skip=$(((20 << 20) + 65536)) count=1 iflag=direct,skip_bytes status=none
cmp -n 65536 /tmp/hole /dev/zero
same $((before + 1)) "$(served READ_OBJ)" 'requests for the object'
same 1 "$(served CREATE_AND_WRITE_OBJ)" objects
