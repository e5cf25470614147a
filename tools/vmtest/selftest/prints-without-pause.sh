#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a script that prints without pause is ended at its limit
# Limit: 5
# Load: low
# Expect: hang

yes ''
