#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Check docs/locking.md: no name means two locks, and each lock in vmm/ stands there under the
# name that its field's comment begins with.  Prints what is not so.

set -eu

table=docs/locking.md
result=0
work=$(mktemp -d "${TMPDIR:-/tmp}/vkvm-locks.XXXXXX")
trap 'rm -rf "$work"' EXIT

wrong() {
    echo "$1"
    result=1
}

# Rows `| NAME | `STRUCT.FIELD` ...` as "NAME STRUCT.FIELD".
# shellcheck disable=SC2016 # the backticks are meant
sed -nE 's/^\| ([A-Za-z]+) \| `([a-z_]+\.[a-z_.]+)` .*/\1 \2/p' "$table" | sort >"$work/rows"

for column in 1 2; do
    cut -d ' ' -f "$column" "$work/rows" | sort | uniq -d >"$work/twice"
    while read -r name; do
        wrong "$table: $name stands there twice"
    done <"$work/twice"
done

# Fields as "FILE NAME FIELD"; vm_lock.h only wraps what the host has.
grep -rE '^ +(struct vm_mutex|struct vm_rwlock|pthread_mutex_t|pthread_rwlock_t) [a-z_]+;' vmm \
    --include='*.[ch]' | grep -v '^vmm/vpagetable/vm_lock.h:' |
    sed -E 's,^([^:]*):.* ([a-z_]+); */\* ([A-Za-z]+)[ ,:;].*,\1 \3 \2,' >"$work/fields"
[ -s "$work/fields" ] || wrong "no lock was found in vmm/"
while read -r file name field; do
    grep -qE "^$name [a-z_.]+\.$field\$" "$work/rows" ||
        wrong "$file: no row of $table has the name \"$name\" for $field"
done <"$work/fields"

exit "$result"
