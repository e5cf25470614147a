#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: debugfs shows every request that waits, what for and how long, and keeps the module
# Needs: module, faults
# Load: low
# Group: faults
# Limit: 90
# shellcheck source=tools/tests/lib.sh
. "$LIB"

mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
# shellcheck disable=SC2119 # not the arguments of this script
load
create "$VDI" 64M
map m connections=2 queue_depth=16
seen=/sys/kernel/debug/sheepdog/${DEV#/dev/}

# shows COUNT PATTERN: so many lines of in_flight match the extended regular expression.
shows() {
	[ "$(grep -E -c -- "$2" "$seen/in_flight")" = "$1" ]
}

# Written once, so that its object exists.
dd if=/dev/zero of="$DEV" bs=4096 count=1 oflag=direct status=none
[ ! -s "$seen/in_flight" ] || fail "something waits on an idle disk: $(cat "$seen/in_flight")"
[ "$(grep -E -c '^link [01] [0-9.]+:[0-9]+ connected: sent [0-9]+ frames' "$seen/links")" = 2 ]

# Nobody answers the creator of object 3, so the second write to it waits for the first.
host sheep fault stall CREATE_AND_WRITE_OBJ
dd if=/dev/zero of="$DEV" bs=4096 count=1 seek=3072 oflag=direct conv=notrunc status=none &
within 10 shows 1 '^link [01] tag [0-9]+ id [0-9a-f]{8} CREATE_AND_WRITE_OBJ 00[0-9a-f]{6}00000003 offset 0 length 4096 age [0-9]+ ms: awaiting reply$'
dd if=/dev/zero of="$DEV" bs=4096 count=2 seek=3074 oflag=direct conv=notrunc status=none &
within 10 shows 1 'WRITE_OBJ [0-9a-f]{8}00000003 offset 8192 length 4096 age [0-9]+ ms: waiting for the CREATE of object 3$'
sleep 1
age=$(sed -n 's/.* offset 8192 .* age \([0-9]*\) ms: .*/\1/p' "$seen/in_flight")
((age >= 900 && age < 60000)) || fail "the age is $age ms after more than a second"

# A sheep that stands still: what fits into the socket awaits its reply, the rest is being sent.
host sheep stop
# More than the buffers of all sockets on the way hold, on whichever link it goes.
for _ in 1 2 3 4 5 6; do
	dd if=/dev/zero of="$DEV" bs=4M count=1 oflag=direct conv=notrunc status=none &
done
within 20 grep -E -q -- ' WRITE_OBJ .* length [0-9]+ age [0-9]+ ms: sending$' "$seen/in_flight"
dd if="$DEV" of=/dev/null bs=512 count=1 skip=9 iflag=direct status=none &
within 10 shows 1 ' READ_OBJ [0-9a-f]{16} offset 4608 length 512 age [0-9]+ ms: '
cat "$seen/in_flight" "$seen/links"
host sheep cont

# An open file keeps the module, not the mapping.
exec 3<"$seen/links"
echo force >"$MAPPINGS/m/unmap"
wait
rmdir "$MAPPINGS/m"
[ ! -e "$seen" ] || fail "$seen is still there"
! rmmod sheepdog 2>/dev/null || fail 'the module was unloaded under an open file'
exec 3<&-
rmmod sheepdog
[ ! -e /sys/kernel/debug/sheepdog ] || fail 'the directory outlives the module'
