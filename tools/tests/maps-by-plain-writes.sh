#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: the example in samples/configfs maps and unmaps with nothing but writes to configfs
# Needs: module, sheep
# Group: control
# shellcheck source=tools/tests/lib.sh
. "$LIB"

[ -e /host/samples/map ] || { echo 'no /host/samples/map: vmtest takes it with --file'; exit 77; }
# shellcheck disable=SC2119 # not the arguments of this script
load
create "$VDI" 16M
# The module is loaded by this test, not installed.
mkdir -p /tmp/bin && ln -s /bin/true /tmp/bin/modprobe
export PATH=/tmp/bin:$PATH
same /dev/sheepa "$(bash /host/samples/map example "$VDI" "$GATEWAYS" connections=2)" device
same 2 "$(get example connections)" connections
dd if=/dev/zero of=/dev/sheepa bs=64k count=4 oflag=direct status=none
exec 3</dev/sheepa
refused 'Device or resource busy' bash /host/samples/unmap example
exec 3<&-
bash /host/samples/unmap example
[ ! -e "$MAPPINGS/example" ] || fail 'the mapping is still there'
refused 'No such file' bash /host/samples/map example no-such-vdi "$GATEWAYS"
[ ! -e "$MAPPINGS/example" ] || fail 'a mapping that failed is still there'
refused 'usage: map MAPPING' bash /host/samples/map example
