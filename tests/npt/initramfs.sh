#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Make the NPT lane's initramfs: busybox, the KVM modules, and files of the
# project at /vkvm, under the names they have here, with the shared libraries
# the programs among them need.
#
#   tests/npt/initramfs.sh -k KERNEL_DIRECTORY -o OUTPUT -b BUILD_DIRECTORY FILE...
#
# Files below the build directory appear below /vkvm/build, wherever it is here.

set -eu

usage() {
    echo 'usage: initramfs.sh -k KERNEL_DIRECTORY -o OUTPUT -b BUILD_DIRECTORY FILE...' >&2
    exit 2
}

while getopts k:o:b: option; do
    case $option in
    k) kernel=$OPTARG ;;
    o) output=$OPTARG ;;
    b) build=$OPTARG ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))
if [ -z "${kernel:-}" ] || [ -z "${output:-}" ] || [ -z "${build:-}" ]; then
    usage
fi

root=$output.root
here=$(dirname "$0")
rm -rf "$root"
for d in bin dev etc lib/modules proc root run sys tmp vkvm; do
    mkdir -p "$root/$d"
done
cp /bin/busybox "$root/bin/busybox"
cp "$kernel"/*.ko "$root/lib/modules/"
cp "$here/init" "$root/init"
chmod 755 "$root/init"
echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"
echo '127.0.0.1 localhost' >"$root/etc/hosts"

for file; do
    case $file in
    "$build"/*) to=$root/vkvm/build/${file#"$build"/} ;;
    *) to=$root/vkvm/$file ;;
    esac
    mkdir -p "$(dirname "$to")"
    cp -p "$file" "$to"
done

# libgcc_s is loaded by name when a thread is cancelled, so ldd does not show it.
find "$root/vkvm/build" -type f -perm -100 ! -name '*.elf' -exec ldd {} \; 2>/dev/null |
    sed -n -e 's/.*=> \(\/[^ ]*\) .*/\1/p' -e 's/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p' | sort -u |
    while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        cp -L "$library" "$root$library"
    done
libgcc=$(/sbin/ldconfig -p | sed -n 's/.*libgcc_s\.so\.1 (libc6,x86-64) => //p' | head -n 1)
if [ -f "$libgcc" ]; then
    mkdir -p "$root$(dirname "$libgcc")"
    cp -L "$libgcc" "$root$libgcc"
fi

# Not compressed: unpacking is the slow part on an emulated CPU.
(cd "$root" && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet) >"$output.new"
rm -rf "$root"
mv "$output.new" "$output"
