#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# A boot of Linux traced with its registers: the counts agree with --stats, and where its system calls go is
# what its own symbols say, by which a kernel that has moved itself is found.

# shellcheck source=tests/linux/guest.sh
. "$(dirname "$0")/guest.sh"

trace=$work/trace

start cloud-6.1 --stats --memory 128M --trace "$trace" --trace-regs
await 1 ready
say 'grep -w entry_SYSCALL_64 /proc/kallsyms; poweroff -f'
finish
build/vkvm trace report "$trace" >"$work/result" 2>&1
cat "$work/result"
if grep -q '^  all of [0-9]* records$' "$work/result" && grep -q '^  adds up$' "$work/result"; then
    pass 'all records of a boot are in its trace, and their counts are those of --stats'
else
    fail 'all records of a boot are in its trace, and their counts are those of --stats' "exit status $status"
fi
recorded=$(build/vkvm trace dump "$trace" | sed -n 's/.* entry lstar=0x//p')
wanted=$(tr -d '\r' <"$console" | sed -n 's/^\([0-9a-f]\{16\}\) T entry_SYSCALL_64$/\1/p')
if [ -n "$wanted" ] && [ "$recorded" = "$wanted" ]; then
    pass "where Linux's system calls go is recorded as its symbols have it"
else
    fail "where Linux's system calls go is recorded as its symbols have it" "'$recorded', not '$wanted'"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
