#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Check that the folders''' sources.mk name every source there is, and every test image has a
# section in a guest/tests/*.cfg, every host program a word in tests/kvm/host.cfg.  Prints what is forgotten.
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
# listed NAME CONFIGURATION...: does an uncommented line have the word?
listed() {
    name=$1
    shift
    sed '/^[[:space:]]*#/d' "$@" | grep -qwE "$name(\.elf)?"
}

for file in guest/tests/*.c; do
    listed "$(basename "$file" .c)" guest/tests/*.cfg || forgotten "$file" 'in no guest/tests/*.cfg'
done
for file in tests/kvm/host_*.c; do
    listed "$(basename "$file" .c)" tests/kvm/host.cfg || forgotten "$file" 'not in tests/kvm/host.cfg'
done
exit "$result"
