#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: each result other than success gives the right error and one log line, and the disk goes on
# Set: smoke
# Needs: module, faults
# Load: low
# Group: faults
# Limit: 90
. "$LIB"

load
create "$VDI" 32M
noise /tmp/noise 4096
map m
write_4k
# What the kernel says by itself about failed requests is not counted.
mark

# after OPERATION RESULT MESSAGE COMMAND...
after() {
	fault clear
	fault fail "$1=$2:1:1"
	fails_with "$3" "${@:4}"
	logged "sheepa: [0-9.:]+: ${1%@*} [0-9a-f]{16}: result $2; ."
	same live "$(get m state)" "state after $2"
	same 0 "$(get m in_flight)" "in_flight after $2"
}

reading=(dd if="$DEV" of=/dev/null bs=4k count=1 iflag=direct status=none)
writing=(dd if=/tmp/noise of="$DEV" bs=4k count=1 oflag=direct conv=notrunc status=none)
creating=(dd if=/tmp/noise of="$DEV" bs=4k count=1 seek=2048 oflag=direct conv=notrunc status=none)
EIO='Input/output error'
ENOSPC='No space left on device'
after READ_OBJ NO_OBJ "$EIO" "${reading[@]}"
after READ_OBJ EIO "$EIO" "${reading[@]}"
after WRITE_OBJ@data NO_SPACE "$ENOSPC" "${writing[@]}"
after WRITE_OBJ@data READONLY "$EIO" "${writing[@]}"
after WRITE_OBJ@data INVALID_PARMS "$EIO" "${writing[@]}"
step an object that could not be made, and one whose map entry could not be written
after CREATE_AND_WRITE_OBJ NO_SPACE "$ENOSPC" "${creating[@]}"
after WRITE_OBJ@inode NO_SPACE "$ENOSPC" "${creating[@]}"

step it goes on
"${creating[@]}"
write_4k
"${reading[@]}"
unmap m
map m
same "$(md5sum </tmp/noise)" "$(dd if="$DEV" bs=4k count=1 skip=2048 iflag=direct status=none | md5sum)" data
unmap m

step 'many errors do not fill the log'
map m
mark
fault fail READ_OBJ=EIO
for _ in $(seq 30); do
	! "${reading[@]}" 2>/dev/null || fail 'a read succeeded'
done
fault clear
[ "$(log_count 'READ_OBJ .* result EIO')" -le 25 ] || fail 'the log is not limited'
unmap m
