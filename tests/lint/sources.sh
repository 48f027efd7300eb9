#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Check that the folders''' sources.mk name every source there is, and every test image has a
# line in tests/kvm/tests.cfg.  Prints what is forgotten.
#
#   tests/lint/sources.sh SOURCE...    the sources the Makefile knows

set -eu

result=0

forgotten() {
    echo "$1: $2"
    result=1
}

known=" $* "
for file in $(find vmm guest tests tools -name '*.c' -o -name '*.S' | sort); do
    case $known in
    *" $file "*) ;;
    *) forgotten "$file" 'in no sources.mk' ;;
    esac
done
for file; do
    [ -f "$file" ] || forgotten "$file" 'in a sources.mk, but there is no such file'
done
for file in guest/tests/*.c; do
    name=$(basename "$file" .c)
    sed -e '/^[[:space:]]*#/d' -e 's/|.*//' tests/kvm/tests.cfg | grep -qw "$name" ||
        forgotten "$file" 'no line in tests/kvm/tests.cfg'
done
exit "$result"
