#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a table hands a value out once, to the right id
# Limit: 60
# Group: samples
# shellcheck source=tools/tests/lib.sh
. "$LIB"

load_sample slots
rmmod sample_slots
