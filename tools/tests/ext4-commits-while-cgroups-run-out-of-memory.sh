#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: the journal of ext4 goes on, and no fsync takes long, while writers in full memory cgroups are killed all the time
# Needs: module, faults
# Memory: 1024
# Limit: 300
# Sheep: --directory %d --no-sync
. "$LIB"
. "${LIB%lib.sh}pressure.bash"

# The kernel is to kill, not to print for how many it thought of it: the console is slow.
echo 0 >/proc/sys/vm/oom_dump_tasks
echo 5 >/proc/sys/kernel/printk
# A commit waits for the data of all files that it is about, and the disk of an emulated machine is slow.
echo $((32 << 20)) >/proc/sys/vm/dirty_bytes
# No fsync may take longer, and no request. Who is in a full cgroup has to win its memory from the others there.
FSYNC_S=25
INSIDE_S=$(seconds 25 60)
CGROUP_COUNT=$(seconds 3 10)
GROUP_MIB=$(seconds 32 100)
# Three hundred of them did not even start within twenty minutes on two emulated CPUs; eighty did, and all of
# the CPUs' time went to looking for memory. So the long form has forty, who pause up to so many seconds.
WRITERS=$(parameter writers 4)
PAUSE_S=$(parameter pause "$(seconds 0 8)")
# What each writer holds while it writes: all of them together twice the cgroup.
HELD_MIB=$(((GROUP_MIB * 2 + WRITERS - 1) / WRITERS))

# A writer: writes a file of several times what it holds, with an fsync. The shell that starts it
# again is not the one whom the OOM killer takes first; if all the same, it is started again, too.
cat >/tmp/writer <<END
#!/bin/bash
echo 0 >/proc/self/oom_score_adj
while :; do
	(echo 1000 >/proc/self/oom_score_adj
	exec dd if=/dev/zero of="\$1" bs=${HELD_MIB}M count=3 conv=notrunc,fsync) >/dev/null 2>&1
	[ $PAUSE_S = 0 ] || sleep \$((RANDOM % ($PAUSE_S + 1)))
done
END
chmod +x /tmp/writer

# keep GROUP: starts its writers, or half of them when half of them are gone for good.
keep() {
	local number running
	running=$(wc -l <"$CGROUPS/writers$1/cgroup.procs")
	for ((number = running; number < WRITERS && running < WRITERS / 2; number++)); do
		inside "writers$1" /tmp/writer "/mnt/writer$1-$number"
	done
}

# fsyncs NAME: writes a bit and waits for it, again and again; the longest time goes to a file.
fsyncs() {
	local number began took longest=0
	for ((number = 0; ; number++)); do
		uptime_ms
		began=$NOW_MS
		dd if=/dev/zero of="/mnt/$1$((number % 4))" bs=64k count=2 conv=notrunc,fsync status=none
		uptime_ms
		took=$((NOW_MS - began))
		[ "$took" -le "$longest" ] || longest=$took
		echo "$((number + 1)) $longest" >"/tmp/fsyncs-$1.new"
		mv "/tmp/fsyncs-$1.new" "/tmp/fsyncs-$1"
		pause 0.3
	done
}
# fsynced NAME: sets FSYNCS and LONGEST_FSYNC_MS.
fsynced() { read -r FSYNCS LONGEST_FSYNC_MS 2>/dev/null <"/tmp/fsyncs-$1" || FSYNCS=0 LONGEST_FSYNC_MS=0; }

commits() { sed -n 's/^\([0-9]*\) transactions .*/\1/p' "/proc/fs/jbd2/${DEV#/dev/}-8/info"; }

follow_log
load
create "$VDI" "$(seconds 512M 8G)"
cgroup small 16M
step 'map inside a memory cgroup of 16 MiB'
(echo $BASHPID >"$CGROUPS/small/cgroup.procs" && map m connections=2)
DEV=/dev/$(get m device)
mkfs.ext4 -q "$DEV"
mount -o commit=1 "$DEV" /mnt
content() { yes "kept" | head -c $((4 << 20)) || true; }
content >/mnt/kept

# They begin together: one after the other the last ones did not come to it.
for ((group = 0; group < CGROUP_COUNT; group++)); do
	cgroup "writers$group" "${GROUP_MIB}M"
	echo 1 >"$CGROUPS/writers$group/cgroup.freeze"
	keep $group
done
fsyncs outside &
outside=$!
# Inside of the first group: not to be killed, but all its memory is charged there.
(echo $BASHPID >"$CGROUPS/writers0/cgroup.procs" && fsyncs inside) &
disown
for ((group = 0; group < CGROUP_COUNT; group++)); do
	echo 0 >"$CGROUPS/writers$group/cgroup.freeze"
done
step "$CGROUP_COUNT times $WRITERS writers"
kills=$(oom_kills)
committed=$(commits)
end_s=$((SECONDS + $(seconds 20 "$(parameter seconds 600)")))
look_s=$((SECONDS + 10))
looks() {
	local group now
	[ "$SECONDS" -ge "$look_s" ] || return 1
	look_s=$((SECONDS + 10))
	now=$(commits)
	fsynced inside
	inside_ms=$LONGEST_FSYNC_MS inside_count=$FSYNCS
	fsynced outside
	step "$(($(oom_kills) - kills)) OOM kills, $now commits, fsyncs: $FSYNCS outside, longest $LONGEST_FSYNC_MS ms, $inside_count inside, longest $inside_ms ms"
	[ "$now" -gt "$committed" ] || fail 'the journal stands still'
	[ "$LONGEST_FSYNC_MS" -le $((FSYNC_S * SLOWER * 1000)) ] || fail "an fsync outside of all cgroups took $LONGEST_FSYNC_MS ms"
	[ "$inside_ms" -le $((INSIDE_S * SLOWER * 1000)) ] || fail "an fsync in a full cgroup took $inside_ms ms"
	committed=$now
	for ((group = 0; group < CGROUP_COUNT; group++)); do
		keep $group
	done
	[ "$SECONDS" -ge "$end_s" ] && { [ "$SECONDS" -ge $((end_s + 120 * SLOWER)) ] || proves_something; }
}
# A busy host takes longer for that.
proves_something() { [ $(($(oom_kills) - kills)) -ge 10 ] && [ "$FSYNCS" -ge 5 ] && [ "$inside_count" -ge 1 ]; }
began_commits=$committed
if stalls $FSYNC_S $outside looks && [ "$WITHOUT_MS" -ge $((FSYNC_S * SLOWER * 1000)) ]; then
	fail "no request has ended for $LONGEST_MS ms"
fi
kill -0 $outside || fail 'an fsync failed'
kills=$(($(oom_kills) - kills))
figures "kills=$kills" "commits=$((committed - began_commits))" "fsyncs=$FSYNCS" \
	"longest_fsync_ms=$LONGEST_FSYNC_MS" "fsyncs_inside=$inside_count" "longest_fsync_inside_ms=$inside_ms"
[ "$kills" -ge 10 ] || fail "only $kills OOM kills: that proves nothing"
[ "$FSYNCS" -ge 5 ] && [ "$inside_count" -ge 1 ] || fail 'too few fsyncs to prove anything'
kill $outside
end_all
no_request_failed
umount /mnt
e2fsck -fn "$DEV" >/tmp/fsck 2>&1 || { cat /tmp/fsck; fail 'the file system is damaged'; }
unmap m
map m
mount -o ro "$DEV" /mnt
content | cmp - /mnt/kept
umount /mnt
unmap m
