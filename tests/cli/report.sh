# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2034,SC2154 # part of run.sh
#
# Sourced by run.sh: reports of made-up results, read by other projects' readers, which must count
# what went in.

# report_reads NAME WANTED COMMAND...: it prints what is wanted; the command's input is $work/report.
report_reads() {
    name=$1 wanted=$2
    shift 2
    if "$@" <"$work/report" >"$work/out" 2>"$work/err" && [ "$(cat "$work/out")" = "$wanted" ]; then
        pass "$name"
    else
        fail "$name" "not what went in: $wanted"
    fi
}

# The Python that has a module of Debian's packages: it need not be the first in PATH.
junit_python() {
    for python in python3 /usr/bin/python3; do
        if command -v "$python" >/dev/null && "$python" -c 'import junitparser' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
}

test_report_tap() {
    if ! perl -MTAP::Parser -e 1 2>/dev/null; then
        skip "TAP::Parser reads KTAP ($1)" 'no TAP::Parser'
        return
    fi
    "$build/tests/report_file" ktap "$1" >"$work/report"
    report_reads "TAP::Parser reads KTAP's first level ($1)" "$2" perl "$here/read_tap.pl"
}

test_report_junit() {
    "$build/tests/report_file" junit "$1" >"$work/report"
    if command -v xmllint >/dev/null; then
        report_reads "JUnit is as our schema says ($1)" '' \
            xmllint --noout --schema "$here/../suites/junit.xsd" "$work/report"
    else
        skip "JUnit is as our schema says ($1)" 'no xmllint'
    fi
    python=$(junit_python)
    if [ -n "$python" ]; then
        report_reads "junitparser counts in JUnit what went in ($1)" \
            "$("$build/tests/report_file" counts "$1")" "$python" "$here/read_junit.py" "$work/report"
    else
        skip "junitparser counts in JUnit what went in ($1)" 'no junitparser'
    fi
}

# Suites planned, run, not ok, skipped; errors.
test_report() {
    here=$(dirname "$0")
    test_report_tap whole '4 4 2 1 0'
    test_report_tap cut '4 4 4 0 0'
    test_report_tap empty '0 0 0 0 0'
    test_report_tap skipped '1 1 0 1 0'
    for variant in whole cut empty skipped; do
        test_report_junit "$variant"
    done
}
