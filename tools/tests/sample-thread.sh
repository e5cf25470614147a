#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a thread is joined when its handle goes, and may never have run
# Limit: 60
# Group: samples
# shellcheck source=tools/tests/lib.sh
. "$LIB"

load_sample thread
rmmod sample_thread
