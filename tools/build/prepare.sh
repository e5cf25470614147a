# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# From "I want to compile for this kernel target" to entries in the cache: roots and kernels.
# Needs lib.sh, and $TOP, the clone.

# How long an answer of the archive to "which kernel is the newest?" is believed.
readonly DISCOVERY_MINUTES=$((24 * 60))

# The packages of the groups, comma-separated: packages_of @kernel, or packages_of '' for all groups.
packages_of() {
	recipe "$BUILD/packages" | awk -v want="$1" '
		/^@/ { group = $1; next }
		want == "" || group == want' | sort -u | paste -sd ,
}

# On the host: mmdebstrap and the archive's keyring, which Ubuntu does not have. A run that comes meanwhile
# waits, and finds them there.
need_mmdebstrap() {
	local missing=() lock
	exec {lock}>"$CACHE/lock/install"
	flock -n "$lock" || {
		say "another run is installing mmdebstrap, waiting for it"
		flock "$lock"
	}
	command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
	[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || [ -e /usr/share/keyrings/debian-archive-keyring.pgp ] ||
		missing+=(debian-archive-keyring)
	[ ${#missing[@]} = 0 ] || install_on_host "${missing[@]}"
	exec {lock}>&-
}

install_on_host() {
	say "installing $*"
	{ apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "$@"; } \
		>"$CACHE/tmp/install.log" 2>&1 </dev/null ||
		die "cannot install $*: install it yourself (apt-get install $*); the log is $CACHE/tmp/install.log"
}

# ensure_root SUITE [debug]: sets ROOT to a root of that suite, or to the one that compiles debug
# kernels of it. The first is made by the host's mmdebstrap, others from inside the first.
ensure_root() {
	local suite=$1 kind=${2:-} packages name tools
	if [ "$kind" = debug ]; then
		packages=$(packages_of @kernel),$(recipe "$BUILD/packages-debug" | sort -u | paste -sd ,)
	elif [ "$suite" = trixie ]; then
		packages=$(packages_of '')
	else
		packages=$(packages_of @kernel)
	fi
	name=root-$suite${kind:+-$kind}-$(key_of "$packages" "$(recipe "$BUILD/root-recipe")")
	if [ "$suite$kind" = trixie ]; then
		[ -d "$CACHE/$name" ] || { need_rights; need_mmdebstrap; }
		make_entry "$name" "$BUILD/root-recipe" "$suite" "$packages"
	else
		ensure_root trixie
		tools=$ROOT
		make_entry "$name" root_inside "$tools" "$suite" "$packages"
	fi
	ROOT=$CACHE/$name
	prune root
}

root_inside() {
	enter "$1" "$TOP:/src"$'\n'"$4:/work" /src/tools/build/root-recipe "$2" "$3" /work
}

# The line of the file `kernels` for the target, or for a pinned release all suites of all targets.
suites_and_version() {
	if [ -n "${KERNEL:-}" ]; then
		printf '%s %s\n' "$(recipe "$BUILD/kernels" | awk '{ print $2 }' | paste -sd ,)" "$KERNEL"
	else
		recipe "$BUILD/kernels" | awk -v target="$1" '$1 == target { print $2, $3 }'
	fi
}

# discover_kernel TARGET: sets RELEASE, VERSION, SUITE, and ANSWER, the file that says so. The archive is asked once a day; when it
# does not answer, the last answer holds.
discover_kernel() {
	local target=$1 suites wanted lock
	read -r suites wanted < <(suites_and_version "$target") ||
		die "unknown KERNEL_TARGET '$target': tools/build/kernels has $(recipe "$BUILD/kernels" | awk '{ print $1 }' | paste -sd ' ')"
	ANSWER=$CACHE/found-$(key_of "$suites" "$wanted")
	if ! fresh "$ANSWER"; then
		ensure_root trixie
		exec {lock}>"$CACHE/lock/discover"
		flock "$lock"
		if ! fresh "$ANSWER"; then
			mkdir -p "$CACHE/apt"
			if enter "$ROOT" "$TOP:/src"$'\n'"$CACHE/apt:/apt" /src/tools/build/discover "$suites" "$wanted" \
				>"$ANSWER.new" 2>"$ANSWER.log" </dev/null; then
				mv "$ANSWER.new" "$ANSWER"
			elif [ -s "$ANSWER" ]; then
				say "the archive does not answer, going on with the kernel it named last ($ANSWER.log)"
			else
				report_failure "$ANSWER.log"
			fi
		fi
		exec {lock}>&-
	fi
	read -r RELEASE VERSION SUITE <"$ANSWER"
}

fresh() { [ -s "$1" ] && [ -n "$(find "$1" -mmin "-$DISCOVERY_MINUTES")" ]; }

# kind_of_kernel TARGET: `debug`, or nothing for a stock kernel.
kind_of_kernel() { recipe "$BUILD/kernels" | awk -v target="$1" '$1 == target { print $4 }'; }

# ensure_kernel TARGET: sets ROOT, the root that compiles for it, and KERNEL_ENTRY, to be bound to /kernel.
ensure_kernel() {
	local name kind
	kind=$(kind_of_kernel "$1")
	discover_kernel "$1"
	recipe "$BUILD/tested-kernels" | grep -q "^$RELEASE *$VERSION\$" ||
		say "kernel $RELEASE ($VERSION) is not one that this version was tested with; those are: $(recipe "$BUILD/tested-kernels" | awk '{ print $1 }' | paste -sd ' ') (pin one with make KERNEL=<release>)"
	ensure_root "$(suite_of_root "$SUITE")" "$kind"
	if [ "$kind" = debug ]; then
		name=kernel-debug-$RELEASE-$(key_of "$VERSION" "$(recipe "$BUILD/debug-recipe" "$BUILD/linux-source.sh" "$BUILD/debug-config")" \
			"$(cat "$ROOT/etc/toolchain")" "$(version_in_root clang)")
		[ -d "$CACHE/$name" ] || say "compiling the debug kernel, which takes about half an hour on two cores"
		make_entry "$name" kernel_inside debug-recipe "$ROOT" "$RELEASE" "$VERSION" "$SUITE"
	else
		name=kernel-$RELEASE-$(key_of "$VERSION" "$(recipe "$BUILD/kernel-recipe" "$BUILD/linux-source.sh")" "$(cat "$ROOT/etc/toolchain")")
		make_entry "$name" kernel_inside kernel-recipe "$ROOT" "$RELEASE" "$VERSION" "$SUITE"
	fi
	# shellcheck disable=SC2034 # for the caller
	KERNEL_ENTRY=$CACHE/$name
	prune kernel
}

# version_in_root PACKAGE: which one the root holds.
version_in_root() {
	awk -v package="$1" '$1 == "Package:" { name = $2 } $1 == "Version:" && name == package { print $2 }' \
		"$ROOT/var/lib/dpkg/status"
}

# kernel_inside RECIPE ROOT RELEASE VERSION SUITE DIRECTORY. What the archive was found to have may be
# gone by the time it is fetched: then it is asked again.
kernel_inside() {
	mkdir "$6/apt"
	enter "$2" "$TOP:/src"$'\n'"$6:/kernel"$'\n'"$6/apt:/apt" "/src/tools/build/$1" "$3" "$4" "$5" || {
		rm -f "$ANSWER"
		return 1
	}
	rm -r "$6/apt"
}

# ensure_made WHAT: sets MADE to an entry that another part of the project describes by a recipe of
# the form `recipe SUITE DIRECTORY`, run in the trixie root.
ensure_made() {
	local suite recipe parts name
	case $1 in
	vm-root) suite=trixie recipe=tools/vmtest/root/recipe parts=(tools/vmtest/root/packages) ;;
	guest-linux)
		suite=trixie recipe=tools/guest-linux/recipe
		parts=(tools/build/linux-source.sh tools/guest-linux/config tools/guest-linux/grub.cfg)
		;;
	qemu) suite=bullseye recipe=tools/interop/qemu-recipe parts=() ;;
	*) die "nothing is known about making '$1'" ;;
	esac
	ensure_root trixie
	name=$1-$suite-$(key_of "$(cd "$TOP" && recipe "$recipe" "${parts[@]}")")
	make_entry "$name" made_inside "$ROOT" "/src/$recipe" "$suite"
	# shellcheck disable=SC2034 # for the caller
	MADE=$CACHE/$name
	prune "$1"
}

made_inside() {
	mkdir "$4/apt"
	enter "$1" "$TOP:/src"$'\n'"$4:/work"$'\n'"$4/apt:/apt" "$2" "$3" /work &&
		rm -r "$4/apt"
}

# What cargo makes of other people's packages is an entry, too: a clone without a build begins with a copy,
# and compiles only what is its own. Nothing of the clone's own packages may be in it: cargo goes by the times
# of their files, and those of another clone say nothing.
#
# name_compiled: sets COMPILED, the entry's name; ROOT has the compiler.
name_compiled() {
	COMPILED=compiled-$(key_of "$(cat "$ROOT/etc/toolchain")" \
		"$(cat "$TOP/tools/Cargo.lock" "$TOP/tools/Cargo.toml" "$TOP"/tools/*/Cargo.toml)")
}

# take_compiled: into a clone without a build, if the entry is there.
take_compiled() {
	local lock target=$TOP/build/cargo
	[ ! -e "$target" ] || return 0
	name_compiled
	[ -d "$CACHE/$COMPILED" ] || return 0
	exec {lock}>"$CACHE/lock/$COMPILED"
	flock -s "$lock"
	if [ -d "$CACHE/$COMPILED" ]; then
		touch "$CACHE/used/$COMPILED"
		mkdir -p "$TOP/build"
		cp -a "$CACHE/$COMPILED/target" "$target.$$"
		# Another run in this clone may have been faster.
		mv -T "$target.$$" "$target" 2>/dev/null || rm -rf "$target.$$"
	fi
	exec {lock}>&-
}

# keep_compiled: makes the entry of what this clone has compiled.
keep_compiled() {
	ensure_root trixie
	name_compiled
	make_entry "$COMPILED" copy_compiled
	prune compiled
}

copy_compiled() {
	cp -a "$TOP/build/cargo" "$1/target"
	enter "$ROOT" "$TOP:/src"$'\n'"$CACHE/shared:/cache"$'\n'"$1/target:/made/target" /src/tools/build/only-others /made/target
}
