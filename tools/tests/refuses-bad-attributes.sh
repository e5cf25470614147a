#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: every attribute with a bad value gives an errno and a log line that says what is expected
# Set: smoke
# Needs: module
# Group: control
# Limit: 120
. "$LIB"

load
mkdir "$MAPPINGS/m"

# bad ATTRIBUTE VALUE ERRNO LOG
bad() {
	local before
	before=$(get m "$1")
	refused_put "$3" m "$1" "$2"
	logged "mapping m: $1: $4"
	same "$before" "$(get m "$1")" "$1 after a refusal"
}

EINVAL='Invalid argument'
ERANGE='Numerical result out of range'
for value in '' localhost:7000 10.0.0.1 10.0.0.1:0 10.0.0.1:65536 0.0.0.0:7000 '[::1]' 1.2.3.4:70x; do
	bad gateways "$value" "$EINVAL" '".*" is not address:port, for example'
done
bad gateways 10.0.0.1:7000, "$EINVAL" '"" is not address:port'
bad gateways "$(seq -s , -f '10.0.0.%g:7000' 17)" "$ERANGE" 'more than 16'
bad vdi '' "$EINVAL" .
bad vdi "$(printf '%0256d' 0)" 'File name too long' .
put m vdi "$(printf '%0255d' 0)"

# number ATTRIBUTE LOWEST HIGHEST
number() {
	bad "$1" many "$EINVAL" "\"many.*\" is not a number from $2 to $3"
	bad "$1" -1 "$EINVAL" '".*" is not a number'
	bad "$1" 4294967296 "$EINVAL" '".*" is not a number'
	bad "$1" $(($3 + 1)) "$ERANGE" "$(($3 + 1)) is out of range, $2 to $3 is allowed"
	[ "$2" -eq 0 ] || bad "$1" $(($2 - 1)) "$ERANGE" '.* is out of range'
	put m "$1" "$2"
	put m "$1" "$3"
	same "$3" "$(get m "$1")" "$1"
}
number connections 1 16
number queue_depth 1 1024
number connect_timeout_ms 100 600000
number reply_timeout_ms 1000 3600000
number io_timeout_ms 0 86400000
number fence_ms 0 3600000
number read_only 0 1

step actions
refused_put "$EINVAL" m map 2
logged 'mapping m: map: write 1 to map'
refused_put "$EINVAL" m unmap 0
logged 'mapping m: unmap: write 1 to unmap, or force'

step an incomplete mapping
mkdir "$MAPPINGS/n"
refused_put "$EINVAL" n map 1
logged 'mapping n: write a VDI.s name to "vdi" first'
put n vdi some
refused_put "$EINVAL" n map 1
logged 'mapping n: write address:port of a sheep to "gateways" first'
same new "$(get n state)" state
