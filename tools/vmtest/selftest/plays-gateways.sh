#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: one gateway of the runner's sheep dies, stops and comes back, the other stays
# Needs: faults
# Load: low
# Group: sheep
# Gateways: 2
# Limit: 60
set -euo pipefail

IFS=, read -r first second <<<"$GATEWAYS"
fails() { if "$@"; then exit 1; fi; }
# answers GATEWAY: the reply to GET_CLUSTER_DEFAULT comes (protocol sheet 3).
answers() {
	# shellcheck disable=SC2016 # the inner shell expands them
	timeout 5 bash -c 'exec 3<>"/dev/tcp/$1/$2"
		{ printf "\x02\x18"; head -c 46 /dev/zero; } >&3
		[ "$(head -c 48 <&3 | wc -c)" -eq 48 ]' - "${1%:*}" "${1##*:}" 2>/dev/null
}
mode() { host sheep gateways | jq -r ".gateways[$1].mode"; }
answers "$first"
answers "$second"
host sheep gateway 0 close
[ "$(mode 0) $(mode 1)" = 'close serve' ]
fails answers "$first"
answers "$second"
host sheep gateway 0 serve
answers "$first"
host sheep gateway 1 stop
fails answers "$second"
answers "$first"
host sheep gateway 1 serve
answers "$second"
host sheep gateway 0 hold
fails answers "$first"
[ "$(host sheep gateways | jq '.gateways[0].held')" -eq 1 ]
host sheep gateway 0 release
host sheep gateway 0 serve
answers "$first"
fails host sheep gateway 2 close
fails host sheep gateway 0 dance
host sheep gateway 1 close
host sheep restart
answers "$second"
