#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a script that does not end is diagnosed and ended at its limit
# Limit: 5
# Load: low
# Expect: hang

sleep 1000
