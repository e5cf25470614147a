#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: fio's sequential writes of 1 MiB are read back as written, over 1 and 4 connections
# Needs: module, sheep
# Group: fio
# Limit: 120
. "$LIB"

MIB=$(seconds 32 256)
load
create "$VDI" "${MIB}M"
for connections in 1 4; do
	step "$connections connections"
	map m connections=$connections
	fio_verify --rw=write --bs=1M --size="${MIB}M" --iodepth=4
	unmap m
done
