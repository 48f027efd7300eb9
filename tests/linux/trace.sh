#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# A boot of Linux traced with its registers: the counts agree with --stats, and the kernel, which has moved
# itself, is found by the symbols of another boot, when it was elsewhere.

# shellcheck source=tests/linux/guest.sh
. "$(dirname "$0")/guest.sh"

trace=$work/trace
symbols=$work/symbols

# holds NAME PATTERN: the report has such a line.
holds() {
    if grep -Eq "$2" "$work/result"; then
        pass "$1"
    else
        fail "$1" "no line '$2'"
        head -n 8 "$work/result"
    fi
}

# Where system calls go in the kernel whose symbols were told.
entry_of_symbols() {
    sed -n 's/ T entry_SYSCALL_64$//p' "$symbols"
}

start cloud-6.1 --memory 256M
await 1 ready
say "echo begin-sym''bols; grep -v '\\[' /proc/kallsyms | grep ' T ' | gzip | base64; echo end-sym''bols"
await 1 '^end-symbols'
say 'poweroff -f'
finish
tr -d '\r' <"$console" | sed -n '/^begin-symbols/,/^end-symbols/p' | sed '1d;$d' | base64 -d | gunzip >"$symbols"

start cloud-6.1 --stats --memory 256M --trace "$trace" --trace-regs
await 1 ready
say 'find / -xdev >/dev/null; poweroff -f'
finish
build/vkvm trace report --symbols "$symbols" "$trace" >"$work/result" 2>&1
holds 'all records of a boot are in the trace' '^  all of [0-9]* records$'
holds 'counts of a boot are those of --stats' '^  adds up$'
holds 'functions of a kernel that moved are found' '^  (clear_page|memset|__memset|memcpy|rep_stos)[a-z_0-9]* '
build/vkvm trace dump "$trace" >"$work/dump"
lstar=$(sed -n 's/.* entry lstar=0x//p' "$work/dump")
echo "system calls go to $lstar, in the boot that told its symbols to $(entry_of_symbols)"
if [ -n "$lstar" ] && [ "$lstar" != "$(entry_of_symbols)" ]; then
    pass 'the kernel is elsewhere than in the boot before'
else
    fail 'the kernel is elsewhere than in the boot before' "it is at '$lstar'"
fi
cat "$work/result"
[ "${1:-}" != out ] || { echo begin-trace && gzip <"$trace" | base64 && echo end-trace &&
    echo begin-map && gzip <"$symbols" | base64 && echo end-map; }
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
