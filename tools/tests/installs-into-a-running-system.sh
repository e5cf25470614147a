#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Test: make install puts the module, the tools, their manual and completion, and the udev rule to work in a running system
# Needs: module, sheep
# Limit: 120
. "$LIB"

# From here on only what is installed is found, as in the system of an administrator.
PROGRAMS=$(dirname "$(command -v sheepctl)")
PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
! command -v sheepctl || fail 'there is a sheepctl before it is installed'

[ -d /host/install ] || skip 'no /host/install: make vm-ready stages what is installed'
# The kernel's modules are a read-only image here.
modules=/lib/modules/$(uname -r)
mkdir /tmp/modules
mount -t tmpfs none /tmp/modules
mkdir /tmp/modules/{upper,work}
mount -t overlay -o "lowerdir=$modules,upperdir=/tmp/modules/upper,workdir=/tmp/modules/work" none "$modules"
/usr/lib/systemd/systemd-udevd --daemon
refused 'not found' modprobe sheepdog

step make install
# Its last step, which alone runs on the machine that is installed on.
/host/install/tools/build/install "$PROGRAMS"
hash -r

step the module
modprobe sheepdog
trap clean_up EXIT
mark
found=$(modinfo -n sheepdog)
same "$modules/updates/sheepdog.ko" "${found%.xz}" 'what modprobe takes'

step the programs
same /usr/sbin/sheepctl "$(command -v sheepctl)"
same /usr/bin/devsheep "$(command -v devsheep)"
sheepctl guard -- true || fail 'sheepctl guard does not find its library'

step the disk, and its link
create "$VDI" 16M
DEV=$(sheepctl map --gateway "$GATEWAYS" "$VDI")
same /dev/sheepa "$DEV"
within 20 test -L "/dev/sheep/$VDI"
same "$DEV" "$(readlink -f "/dev/sheep/$VDI")" 'the link'
cmp -n $((1 << 20)) "/dev/sheep/$VDI" /dev/zero
udevadm settle
sheepctl unmap "$DEV"
within 20 test ! -e "/dev/sheep/$VDI"
udevadm control --exit

step manual and completion
for command in '' -map -unmap -list -guard -check; do
	grep -q '^\.SH NAME' "/usr/share/man/man1/sheepctl$command.1" || fail "no manual page sheepctl$command"
done
# shellcheck disable=SC2016 # expands in the shell of an administrator
completed=$(bash -c '
	. /usr/share/bash-completion/completions/sheepctl
	complete -p sheepctl >&2
	COMP_WORDS=(sheepctl unm) COMP_CWORD=1
	_sheepctl sheepctl unm sheepctl
	echo "${COMPREPLY[*]}"')
same unmap "$completed" 'what "sheepctl unm" completes to'
[ -s /usr/share/zsh/site-functions/_sheepctl ] && [ -s /usr/share/fish/vendor_completions.d/sheepctl.fish ]
