#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Run groups of tests, on a host or in the NPT lane.
#
#   tests/run.sh [-b BUILD_DIRECTORY] [-t SECONDS] GROUP...
#
#   unit   the engine, the pagers and the command line's parts, with Criterion
#   cli    the vkvm program from outside
#   kvm    guests under KVM; needs a host that vkvm can use
#   brief  of these, what tells kernels apart: the group "brief" of the suites
#   pcs    fifty PC guests in a row (make soak)
#   suite  what is quick of kvm-unit-tests, which KVM_UNIT_TESTS says where it is built
#
#   -b  where the programs are (build)
#   -t  longest time of one test of the groups kvm and brief (300)
#
# Each group's runner prints its own totals.  A group fails when its runner
# fails or when a sanitizer complained in any process of it.  UNIT_ARGS is
# passed to Criterion.

set -eu

build=build
seconds=300

usage() {
    echo 'usage: run.sh [-b BUILD_DIRECTORY] [-t SECONDS] {unit|cli|kvm|brief|pcs|suite}...' >&2
    exit 2
}

while getopts b:t: option; do
    case $option in
    b) build=$OPTARG ;;
    t) seconds=$OPTARG ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || usage

tests=$(dirname "$0")
work=$(mktemp -d "${TMPDIR:-/tmp}/vkvm-tests.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The lane's emulated processors make each test slow enough alone.
jobs=$(nproc)
[ -z "${VKVM_LANE:-}" ] || jobs=1

# suites NAME ARGUMENT...: reports go to NAME.ktap and NAME.xml in the build's reports/ too.
suites() {
    report=$build/reports/$1
    shift
    mkdir -p "$build/reports"
    "$build/vkvm" test --images "$build/guest/tests" --timeout "$seconds" --report human \
        --report ktap="$report.ktap" --report junit="$report.xml" "$@"
}

# shellcheck disable=SC2086 # UNIT_ARGS is a list of words
run_group() {
    case $1 in
    unit) "$build/tests/unit" ${UNIT_ARGS:-} ;;
    cli) "$tests/cli/run.sh" -b "$build" ;;
    kvm)
        suite_status=0
        suites guests -j "$jobs" ${VKVM_SOAK:+--all} "$tests/../guest/tests" || suite_status=$?
        suites hosts "$tests/kvm" || suite_status=$?
        return "$suite_status"
        ;;
    brief) suites brief -j "$jobs" --group brief "$tests/../guest/tests" "$tests/kvm" ;;
    pcs) "$tests/kvm/pcs.sh" -b "$build" ;;
    suite) "$tests/kut/quick.sh" -b "$build" "$KVM_UNIT_TESTS" ;;
    *) usage ;;
    esac
}

complaints='(ERROR|WARNING): [A-Za-z]*Sanitizer|runtime error:'
result=0
for group; do
    echo "--- $group"
    start=$(date +%s)
    {
        status=0
        run_group "$group" || status=$?
        echo "$status" >"$work/status"
    } 2>&1 | tee "$work/output"
    status=$(cat "$work/status")
    if grep -qE "$complaints" "$work/output"; then
        echo "$group: a sanitizer complained, see above"
        status=1
    fi
    if grep -q 'Tested: 0 ' "$work/output"; then
        echo "$group: UNIT_ARGS selects no test"
        status=1
    fi
    if [ "$status" -eq 0 ]; then
        verdict=passed
    else
        verdict=FAILED
        result=1
    fi
    echo "--- $group: $verdict, $(($(date +%s) - start)) s"
done
exit "$result"
