#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The benchmark in an NPT lane whose clock counts instructions: thousands of them per page, the
# host's kernel, KVM, vkvm and the guest together.  They do not depend on the host.
#
#   tests/bench/counted.sh -d NPT_DIRECTORY [-t SECONDS] table|compare|keep
#
#   table    all rows that have a goal, or are a floor of one: a table for docs/performance.md
#   compare  the cheapest rows with the figures that are kept
#   keep     the cheapest rows: write the kept figures anew
#
# The figures are kept for one set of versions; with another one nothing is compared.
#
#   CC, CFLAGS  what the programs were built with

set -eu

here=$(dirname "$0")
kept=$here/counted.kept
dir=
seconds=1200

usage() {
    echo 'usage: counted.sh -d NPT_DIRECTORY [-t SECONDS] table|compare|keep' >&2
    exit 2
}

while getopts d:t: option; do
    case $option in
    d) dir=$OPTARG ;;
    t) seconds=$OPTARG ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))
if [ $# -ne 1 ] || [ -z "$dir" ]; then
    usage
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/vkvm-counted.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# What decides how many instructions it takes, a line each.
versions() {
    sed -n 's/^Version: /version kernel: /p' "$dir/kernel/version"
    qemu-system-x86_64 --version | sed -n '1s/^/version emulator: /p'
    "${CC:-cc}" --version | sed -n '1s/^[^ ]*/version compiler:/p'
    ldd --version | sed -n '1s/^[^ ]*/version C library:/p'
    echo "version flags: ${CFLAGS:-}"
}

# measure GROUP...: into $work/output, one round, since nothing is left to chance.
measure() {
    "$here/../npt/lane.sh" -d "$dir" -c -t "$seconds" -- build/bench -p build 1 "$@" >"$work/output" || {
        status=$?
        cat "$work/output"
        exit "$status"
    }
}

table() {
    awk -v task="$1" -f "$here/counted.awk" "$here/counted.cfg" "$kept" "$work/output"
}

versions >"$work/versions"
case $1 in
table)
    measure touch fault fork
    table table
    ;;
keep)
    measure touch
    {
        sed -n '2p' "$0"
        echo '# Thousands of instructions per page, as make bench-npt-keep wrote them.'
        cat "$work/versions"
        table keep
    } >"$work/kept"
    mv "$work/kept" "$kept"
    cat "$kept"
    ;;
compare)
    grep '^version' "$kept" | cmp -s - "$work/versions" || {
        echo 'not compared: the figures are kept for other versions ("<"); keep new ones by make bench-npt-keep'
        grep '^version' "$kept" | diff - "$work/versions" || :
        exit 0
    }
    measure touch
    table compare
    ;;
*) usage ;;
esac
