#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a gateway that has no such VDI any more, or another one of the same name and id, gets no data
# Needs: module, faults
# Load: low
# Group: faults
# Limit: 90
. "$LIB"

load
create "$VDI" 8M
noise /tmp/noise 4096
map m
write_4k
id=$(get m vdi_id)
mark

step the sheep forgets everything
host sheep kill
write_4k &
writer=$!
within 10 waits m
host sheep start
refused_for() { [ "$(log_count "sheepa: $GATEWAYS: attempt [0-9]+ failed: $1; next in ")" -ge 1 ]; }
within 15 refused_for 'this cluster has no such VDI'

step another VDI of the same name
create "$VDI" 8M
map other
same "$id" "$(get other vdi_id)" 'the id'
dd if=/dev/zero of="$DEV" bs=4k count=1 oflag=direct status=none
writes=$(served WRITE_OBJ)
within 20 refused_for 'this cluster has another VDI of the same id'
same reconnecting "$(get m state)" state
waits m || fail 'the write did not wait'
same "$writes" "$(served WRITE_OBJ)" 'writes that the sheep has seen'
put m unmap force
! wait $writer || fail 'the write succeeded'
read_4k
cmp -n 4096 /tmp/read /dev/zero
unmap other

step the new one can be mapped
map m
write_4k
unmap m
