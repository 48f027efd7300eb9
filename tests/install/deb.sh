#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Install the packages of `make deb`, use what they brought, and purge them: nothing is left.
#
#   tests/install/deb.sh DIRECTORY
#
# On this machine, as root; not where vkvm is installed already.

set -u

directory=$1
work=$(mktemp -d "${TMPDIR:-/tmp}/vkvm-deb.XXXXXX") || exit 1

if [ "$(id -u)" -ne 0 ]; then
    echo 'SKIP the packages: only root installs them'
    exit 0
fi
for package in vkvm vkvm-guest-dev; do
    if dpkg-query -W "$package" >/dev/null 2>&1; then
        echo "deb.sh: $package is installed here, and would be purged: remove it first" >&2
        exit 1
    fi
done
trap 'dpkg --purge vkvm vkvm-guest-dev >/dev/null 2>&1; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# shellcheck source=tests/install/check.sh
. "$(dirname "$0")/check.sh"

runs() {
    ! command -v /usr/bin/vkvm >/dev/null && return 1
    why=$(/usr/bin/vkvm run /usr/lib/vkvm/hello.elf </dev/null 2>&1) && return 0
    echo "$why"
    [ ! -e /dev/kvm ]
}

# shellcheck disable=SC2046 # lists of words
builds() {
    printf '#include "guest/lib/cpu.h"\nint guest_main(void) { return 0; }\n' >"$work/guest.c"
    cc -o "$work/guest.elf" $(pkg-config --cflags vkvm-guest) "$work/guest.c" $(pkg-config --libs vkvm-guest)
}

files_of() {
    for deb in "$directory"/vkvm_*.deb "$directory"/vkvm-guest-dev_*.deb; do
        dpkg-deb -c "$deb" | sed -n 's|^-.* \./\(usr/.*\)|/\1|p'
    done
}

nothing_left() {
    left=0
    for file in $(files_of); do
        [ ! -e "$file" ] || {
            echo "$file"
            left=1
        }
    done
    return "$left"
}

check 'the packages can be installed' dpkg -i "$directory"/vkvm_*.deb "$directory"/vkvm-guest-dev_*.deb
check 'the installed program runs a guest' runs
check 'a guest is built with what is installed' builds
check 'each file is there' sh -c "for f in $(files_of | tr '\n' ' '); do [ -e \"\$f\" ] || exit 1; done"
check 'the packages can be purged' dpkg --purge vkvm vkvm-guest-dev
check 'nothing of them is left' nothing_left
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
