# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the recipes share that need the kernel's source.

fail() {
	echo "build: error: $*" >&2
	exit 1
}

# unpack_linux_source PACKAGE-ROOT DIRECTORY [PATTERN...]: from what the unpacked package linux-source-*
# holds. Kconfig reads files of all architectures and drivers; of what is never compiled no more is
# needed. PATTERN: what this recipe does not need besides.
unpack_linux_source() {
	local archive top directory=$2 pattern options=()
	archive=$(echo "$1"/usr/src/linux-source-*.tar.xz)
	top=$(basename "$archive" .tar.xz)
	shift 2
	for pattern in 'Documentation/*/*' 'sound/*.[ch]' 'arch/[!x]*/*.[chS]' 'arch/*/boot/dts' \
		'arch/xtensa/*.[chS]' 'drivers/gpu/*.[ch]' 'tools/testing' 'tools/perf' "$@"; do
		options+=(--exclude="$top/$pattern")
	done
	mkdir "$directory"
	xz -T0 -dc "$archive" | tar -x -C "$directory" --strip-components=1 --anchored --wildcards "${options[@]}"
}
