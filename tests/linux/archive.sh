#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Make an archive for the NPT lane (lane.sh -a) with a Debian kernel as a guest that has disks:
# kernel, Debian's own initrd, an initramfs of busybox, disk images, and the scripts here.
#
#   tests/linux/archive.sh -r ROOT -o OUTPUT.cpio
#
# ROOT is a Debian system with linux-image-cloud-amd64 and initramfs-tools, as this makes it:
#   debootstrap --variant=minbase --include=initramfs-tools,udev,busybox,linux-image-cloud-amd64 \
#       bookworm ROOT
# It all appears at /vkvm/linux.  Needs busybox-static, cpio and mke2fs.

set -eu

usage() {
    echo 'usage: archive.sh -r ROOT -o OUTPUT.cpio' >&2
    exit 2
}

root=
output=
while getopts r:o: option; do
    case $option in
    r) root=$OPTARG ;;
    o) output=$OPTARG ;;
    *) usage ;;
    esac
done
if [ -z "$root" ] || [ -z "$output" ]; then
    usage
fi

here=$(dirname "$0")
work=$(mktemp -d "${TMPDIR:-/tmp}/vkvm-linux.XXXXXX")
trap 'rm -rf "$work"' EXIT
to=$work/archive/vkvm/linux
mkdir -p "$to"

# The name of a module's file.
module() {
    find "$root/lib/modules/" -name "$1.ko"
}

# tree DIRECTORY INIT: busybox, with that first process.
tree() {
    mkdir -p "$1/bin" "$1/sbin" "$1/dev" "$1/proc" "$1/sys" "$1/run" "$1/tmp" "$1/root" "$1/mnt" "$1/lib"
    cp /bin/busybox "$1/bin/busybox"
    ln -s busybox "$1/bin/sh"
    cp "$2" "$1/init"
    cp "$2" "$1/sbin/init"
    chmod 755 "$1/init" "$1/sbin/init"
}

cp "$root"/boot/vmlinuz-* "$to/vmlinuz"
cp "$root"/boot/initrd.img-* "$to/initrd.img"
tree "$work/root" "$here/init-root.sh"
mke2fs -q -t ext4 -d "$work/root" "$to/root.img" 32M
tree "$work/small" "$here/init-small.sh"
for name in virtio virtio_ring virtio_mmio virtio_blk; do
    cp "$(module $name)" "$work/small/lib/"
done
(cd "$work/small" && find . | cpio -o -H newc -R 0:0 --quiet) | gzip >"$to/small.gz"
mke2fs -q -t ext4 "$to/data.img" 64M
cp "$here"/*.sh "$to/"
(cd "$work/archive" && find . | cpio -o -H newc -R 0:0 --quiet) >"$output"
