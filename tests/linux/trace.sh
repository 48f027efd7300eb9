#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Boots of Linux traced with their registers, the second by a kernel that unpacks and moves itself: the counts
# agree with --stats, where system calls go is what the kernel's own symbols say, and by that the symbols
# of the first are found in the second.

# shellcheck source=tests/linux/guest.sh
. "$(dirname "$0")/guest.sh"

# Digits of an address: its page of code, when what all have is left out.
page='s/.* rip=0xffffffff\([0-9a-f]\{5\}\)[0-9a-f]\{3\} .*/\1/p'

entry_of() {
    build/vkvm trace dump "$1" | sed -n 's/.* entry lstar=0x//p'
}

# Pages of the kernel's code that touched memory for the first time.
pages_of() {
    build/vkvm trace dump --vcpu 0 "$1" | sed -n "$page" | sort -u
}

# Each page moved by $1, hexadecimal digits: the difference of two addresses.
moved_by() {
    while read -r digits; do
        printf '%05x\n' $((((0x${digits}000 - $1) & 0xffffffff) >> 12))
    done
}

# boot NAME ARGS...: its trace and, as /proc/kallsyms has them, the symbols around the code in the trace and in
# $others.
boot() {
    trace=$work/$1
    name=$1
    shift
    start cloud-6.1 --stats --memory 128M --trace "$trace" --trace-regs "$@"
    await 1 ready
    entry=$(entry_of "$trace")
    # shellcheck disable=SC2046 # words; a terminal's line has 4095 bytes
    set -- $({ pages_of "$trace" && for digits in $others; do
        echo "$digits" | moved_by $((0x${other_entry#ffffffff} - 0x${entry#ffffffff}))
    done; } | sort -u | head -n 600)
    say "grep -B 1 -E ' entry_SYSCALL_64\$|^ffffffff($(echo "$@" | tr ' ' '|'))' /proc/kallsyms; poweroff -f"
    finish
    tr -d '\r' <"$console" | grep -E '^[0-9a-f]{16} [tTwW] ' >"$work/$name.symbols"
}

# whole NAME: all of it is recorded, and said the same twice.
whole() {
    build/vkvm trace report --symbols "$work/$1.symbols" "$work/$1" >"$work/result" 2>&1
    cat "$work/result"
    if grep -q '^  all of [0-9]* records$' "$work/result" && grep -q '^  adds up$' "$work/result"; then
        pass "$1: all records of a boot are in its trace, and their counts are those of --stats"
    else
        fail "$1: all records of a boot are in its trace, and their counts are those of --stats" "exit status $status"
    fi
    wanted=$(sed -n 's/ T entry_SYSCALL_64$//p' "$work/$1.symbols")
    if [ -n "$wanted" ] && [ "$entry" = "$wanted" ]; then
        pass "$1: where Linux's system calls go is recorded as its symbols have it"
    else
        fail "$1: where Linux's system calls go is recorded as its symbols have it" "'$entry', not '$wanted'"
        tail -n 3 "$console" "$work/report"
    fi
}

others=
boot moved --no-unpack
whole moved
others=$(pages_of "$work/moved")
other_entry=$entry
boot linked
whole linked
for name in moved linked; do
    build/vkvm trace dump --vcpu 0 --symbols "$work/$name.symbols" "$work/moved" >"$work/by.$name"
done
named=$(grep -c ' symbol=' "$work/by.linked")
echo "system calls go to $other_entry, as linked to $entry; $named of $(grep -c ' fault ' "$work/by.moved") faults have a symbol"
if [ "$other_entry" != "$entry" ] && [ "$named" -gt 50 ] && cmp -s "$work/by.moved" "$work/by.linked"; then
    pass 'symbols of a kernel as it was linked are found in one that has moved itself'
else
    fail 'symbols of a kernel as it was linked are found in one that has moved itself' \
        "$(diff "$work/by.moved" "$work/by.linked" | head -n 4)"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
