# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the build scripts share: messages, where the cache is, how an entry gets into it, how a
# command gets into a root.
#
# The cache holds entries, among them `root-<suite>-<key>`, `kernel-<release>-<key>` and
# `compiled-<key>`. The key is a hash of everything the entry is made from, so an entry never changes. It
# is made in `tmp/` and renamed, under a lock of its own: two runs never make the same one, and a run that
# dies leaves none.
# A run holds a shared lock on the entries it uses; pruning skips those.

say() { printf 'build: %s\n' "$*" >&2; }

die() {
	printf 'build: error: %s\n' "$*" >&2
	exit 1
}

# Entries of one kind that stay: one per kernel target, and the ones before them.
readonly KEEP_ENTRIES=6

open_cache() {
	if [ -n "${SHEEPDOG_CACHE:-}" ]; then
		CACHE=$SHEEPDOG_CACHE
	elif [ -n "${XDG_CACHE_HOME:-}" ]; then
		CACHE=$XDG_CACHE_HOME/sheepdog-build
	else
		CACHE=/var/cache/sheepdog-build
	fi
	mkdir -p "$CACHE/lock" "$CACHE/tmp" "$CACHE/used" "$CACHE/shared/cargo" ||
		die "cannot write to $CACHE: set SHEEPDOG_CACHE to a directory with 6 GB to spare"
	CACHE=$(cd "$CACHE" && pwd -P)
}

# key_of TEXT...: 12 hex digits that stand for the arguments.
key_of() { printf '%s\n' "$@" | sha256sum | cut -c1-12; }

# recipe FILE...: the files without comments and blank lines, which change no entry.
recipe() { sed -e '/^[[:space:]]*#/d' -e '/^[[:space:]]*$/d' "$@"; }

# make_entry NAME COMMAND...: unless it exists, make the entry NAME by running the command with the
# directory to fill as its last argument.
make_entry() {
	local name=$1 lock work
	shift
	work=$CACHE/tmp/$name
	exec {lock}>"$CACHE/lock/$name"
	flock -n -s "$lock" || {
		say "another run is making $name, waiting for it"
		flock -s "$lock"
	}
	# To go from shared to exclusive is to let go in between: others may make it, or remove it.
	while [ ! -d "$CACHE/$name" ]; do
		flock "$lock"
		[ -d "$CACHE/$name" ] || fill_entry "$name" "$work" "$@"
		flock -s "$lock"
	done
	touch "$CACHE/used/$name"
}

fill_entry() {
	local name=$1 work=$2
	shift 2
	rm -rf --one-file-system "$work"
	mkdir -p "$work"
	say "making $name (once; log: $work.log)"
	if ! "$@" "$work" >"$work.log" 2>&1 </dev/null; then
		rm -rf --one-file-system "$work"
		report_failure "$work.log"
	fi
	mv -T "$work" "$CACHE/$name"
	rm -f "$work.log"
}

# Ends the run with the recipe's own error lines if it gave any, else the end of its log.
report_failure() {
	grep '^build: error: ' "$1" >&2 && exit 1
	tail -n 15 "$1" >&2
	die "the recipe failed; the whole log is $1"
}

# prune KIND: remove all but the last used entries of this kind, and what dead runs left behind.
prune() {
	local name lock
	find "$CACHE/used" -name "$1-*" -printf '%T@ %f\n' | sort -rn | tail -n +$((KEEP_ENTRIES + 1)) |
		while read -r _ name; do remove_unused "$name"; done
	for name in "$CACHE"/tmp/"$1"-*/; do
		[ -d "$name" ] || continue
		name=$(basename "$name")
		exec {lock}>"$CACHE/lock/$name"
		flock -n "$lock" && rm -rf --one-file-system "$CACHE/tmp/$name" "$CACHE/tmp/$name.log"
		exec {lock}>&-
	done
}

remove_unused() {
	local lock
	exec {lock}>"$CACHE/lock/$1"
	if flock -n "$lock"; then
		say "removing $1 from the cache, not used lately"
		rm -f "$CACHE/used/$1"
		mv -T "$CACHE/$1" "$CACHE/tmp/$1" 2>/dev/null && rm -rf --one-file-system "$CACHE/tmp/$1"
	fi
	exec {lock}>&-
}

need_rights() {
	[ "$(id -u)" = 0 ] || die "the build root needs root: run as root, or build with your own kernel tree (make KDIR=...)"
	unshare --mount true 2>/dev/null ||
		die "this environment may not create a mount namespace: give the container CAP_SYS_ADMIN (--privileged), or build with your own kernel tree (make KDIR=...)"
}

# enter ROOT BINDS COMMAND...: run the command in the root, in a mount namespace of its own.
# BINDS is a list of lines `source:place in the root`.
enter() {
	need_rights
	unshare --mount --propagation private "$BUILD/in-root" "$@"
}

# suite_of_root SUITE: the suite whose root compiles for kernels of SUITE.
suite_of_root() { printf '%s\n' "${1%-backports}"; }
