#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Debian's kernels under vkvm, in the NPT lane.
#
#   tests/linux/run.sh [-d DIRECTORY] [-b BUILD_DIRECTORY] STEP[=ARGUMENT]...
#
#   gdb     gdb itself on a running kernel: gdb.sh
#   matrix  each kernel to a shell and off again, as a table: matrix.sh; =KERNEL for one only, =KERNEL,CPUS
#           with that many vCPUs, =KERNEL,CPUS,memory or disk for where its root is
#   faults  --exact-faults and without: faults.sh
#   reporting  free page reporting, and without: reporting.sh; =on or =off for one only
#   trace   a boot traced, its counts and its symbols: trace.sh
#
#   -d  where `make npt` put the lane (build/npt)
#   -b  where everything is built (build)
#
# The steps are scripts of this directory that run in the lane, one lane each.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
lane=build/npt
build=build
while getopts d:b: option; do
    case $option in
    d) lane=$OPTARG ;;
    b) build=$OPTARG ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))

# What the program needs at run time, into the archive.
add_program() {
    mkdir -p "$root$2"
    cp "$1" "$root$2/"
    ldd "$1" | sed -n -e 's/.*=> \(\/[^ ]*\) .*/\1/p' -e 's/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p' |
        while read -r library; do
            mkdir -p "$root$(dirname "$library")"
            cp -L "$library" "$root$library"
        done
}

# gdb without Python, which would want its modules: downloaded and unpacked, not installed.
add_gdb() {
    if [ ! -x "$build/linux/gdb" ]; then
        work=$(mktemp -d "${TMPDIR:-/tmp}/vkvm-gdb.XXXXXX")
        (cd "$work" && apt-get download -q -o APT::Sandbox::User= gdb-minimal && dpkg-deb -x gdb-minimal_*.deb .) >&2
        cp "$work/usr/bin/gdb" "$build/linux/gdb"
        rm -rf "$work"
    fi
    add_program "$build/linux/gdb" /bin
}

# The archive with what the steps need.
pack() {
    root=$build/linux/root
    rm -rf "$root"
    mkdir -p "$root/vkvm/linux"
    add_program "$build/vkvm" /vkvm/build
    add_program "$build/vkvm-trace" /vkvm/build
    "$here/kernels.sh" "$build/linux"
    "$here/initramfs.sh" "$root/vkvm/linux/initramfs" "$root/vkvm/linux/root.gz"
    cp "$build"/linux/*-6.* "$here"/*.sh "$root/vkvm/linux/"
    add_gdb
    (cd "$root" && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet) >"$build/linux/archive.cpio"
    rm -rf "$root"
}

pack
failed=
for step; do
    "$here/../npt/lane.sh" -d "$lane" -t 400 -a "$build/linux/archive.cpio" -- \
        sh "linux/${step%%=*}.sh" "${step#"${step%%=*}"}" || failed="$failed $step"
done
if [ -n "$failed" ]; then
    echo "run.sh: failed:$failed" >&2
    exit 1
fi
