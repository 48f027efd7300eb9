#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Check docs/seed.md: each test and each function its tables name exists.  Prints what
# does not, and rows that are still to be done.

set -eu

table=docs/seed.md
result=0
work=$(mktemp -d "${TMPDIR:-/tmp}/vkvm-seed.XXXXXX")
trap 'rm -rf "$work"' EXIT

missing() {
    echo "$table: $1"
    result=1
}

# The tests as suite/name; a name may stand in the line after its suite.
cat tests/unit/*.c | tr '\n' ' ' |
    grep -oE '\<(CHECKED_TEST|Test)\([a-z_0-9]+, *[a-z_0-9]+' |
    sed -E 's/.*\(([a-z_0-9]+), */\1\//' | sort >"$work/tests"

# What stands in backticks behind the first column, which speaks of the seed.
# shellcheck disable=SC2016 # the backticks are meant
sed -nE 's/^\| [^|]* \|//p' "$table" | grep -oE '`[^`]+`' | tr -d '`' | sort -u >"$work/names"

while read -r name; do
    case $name in
    */*)
        grep -qxF -- "$name" "$work/tests" || missing "no test $name"
        ;;
    *[!a-z_0-9]* | [!a-z]* | *[!_]_ | _*)
        grep -rqwF -- "${name##*.}" vmm || missing "nothing in vmm/ is called $name"
        ;;
    *_*)
        grep -rqE "^$name\(" vmm tests/unit --include='*.[ch]' || missing "no function $name"
        ;;
    *)
        grep -rqwF -- "$name" vmm || missing "nothing in vmm/ is called $name"
        ;;
    esac
done <"$work/names"

! grep -n 'not yet' "$table" || result=1
exit "$result"
