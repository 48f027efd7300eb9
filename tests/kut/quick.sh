#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Run what is quick of kvm-unit-tests and passes on this class of host (quick.cfg) by vkvm test.
#
#   tests/kut/quick.sh [-b BUILD_DIRECTORY] DIRECTORY
#
#   -b  where vkvm is (build)
#   DIRECTORY  where kvm-unit-tests was built

set -eu

build=build
while getopts b: option; do
    case $option in
    b) build=$OPTARG ;;
    *)
        echo 'usage: quick.sh [-b BUILD_DIRECTORY] DIRECTORY' >&2
        exit 2
        ;;
    esac
done
shift $((OPTIND - 1))
if [ $# -ne 1 ] || [ ! -f "$1/x86/smptest.flat" ]; then
    echo "quick.sh: ${1:-nothing} is no kvm-unit-tests built for x86: no x86/*.flat; in its directory" \
        "run: ./configure && make" >&2
    exit 2
fi
suite=$1/x86/unittests.cfg
hosts=any
! grep -qw 'vmx\|svm' /proc/cpuinfo || hosts='any\|hardware'
entries=$(sed -n "s/^\([a-z][^ |]*\) *| *\($hosts\) *|.*/\1/p" "$(dirname "$0")/quick.cfg")
set --
for entry in $entries; do
    set -- "$@" --filter "$entry"
done
exec "$build/vkvm" test "$@" "$suite"
