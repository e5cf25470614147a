#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a look at the kernel log fails the test when the mark is lost, and a log that is followed is whole
# Group: short
# Limit: 200
# shellcheck source=tools/tests/lib.sh
. "$LIB"

# says_much: a request fails, and then the kernel says more than it keeps. Level 7 is not for the console,
# and each record is written by an open of its own, since more than ten of one are dropped.
says_much() {
	mark
	echo 'I/O error, dev sheepa, sector 0' >/dev/kmsg
	for number in {1..400}; do
		printf '<7>selftest %0800d\n' "$number" >/dev/kmsg
		# Whoever follows gets the time for it, which a busy host may not give by itself.
		[ $((number % 50)) -ne 0 ] || kernel_log >/dev/null
	done
}
# as_test COMMANDS: as a test of its own, after which nobody follows the log.
as_test() {
	local status=0
	bash -c ". $LIB; $(declare -f says_much); $1" || status=$?
	pkill -x awk || true
	return $status
}

refused 'since the mark is lost' as_test 'says_much; no_request_failed; echo went on'
# The exit status of what is between the brackets does not count.
# shellcheck disable=SC2016 # the inner shell expands it
refused 'since the mark is lost' as_test 'says_much; same 0 "$(log_count " error, dev sheep")" errors'
refused 'since the mark is lost' as_test 'mark; dmesg -C; logged anything'
as_test "follow_log; says_much; same 1 \"\$(log_count ' error, dev sheep')\" errors"
refused 'failed requests' as_test 'follow_log; says_much; no_request_failed'
# Whoever follows may fall behind, or be killed.
refused 'since the mark is lost' as_test 'follow_log; ACTION_LIMIT=2; mark; kill $!; no_request_failed'
