#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Make the NPT lane ready to boot: its packages, its kernel, its initramfs.
#
#   tests/npt/prepare.sh -d DIRECTORY -b BUILD_DIRECTORY [-k KERNEL] FILE...
#
#   -k  6.1 (what there is without it) or 6.12: see kernel.sh
#
# What is there and current stays: the kernel until it is deleted, the
# initramfs while the list of files is the same and none of them is newer.

set -eu

packages='qemu-system-x86 cpio busybox-static xz-utils'
here=$(dirname "$0")
dir=
build=
kernel=6.1

usage() {
    echo 'usage: prepare.sh -d DIRECTORY -b BUILD_DIRECTORY [-k KERNEL] FILE...' >&2
    exit 2
}

while getopts d:b:k: option; do
    case $option in
    d) dir=$OPTARG ;;
    b) build=$OPTARG ;;
    k) kernel=$OPTARG ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))
if [ -z "$dir" ] || [ -z "$build" ]; then
    usage
fi

current() {
    [ -f "$dir/initramfs" ] && cmp -s "$dir/files.new" "$dir/files" &&
        [ -z "$(find "$@" "$here" "$dir/kernel" -newer "$dir/initramfs" -print)" ]
}

# shellcheck disable=SC2086 # a list of words
"$here/../deps.sh" $packages
mkdir -p "$dir"
[ -f "$dir/kernel/version" ] || "$here/kernel.sh" "$dir/kernel" "$kernel"
printf '%s\n' "$@" >"$dir/files.new"
if ! current "$@"; then
    rm -f "$dir/files"
    "$here/initramfs.sh" -k "$dir/kernel" -o "$dir/initramfs" -b "$build" "$@"
    mv "$dir/files.new" "$dir/files"
fi
rm -f "$dir/files.new"
