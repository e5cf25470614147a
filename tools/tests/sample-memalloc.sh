#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: allocation scopes nest and end
# Limit: 60
# Group: samples
# shellcheck source=tools/tests/lib.sh
. "$LIB"

load_sample memalloc
rmmod sample_memalloc
