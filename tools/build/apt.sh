# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# apt inside the read-only root, for one suite at a time, with its state in /apt/<suite>.

# apt_for SUITE TOOL ARGUMENTS...: run an apt tool that sees this suite only.
apt_for() {
	local suite=$1 tool=$2 state=/apt/$1
	shift 2
	mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
	# The suite is on the mirror that the root came from: the one without a dash in its suite.
	sed -n "s/^\(deb \(\[[^]]*\] \)\?[^ ]* \)[a-z]* \(.*\)/\1$suite \3/p" /etc/apt/sources.list |
		head -n 1 >"$state/sources.list"
	[ -s "$state/sources.list" ] || {
		echo "build: error: the root's /etc/apt/sources.list names no mirror" >&2
		return 1
	}
	# The age of a rolling suite does not matter here, see root-recipe.
	"$tool" -q -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=- \
		-o Dir::State::Lists="$state/lists" -o Dir::State::Status=/dev/null \
		-o Dir::Cache="$state/cache" -o Acquire::Languages=none -o Acquire::GzipIndexes=true \
		-o APT::Sandbox::User=root \
		-o Acquire::Check-Valid-Until="$([ "${suite%-backports}" = "$suite" ] && echo false || echo true)" \
		"$@"
}

apt_update() {
	apt_for "$1" apt-get -o Acquire::Retries=3 --error-on=any update >&2 || {
		echo "build: error: cannot read the package lists of $1: is the network up, and the mirror reachable?" >&2
		return 1
	}
}

# apt_index SUITE: lines `package version` of everything in the suite.
apt_index() {
	local file
	# shellcheck disable=SC2016 # $(FILENAME) is apt's
	apt_for "$1" apt-get indextargets --format '$(FILENAME)' 'Created-By: Packages' |
		while read -r file; do /usr/lib/apt/apt-helper cat-file "$file"; done |
		awk '$1 == "Package:" { package = $2 } $1 == "Version:" { print package, $2 }'
}
