#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Put the NPT lane's kernel into a directory: vmlinuz, the KVM modules, version.
#
#   tests/npt/kernel.sh DIRECTORY [VERSION]
#
# It comes from Debian's linux-image-cloud-amd64, downloaded and unpacked, not
# installed.  KERNEL_DEB names a package file to use instead of downloading one.
# VERSION is 6.1, the release's own and what there is without it, or 6.12, which is in its backports.

set -eu

meta=linux-image-cloud-amd64
modules='irqbypass kvm kvm-amd' # in the order of loading
dir=$1
wanted=${2:-6.1}

die() {
    printf 'kernel.sh: %s\n' "$*" >&2
    exit 1
}

# Options of apt, a list of words: first it looks at the machine's package lists.
# The empty user: apt need not change to one that cannot write here.
apt='-q -o APT::Sandbox::User= -o Acquire::Retries=2 -o Acquire::http::Timeout=30'

# The package that the meta package stands for, or nothing.
# shellcheck disable=SC2086 # a list of words
package_name() {
    apt-cache $apt depends --important "$meta" 2>/dev/null |
        sed -n 's/^ *Depends: \(linux-image-.*-cloud-amd64\)$/\1/p' | head -n 1
}

# Download into the current directory.
# shellcheck disable=SC2086 # a list of words
download_listed() {
    package=$(package_name)
    [ -n "$package" ] && apt-get $apt download "$package"
}

# Runs in a subshell; what fails there ends it.
download_backport() {
    work=$PWD
    # shellcheck source=tests/npt/debian.sh
    . "$here/debian.sh"
    debian_begin
    debian_kernel "$meta" "$release-backports"
}

# Stale or absent lists: fetch some of our own from the machine's mirror.  That needs no rights, and
# the machine's lists stay as they are.
# shellcheck disable=SC2086 # a list of words
download() {
    if [ "$wanted" != 6.1 ]; then
        download_backport
        return
    fi
    if download_listed; then
        return 0
    fi
    mkdir -p apt/lists/partial apt/cache/archives/partial
    apt="$apt -o Dir::State::Lists=$PWD/apt/lists -o Dir::Cache=$PWD/apt/cache"
    apt-get $apt update && download_listed
}

case $wanted in
6.1 | 6.12) ;;
*) die "no kernel $wanted: give 6.1 or 6.12" ;;
esac
here=$(cd "$(dirname "$0")" && pwd)
command -v apt-get >/dev/null 2>&1 || [ -n "${KERNEL_DEB:-}" ] ||
    die "there is no apt here: give the package file of Debian's $meta with KERNEL_DEB=FILE"
work=$dir.new
rm -rf "$work"
mkdir -p "$work/unpacked"
if [ -n "${KERNEL_DEB:-}" ]; then
    cp "$KERNEL_DEB" "$work/kernel.deb"
else
    (cd "$work" && download) >&2 ||
        die "cannot download $meta by apt, see above: is there a network, and Debian's mirror in apt's" \
            "sources?  Or give its package file with KERNEL_DEB=FILE"
    rm -rf "$work/apt" "$work/lists" "$work/cache" "$work/sources.list"
    [ -f "$work/kernel.deb" ] || mv "$work"/linux-image-*.deb "$work/kernel.deb"
fi
case $(dpkg-deb -f "$work/kernel.deb" Version) in
"$wanted".*) ;;
*) [ -n "${KERNEL_DEB:-}" ] || [ "$wanted" = 6.1 ] ||
    die "Debian's backports have another kernel than $wanted by now: give its package file with KERNEL_DEB=FILE" ;;
esac

dpkg-deb --fsys-tarfile "$work/kernel.deb" |
    tar -x -C "$work/unpacked" --wildcards './boot/vmlinuz-*' '*/kvm/*.ko*' '*/irqbypass.ko*'
mv "$work"/unpacked/boot/vmlinuz-* "$work/vmlinuz"
for module in $modules; do
    file=$(find "$work/unpacked" -name "$module.ko" -o -name "$module.ko.xz")
    case $file in
    '') die "the kernel package has no module $module" ;;
    *.xz) xz -dc "$file" >"$work/$module.ko" ;;
    *) mv "$file" "$work/" ;;
    esac
done
dpkg-deb -f "$work/kernel.deb" Package Version >"$work/version"
rm -rf "$work/unpacked" "$work/kernel.deb"
rm -rf "$dir"
mv "$work" "$dir"
