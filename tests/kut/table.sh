#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Print the results of tests/kut/run.sh -o as a table for docs/kvm-unit-tests.md.
#
#   tests/kut/table.sh SUITE NATIVE-RESULTS LANE-RESULTS
#
# Of an entry that ran more than once the last result counts.  What passed under QEMU and did not under
# vkvm is marked with "<-": docs/kvm-unit-tests.md says why.

set -eu

if [ $# -ne 3 ]; then
    echo 'usage: table.sh SUITE NATIVE-RESULTS LANE-RESULTS' >&2
    exit 2
fi
entries=$(dirname "$0")/entries.awk
{
    awk -f "$entries" "$1/x86/unittests.cfg" | sed 's/|.*//; s/^/entry|/'
    sed 's/^/native|/' "$2"
    sed 's/^/lane|/' "$3"
} | awk -F '|' '
    function cell(host, monitor, key) {
        key = host "|" name "|" monitor
        if (!(key in outcome))
            return ""
        return outcome[key] == "n/a" ? "n/a" : outcome[key] " " seconds[key]
    }
    function mark(host) {
        if (outcome[host "|" name "|qemu"] == "pass" && outcome[host "|" name "|vkvm"] != "pass")
            return " <-"
        return ""
    }
    function total(host, monitor, n, i) {
        for (i = 1; i <= nentries; i++)
            n += outcome[host "|" entry[i] "|" monitor] == "pass"
        return n + 0
    }
    $1 == "entry" { entry[++nentries] = $2; next }
    {
        outcome[$1 "|" $2 "|" $3] = $4
        seconds[$1 "|" $2 "|" $3] = sprintf("%.1f", $5)
        ran[$2] = 1
    }
    END {
        print "| entry | vkvm | QEMU | vkvm, lane | QEMU, lane |"
        print "|---|---|---|---|---|"
        for (i = 1; i <= nentries; i++) {
            name = entry[i]
            if (name in ran)
                printf "| %s | %s%s | %s | %s%s | %s |\n", name, cell("native", "vkvm"), mark("native"),
                    cell("native", "qemu"), cell("lane", "vkvm"), mark("lane"), cell("lane", "qemu")
        }
        printf "| passed | %d | %d | %d | %d |\n", total("native", "vkvm"), total("native", "qemu"),
            total("lane", "vkvm"), total("lane", "qemu")
    }'
