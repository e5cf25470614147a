#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a guarded sheep of this host keeps its memory while that of others goes to swap on the disk it serves
# Needs: module
# Memory: 384
# Disk: 512
# Limit: 150
#
# This does not say that swap on such a disk works in a machine without memory (see reclaim.rst), only that
# the sheep itself does not go there, where nobody could bring it back.
#
# To take the protection away: --append 'sheepdog_flusher=no' (or locked, or unlocked, see pressure.bash).
. "$LIB"
. "${LIB%lib.sh}pressure.bash"

STALL_S=25
# shellcheck disable=SC2034 # for local_sheep
SHEEP_GROUP=sheep
HELD_MIB=8

swapped_kib() { awk '$1 == "VmSwap:" { print $2 }' "/proc/$1/status"; }
content() { head -c $((HELD_MIB << 20)) /dev/zero | tr '\0' x; }
# holder: has something in memory, and says what when asked.
holder() {
	local held
	held=$(content)
	echo ${#held} >/tmp/holds
	read -r _ </tmp/ask
	md5sum <<<"$held" >/tmp/held
}

follow_log
load
cgroup sheep
mkfs.ext4 -q /dev/vdd
mkdir /store
mount /dev/vdd /store
guarded_as_asked
step "a sheep in this machine: ${SHEEP_WITH[*]}"
local_sheep --directory /store/sheep --no-sync
ctl vdi create swap 256M >/dev/null
map m vdi=swap connections=2
mkswap "$DEV" >/dev/null
swapon "$DEV"

mkfifo /tmp/ask
(echo $BASHPID >"$CGROUPS/sheep/cgroup.procs" && holder) &
holder=$!
within 60 test -s /tmp/holds
step 'memory is taken from all in the cgroup of the sheep'
echo 256M >"$CGROUPS/sheep/memory.reclaim" 2>/dev/null &
taker=$!
if stalls $STALL_S $taker; then
	show_threads "$LOCAL_SHEEP"
	fail "no request has ended for $LONGEST_MS ms"
fi
step "longest wait $LONGEST_MS ms; KiB in swap: $(swapped_kib $holder) of another, $(swapped_kib "$LOCAL_SHEEP") of the sheep"
[ "$(swapped_kib $holder)" -ge $((HELD_MIB << 9)) ] || fail 'little went to swap: that proves nothing'
same 0 "$(swapped_kib "$LOCAL_SHEEP")" 'KiB of the sheep in swap'

step 'the other wants it back'
echo >/tmp/ask
if stalls $STALL_S $holder; then
	show_threads "$LOCAL_SHEEP"
	fail "no request has ended for $LONGEST_MS ms"
fi
same "$( (content && echo) | md5sum)" "$(</tmp/held)" 'what it held'
swapoff "$DEV"
no_request_failed
unmap m
