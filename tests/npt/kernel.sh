#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Put the NPT lane's kernel into a directory: vmlinuz, the KVM modules, version.
#
#   tests/npt/kernel.sh DIRECTORY
#
# It comes from Debian's linux-image-cloud-amd64, downloaded and unpacked, not
# installed.  KERNEL_DEB names a package file to use instead of downloading one.

set -eu

meta=linux-image-cloud-amd64
modules='irqbypass kvm kvm-amd' # in the order of loading
here=$(dirname "$0")
dir=$1

die() {
    printf 'kernel.sh: %s\n' "$*" >&2
    exit 1
}

# The package that the meta package stands for, or nothing.
package_name() {
    apt-cache depends --important "$meta" 2>/dev/null |
        sed -n 's/^ *Depends: \(linux-image-.*-cloud-amd64\)$/\1/p' | head -n 1
}

# The empty user: apt need not change to one that cannot write here.
get='apt-get download -q -o APT::Sandbox::User='

# Download into the current directory.  Stale or absent lists: refresh, try again.
download() {
    package=$(package_name)
    if [ -n "$package" ] && $get "$package"; then
        return 0
    fi
    "$deps" -u || return 1
    package=$(package_name)
    [ -n "$package" ] && $get "$package"
}

deps=$(cd "$here/.." && pwd)/deps.sh
work=$dir.new
rm -rf "$work"
mkdir -p "$work/unpacked"
if [ -n "${KERNEL_DEB:-}" ]; then
    cp "$KERNEL_DEB" "$work/kernel.deb"
else
    (cd "$work" && download) >&2 ||
        die "cannot download $meta; give its package file with KERNEL_DEB=FILE"
    mv "$work"/linux-image-*.deb "$work/kernel.deb"
fi

dpkg-deb --fsys-tarfile "$work/kernel.deb" |
    tar -x -C "$work/unpacked" --wildcards './boot/vmlinuz-*' '*/kvm/*.ko' '*/irqbypass.ko'
mv "$work"/unpacked/boot/vmlinuz-* "$work/vmlinuz"
for module in $modules; do
    file=$(find "$work/unpacked" -name "$module.ko")
    [ -n "$file" ] || die "the kernel package has no module $module"
    mv "$file" "$work/"
done
dpkg-deb -f "$work/kernel.deb" Package Version >"$work/version"
rm -rf "$work/unpacked" "$work/kernel.deb"
rm -rf "$dir"
mv "$work" "$dir"
