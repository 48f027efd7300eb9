#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Make an archive for tests/npt/lane.sh -a:
#
#   tests/kut/archive.sh qemu OUTPUT                this machine's QEMU with its libraries and BIOS files
#   tests/kut/archive.sh suite DIRECTORY OUTPUT     kvm-unit-tests' images at /vkvm/suite, tests/kut beside them

set -eu

usage() {
    echo 'usage: archive.sh {qemu|suite DIRECTORY} OUTPUT' >&2
    exit 2
}

here=$(dirname "$0")
root=
trap 'rm -rf "$root"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# put FILE...: at the same place in the archive, what a link points to in the link's place.
put() {
    for file; do
        mkdir -p "$root$(dirname "$file")"
        cp -L "$file" "$root$file"
    done
}

# shellcheck disable=SC2046 # file names without blanks
put_qemu() {
    program=$(command -v qemu-system-x86_64) || {
        echo 'archive.sh: no qemu-system-x86_64 here; install: qemu-system-x86' >&2
        exit 1
    }
    put "$program" $(ldd "$program" |
        sed -n -e 's/.*=> \(\/[^ ]*\) .*/\1/p' -e 's/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p')
    for name in bios-256k.bin bios-microvm.bin kvmvapic.bin linuxboot_dma.bin multiboot_dma.bin pvh.bin; do
        put $(find -L /usr/share/seabios /usr/share/qemu -name "$name" | head -n 1)
    done
}

put_suite() {
    mkdir -p "$root/vkvm/suite/x86" "$root/vkvm/tests/kut"
    cp "$1"/x86/unittests.cfg "$1"/x86/*.flat "$root/vkvm/suite/x86"
    cp "$here"/run.sh "$here"/lane.sh "$here"/entries.awk "$here"/quick.sh "$here"/quick.cfg "$root/vkvm/tests/kut"
}

[ $# -ge 2 ] || usage
root=$(mktemp -d "${TMPDIR:-/tmp}/vkvm-archive.XXXXXX")
chmod 755 "$root"
case $1 in
qemu) put_qemu ;;
suite)
    [ $# -eq 3 ] || usage
    put_suite "$2"
    shift
    ;;
*) usage ;;
esac
mkdir -p "$(dirname "$2")"
(cd "$root" && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet) >"$2.new"
mv "$2.new" "$2"
