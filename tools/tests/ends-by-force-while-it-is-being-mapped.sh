#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a mapping whose partition table cannot be read, because the cluster does not answer, is ended by force
# Needs: module, faults
# Load: low
# Group: faults
# Limit: 60
. "$LIB"

load
create "$VDI" 8M
map m
noise /tmp/noise 4096
write_4k
unmap m

# The first object exists now: to read the partition table the cluster is asked.
fault stall READ_OBJ@data
mapping m
put m map 1 &
mapper=$!
reads() { [ "$(get m in_flight || echo 0)" -ge 1 ]; }
within 20 reads
refused_put 'Device or resource busy' m unmap 1
kill -0 $mapper || fail 'was mapped without its partition table'
started=$(now_ms)
put m unmap force
lasted 0 10000 "$started" 'ending it'
wait $mapper || step 'not mapped'
fault clear
same '' "$(get m device)" 'the device of a mapping that was ended'
map m
read_4k
cmp /tmp/noise /tmp/read
unmap m
