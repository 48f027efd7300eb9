#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# What takes minutes and is run by hand before an issue is closed: long hammering, repetitions,
# other seeds, the NPT lane whole.
#
#   tests/soak.sh [STEP...]
#
#   hammer    everything at once for two minutes, and one minute under the thread sanitizer
#   property  a million random operations with each of three more seeds
#   kvm       the guest tests' long lines, natively
#   killed    fifty traces whose VMs are killed at any moment
#   repeat    twenty times what once failed now and then
#   pcs       fifty PC guests in a row in the NPT lane
#   npt       all groups and the long lines in the NPT lane, on both of its kernels
#   golden    golden traces twenty times, here and in the lane
#   deb       Debian packages, made, installed, used and purged here
#   mutants   deliberate faults, and which tests notice
#   linux     Debian's kernels in the NPT lane: gdb, the matrix, whose faults there are, a traced boot
#   kunit     our KTAP by the kernel's kunit.py

set -eu

failed=''

unit() {
    make "$@"
}

step_hammer() {
    VKVM_HAMMER_SECONDS=120 unit check-unit UNIT_ARGS="--filter='hammer/*'" &&
        VKVM_HAMMER_SECONDS=60 unit O=build/tsan SAN=thread check-unit UNIT_ARGS="--filter='hammer/*'"
}

step_property() {
    for seed in 2 3 4; do
        VKVM_SEED=$seed VKVM_PROPERTY_OPS=1000000 unit check-unit UNIT_ARGS="--filter='property/*'" ||
            return 1
    done
}

step_kvm() {
    VKVM_SOAK=yes make check-kvm
}

step_killed() {
    VKVM_KILLS=50 tests/cli/run.sh trace_killed
}

step_repeat() {
    build/vkvm test --images build/guest/tests --repeat 20 --fail-fast --filter wait_flag --filter checksum \
        --filter remap_hammer --filter host_service guest/tests tests/kvm
}

step_pcs() {
    make test-npt LANE_GROUPS=pcs
}

step_npt() {
    make test-npt LANE_SOAK=yes LANE_KERNELS='6.1 6.12'
}

step_golden() {
    build/vkvm test --images build/guest/tests --repeat 20 --fail-fast guest/tests/golden.cfg || return 1
    make npt LANE_KERNELS='6.1 6.12' || return 1
    for lane in build/npt build/npt-6.12; do
        tests/npt/lane.sh -d "$lane" -- build/vkvm test -j 2 --images build/guest/tests --repeat 20 --fail-fast \
            guest/tests/golden.cfg || return 1
    done
}

step_deb() {
    make test-deb
}

step_mutants() {
    make test-mutants
}

step_kunit() {
    make build/tests/report_file && tests/suites/kunit.sh
}

step_linux() {
    make npt && tests/linux/run.sh gdb matrix=cloud-6.1 matrix=generic-6.1 matrix=cloud-6.12 faults trace
}

[ $# -gt 0 ] || set -- hammer property kvm killed repeat pcs npt golden deb mutants linux kunit
for step; do
    start=$(date +%s)
    echo "=== soak: $step"
    "step_$step" || failed="$failed $step"
    echo "=== soak: $step: $(($(date +%s) - start)) s"
done
if [ -n "$failed" ]; then
    echo "soak: failed:$failed"
    exit 1
fi
echo 'soak: all passed'
