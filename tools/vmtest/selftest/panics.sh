#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: a machine that dies is reported as dead
# Set: full
# Expect: dead

echo c >/proc/sysrq-trigger
sleep 1000
