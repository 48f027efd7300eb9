#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Put Debian's kernels into a directory, unchanged: cloud-6.1, generic-6.1, cloud-6.12, each beside its
# version and an initramfs with what it needs for a root file system on a virtio disk: its modules, numbered
# in the order of loading, in /modules.
#
#   tests/linux/kernels.sh DIRECTORY
#
# apt downloads them from the mirror that this machine uses; they are unpacked, not installed.  The
# last one is of Debian's backports, which apt is told of for this once: the machine's own sources and
# lists stay as they are.

set -eu

release=bookworm
modules='crc16 crc32c_generic mbcache jbd2 ext4 virtio virtio_ring virtio_mmio virtio_blk' # in this order
dir=$1

die() {
    printf 'kernels.sh: %s\n' "$*" >&2
    exit 1
}

# Where the machine's own sources have the release, and its backports: "deb" lines.
sources() {
    apt-get indextargets --format "\$(RELEASE)|\$(COMPONENT)|\$(REPO_URI)" 'Created-By: Packages' |
        sort -u | while IFS='|' read -r name component uri; do
        [ "$name/$component" = "$release/main" ] || continue
        for suite in "$release" "$release-backports"; do
            echo "deb $uri $suite main"
        done
    done
}

apt_here() {
    command=$1
    shift
    "$command" -q -o APT::Sandbox::User= -o "Dir::State::Lists=$work/lists" \
        -o "Dir::Cache=$work/cache" -o "Dir::Etc::SourceList=$work/sources.list" \
        -o Dir::Etc::SourceParts=- -o Acquire::Retries=3 "$@"
}

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
    version=$(apt_here apt-cache madison "$2" | awk -F '|' -v of="$3/main" \
        '{ gsub(/ /, "", $2) } index($3, of) { print $2; exit }')
    [ -n "$version" ] || die "the mirror's $3 has no $2"
    package=$(apt_here apt-cache show "$2=$version" |
        sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p' | head -n 1)
    [ -n "$package" ] || die "$2 $version depends on no kernel"
    (cd "$work" && apt_here apt-get download "$package/$3") >&2 || die "cannot download $package"
    dpkg-deb -x "$work/$package"_*.deb "$work/unpacked"
    dpkg-deb -f "$work/$package"_*.deb Version >"$dir/$1.version"
    mv "$work"/unpacked/boot/vmlinuz-* "$dir/$1"
    pack_modules "$work/unpacked" "$dir/$1.modules"
    rm -r "$work/unpacked" "$work/$package"_*.deb
}

mkdir -p "$dir"
work=$(mktemp -d "${TMPDIR:-/tmp}/vkvm-kernels.XXXXXX")
trap 'rm -rf "$work"' EXIT
if [ ! -f "$dir/cloud-6.1.modules" ] || [ ! -f "$dir/generic-6.1.modules" ] ||
    [ ! -f "$dir/cloud-6.12.modules" ]; then
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    sources >"$work/sources.list"
    [ -s "$work/sources.list" ] || die "this machine's apt has no source of Debian $release"
    apt_here apt-get update >&2 || die 'apt cannot read the package lists'
fi
fetch cloud-6.1 linux-image-cloud-amd64 "$release"
fetch generic-6.1 linux-image-amd64 "$release"
fetch cloud-6.12 linux-image-cloud-amd64 "$release-backports"
