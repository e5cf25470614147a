#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: every attribute of a mapping refuses what it cannot use, with the errno of the ABI and a reason in the log
# Set: smoke
# Kernels: all
# Group: basics
# Needs: module
. "$LIB"

load_module
mkdir "$CONFIG/m"
cd "$CONFIG/m"

[ "$(cat state)" = new ]
[ "$(cat connections)" = 1 ]
[ "$(cat queue_depth)" = 64 ]
[ "$(cat connect_timeout_ms)" = 10000 ]
[ "$(cat io_timeout_ms)" = 30000 ]
[ "$(cat read_only)" = 0 ]

for value in '' sheep 10.0.2.2 10.0.2.2:0 10.0.2.2:65536 10.0.2:7000 '[::1:7000' ::1:7000 \
	10.0.2.2:7000,,; do
	refused 'Invalid argument' gateways "$value"
done
refused 'Numerical result out of range' gateways "$(printf '10.0.2.2:%d,' {7000..7015})10.0.2.2:7016"
echo '192.0.2.1:7000,[2001:db8::1]:7000' >gateways
[ "$(cat gateways)" = '192.0.2.1:7000,[2001:db8::1]:7000' ]

refused 'Invalid argument' vdi ''
refused 'File name too long' vdi "$(printf 'x%.0s' {1..256})"
printf 'x%.0s' {1..255} >vdi

for attribute in connections:0:17 queue_depth:0:1025 connect_timeout_ms:99:600001 io_timeout_ms:999:3600001; do
	IFS=: read -r name low high <<<"$attribute"
	for value in "$low" "$high"; do
		refused 'Numerical result out of range' "$name" "$value"
	done
	for value in many -1 99999999999999999999; do
		refused 'Invalid argument' "$name" "$value"
	done
done
refused 'Numerical result out of range' read_only 2

refused 'Invalid argument' map 2
refused 'No such device' unmap 1
for name in state device vdi_id size_bytes; do
	! { echo 1 >"$name"; } 2>/dev/null || fail "$name can be written"
done

cd /
rmdir "$CONFIG/m"
logged 'gateways'
logged 'connections'
