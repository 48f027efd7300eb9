#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Print what runners made of kvm-unit-tests as a table for docs/kvm-unit-tests.md.
#
#   tests/kut/runners.sh JSONL OUTPUT...
#
#   JSONL   what vkvm test --report jsonl=JSONL DIRECTORY/x86/unittests.cfg wrote
#   OUTPUT  what the suite's own run_tests.sh printed, a column for each
#
# Entries with the same outcomes share a row.  A time-out is "time"; what vkvm test calls an error, the
# suite calls a failure.

set -eu

if [ $# -lt 2 ]; then
    echo 'usage: runners.sh JSONL OUTPUT...' >&2
    exit 2
fi
escape=$(printf '\033')
jsonl=$1
shift
{
    grep '"event":"result"' "$jsonl" |
        sed -e 's/.*"name":"[^"/]*\/\([^"]*\)".*"repeat":[0-9]*,"verdict":"\([A-Z]*\)",/1|\1|\2|/' \
            -e 's/"flaky":.*//' -e 's/"reason":"\(.*\)",$/\1/'
    column=1
    for output; do
        column=$((column + 1))
        sed -e "s/$escape\[[0-9]*m//g" -e "s/^\([A-Z]*\) \([^ ]*\) */$column|\1|\2|/" \
            -e 's/^\([0-9]*\)|\([^|]*\)|\([^|]*\)/\1|\3|\2/' "$output"
    done
} | awk -F '|' -v columns="$(($# + 1))" '
    function word(verdict, reason) {
        if (reason ~ /not done after|^\(timeout/)
            return "time"
        return tolower(verdict)
    }
    NF < 4 { next }
    $1 == 1 { entry[++n] = $2 }
    { cell[$1 "|" $2] = word($3, $4) }
    END {
        for (i = 1; i <= n; i++) {
            row = ""
            for (c = 1; c <= columns; c++) {
                row = row "| " cell[c "|" entry[i]] " "
                total[c] += cell[c "|" entry[i]] == "pass"
            }
            if (!(row in entries))
                order[++nrows] = row
            entries[row] = entries[row] (row in entries && entries[row] != "" ? ", " : "") entry[i]
        }
        for (i = 1; i <= nrows; i++)
            print order[i] "| " entries[order[i]] " |"
        row = ""
        for (c = 1; c <= columns; c++)
            row = row "| " total[c] " "
        print row "| passed |"
    }'
