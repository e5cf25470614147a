#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: dd with blocks of 4096 bytes through the page cache of a small machine, all of it read back
# Needs: module, sheep
# Limit: 200
# Memory: 192
. "$LIB"

# In full, 4 GB, with vmtest --append sheepdog_tests=full --scale 10.
count=40000
full && count=1000000
bytes=$((count * 4096))

load
create "$VDI" "$bytes"
map m connections=2
# `yes` ends by a signal when `head` has enough.
content() (
	set +o pipefail
	yes 'what was written is read' | head -c "$bytes"
)
step "write $count blocks"
started=$SECONDS
content | dd of="$DEV" bs=4096 count=$count iflag=fullblock conv=fsync status=none
step "written in $((SECONDS - started)) s"
unmap m
map m
started=$SECONDS
content | cmp - "$DEV"
step "read in $((SECONDS - started)) s"
unmap m
