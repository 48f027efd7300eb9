#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Put Debian's kernels into a directory, unchanged: cloud-6.1, generic-6.1, cloud-6.12, each beside its
# version and an initramfs with what it needs for a root file system on a virtio disk: its modules, numbered
# in the order of loading, in /modules.
#
#   tests/linux/kernels.sh DIRECTORY
#
# They are unpacked, not installed; tests/npt/debian.sh downloads them, the last one from Debian's backports.

set -eu

modules='crc16 crc32c_generic mbcache jbd2 ext4 virtio virtio_ring virtio_mmio virtio_blk virtio_balloon' # in this order
dir=$1
# shellcheck source=tests/npt/debian.sh
. "$(dirname "$0")/../npt/debian.sh"

# pack_modules TREE OUTPUT: what is not built into the kernel.
pack_modules() {
    n=10
    mkdir "$work/initramfs" "$work/initramfs/modules"
    for module in $modules; do
        file=$(find "$1" -name "$module.ko" -o -name "$module.ko.xz")
        n=$((n + 1))
        case $file in
        '') ;;
        *.xz) xz -dc "$file" >"$work/initramfs/modules/$n-$module.ko" ;;
        *) cp "$file" "$work/initramfs/modules/$n-$module.ko" ;;
        esac
    done
    (cd "$work/initramfs" && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet) >"$2"
    rm -r "$work/initramfs"
}

# fetch NAME META RELEASE: the kernel that the meta package of the release stands for.
fetch() {
    [ ! -f "$dir/$1.modules" ] || return 0
    debian_kernel "$2" "$3"
    dpkg-deb -x "$work/kernel.deb" "$work/unpacked"
    dpkg-deb -f "$work/kernel.deb" Version >"$dir/$1.version"
    mv "$work"/unpacked/boot/vmlinuz-* "$dir/$1"
    pack_modules "$work/unpacked" "$dir/$1.modules"
    rm -r "$work/unpacked" "$work/kernel.deb"
}

mkdir -p "$dir"
work=$(mktemp -d "${TMPDIR:-/tmp}/vkvm-kernels.XXXXXX")
trap 'rm -rf "$work"' EXIT
if [ ! -f "$dir/cloud-6.1.modules" ] || [ ! -f "$dir/generic-6.1.modules" ] ||
    [ ! -f "$dir/cloud-6.12.modules" ]; then
    debian_begin
fi
fetch cloud-6.1 linux-image-cloud-amd64 "$release"
fetch generic-6.1 linux-image-amd64 "$release"
fetch cloud-6.12 linux-image-cloud-amd64 "$release-backports"
