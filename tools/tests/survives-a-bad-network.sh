#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: lost, late and reordered packets, a hole in the network, and an interface that goes down lose no data
# Needs: module, faults
# Group: survives
# Limit: 240
. "$LIB"

interface=$(ip -o route get 10.0.2.2 | sed -n 's/.* dev \([^ ]*\) .*/\1/p')

load
create "$VDI" 32M
map m connections=2 reply_timeout_ms=2000 connect_timeout_ms=2000
dd if=/dev/zero of="$DEV" bs=4M count=8 oflag=direct status=none

# works: what is read is what was written.
works() {
	fio_verify --rw=randwrite --bsrange=4k-32k --blockalign=4k --size=32M --iodepth=16 --io_size="$1" "${@:2}"
}

step packets are late, in another order, lost, sent twice and damaged
modprobe sch_netem
tc qdisc add dev "$interface" root netem delay 10ms 8ms reorder 25% 50% loss 1% duplicate 1% corrupt 0.5%
# What comes in goes through a queue of its own.
modprobe ifb numifbs=0
modprobe act_mirred
modprobe cls_matchall
ip link add ifb0 type ifb
ip link set ifb0 up
tc qdisc add dev "$interface" ingress
tc filter add dev "$interface" ingress matchall action mirred egress redirect dev ifb0
tc qdisc add dev ifb0 root netem delay 5ms 4ms reorder 25% 50% loss 1%
works 3M
tc -s qdisc show dev "$interface" | grep -A 2 netem
tc qdisc del dev "$interface" root
tc qdisc del dev "$interface" ingress
ip link del ifb0
within 30 is_state m live

# goes_on HOW: the load meets a network that is gone for some seconds.
goes_on() {
	local load
	# Slow enough not to be over before the network is gone.
	works 2M --rate_iops=30,30 &
	load=$!
	sleep 1
	step "$1"
	"${@:2}"
	within 30 is_state m reconnecting
	sleep 4
	kill -0 $load || fail "$1: the load did not wait"
	step "$1: over"
	undo_"$2"
	within 30 is_state m live
	wait $load
}

# A hole: nobody says that packets are not delivered, and the old connection stays open over there.
hole() {
	modprobe nf_tables
	nft add table inet hole
	nft add chain inet hole out '{ type filter hook output priority 0; }'
	nft add chain inet hole in '{ type filter hook input priority 0; }'
	nft add rule inet hole out ip daddr 10.0.2.2 drop
	nft add rule inet hole in ip saddr 10.0.2.2 drop
}
undo_hole() { nft delete table inet hole; }
down() { ip link set "$interface" down; }
undo_down() { ip link set "$interface" up; }
unreachable() { ip route add unreachable 10.0.2.2/32; }
undo_unreachable() { ip route del unreachable 10.0.2.2/32; }

mark
goes_on 'a hole in the network' hole
# The probe that is not answered, or TCP, whose data are not acknowledged.
[ "$(log_count "sheepa: $GATEWAYS: (nothing received for [0-9]+ ms, and no reply to a probe|connection lost): $ETIMEDOUT; connection given up")" -ge 1 ] ||
	fail "$(log_lines sheepa)"
goes_on 'the interface is down' down
goes_on 'no route' unreachable
no_request_failed
log_lines 'connected again'
unmap m
