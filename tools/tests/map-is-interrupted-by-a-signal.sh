#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a signal ends a map that waits for a silent gateway, and the mapping can be used again
# Needs: module, sheep
# Group: control
# Limit: 60
. "$LIB"

load
create "$VDI" 4M
black_hole
mapping m "gateways=$BLACK_HOLE" connect_timeout_ms=600000
tee "$MAPPINGS/m/map" <<<1 >/dev/null 2>&1 &
writer=$!
within 10 grep -q mapping "$MAPPINGS/m/state"
refused_put 'Device or resource busy' m map 1
refused_put 'Device or resource busy' m vdi other
for how in 1 force; do
	refused_put 'Device or resource busy' m unmap $how
	logged 'mapping m: is being mapped'
done
start=$SECONDS
kill -TERM $writer
wait $writer || true
[ $((SECONDS - start)) -le 10 ] || fail "took $((SECONDS - start)) s to stop"
same failed "$(get m state)" state
map m connect_timeout_ms=10000
