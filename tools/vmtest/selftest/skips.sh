#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: exit status 77 is a skip, not a pass
# Set: smoke
# Group: short
# Expect: skip

echo "the reason"
exit 77
