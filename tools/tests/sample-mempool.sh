#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a memory pool waits for an element and never fails
# Limit: 60
# Group: samples
# shellcheck source=tools/tests/lib.sh
. "$LIB"

load_sample mempool
rmmod sample_mempool
