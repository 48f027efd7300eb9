#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Fifty PC guests in a row, each a process and a VM of its own whose first vCPU starts two more:
# none may fail, and none may hang whoever runs it (docs/hosts.md, "The NPT lane").
#
#   tests/kvm/pcs.sh [-b BUILD_DIRECTORY]

set -eu

build=build
count=50
guest=the_first_vcpu_starts_another_and_cpuid_says_how_many_there_are

while getopts b: option; do
    case $option in
    b) build=$OPTARG ;;
    *)
        echo 'usage: pcs.sh [-b BUILD_DIRECTORY]' >&2
        exit 2
        ;;
    esac
done

failed=0
for i in $(seq "$count"); do
    if timeout -k 5 60 "$build/tests/host_pc" "$guest" >/dev/null 2>&1; then
        echo "PC $i of $count: passed"
    else
        echo "PC $i of $count: FAILED"
        failed=$((failed + 1))
    fi
done
echo "$((count - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
