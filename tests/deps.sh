#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Install the Debian packages that are named and missing.
#
#   tests/deps.sh PACKAGE...   install what is missing; asks nothing of apt when all is there
#   tests/deps.sh -u           refresh apt's package lists
#
# Works as root or through sudo without a password.  Where neither works it
# prints the command to run and fails.  DEPS=no skips everything (for builds
# that bring their dependencies another way).

set -eu

say() {
    printf 'vkvm: %s\n' "$*" >&2
}

installed() {
    dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

# What to put before a command to run it with all rights; fails where nothing works.
rights() {
    if [ "$(id -u)" -eq 0 ]; then
        echo env
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        echo sudo -n env
    else
        return 1
    fi
}

# shellcheck disable=SC2086 # $as is a list of words
apt() {
    $as DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 \
        -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@" </dev/null
}

# The last words: what a person can do about it.
give_up() {
    say "$1; run this as root, then make again:"
    printf '    apt-get update && apt-get install --no-install-recommends%s\n' "$missing" >&2
    exit 1
}

[ "${DEPS:-yes}" != no ] || exit 0

if [ "${1:-}" = -u ]; then
    as=$(rights) || {
        say "neither root nor 'sudo -n' works here; run as root: apt-get update"
        exit 1
    }
    apt update >&2
    exit
fi

if ! command -v dpkg-query >/dev/null 2>&1; then
    say "this is not a Debian system; needed are what Debian calls: $*"
    exit 0
fi

missing=
for package; do
    installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as=$(rights) || give_up "packages are missing and neither root nor 'sudo -n' works here"
say "installing:$missing"
# The lists may be absent or stale: refresh them only after a failure.
for attempt in 1 2 3; do
    # shellcheck disable=SC2086 # a list of words
    if apt install -y --no-install-recommends $missing; then
        exit 0
    fi
    [ "$attempt" -eq 3 ] || apt update || sleep 5
done
give_up 'apt-get could not install the packages, see above'
