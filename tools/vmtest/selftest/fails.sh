#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a script with another exit status than 0 fails
# Set: full
# Expect: fail

echo "the last line is the reason"
exit 3
