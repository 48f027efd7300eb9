#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# gdb itself on Debian's kernel, as docs/gdb.md says: what it shows must come in its order.

# shellcheck disable=SC2016 # the guest's shell expands it
# shellcheck source=tests/linux/guest.sh
. "$(dirname "$0")/guest.sh"

socket=$work/gdb

# debug NAME PATTERNS: gdb does what standard input says, with the kernel's symbols as variables, and
# each pattern matches a line behind the one before it.
debug() {
    {
        printf 'set pagination off\nset confirm off\nset architecture i386:x86-64\n'
        cat "$work/symbols"
        echo "target remote $socket"
        cat
    } >"$work/script"
    timeout -k 5 "${gdb_seconds:-60}" gdb -nx -batch -x "$work/script" </dev/null >"$work/gdb.out" 2>&1
    from=1
    missing=
    while read -r pattern; do
        at=$(tail -n "+$from" "$work/gdb.out" | grep -nE -m 1 -e "$pattern" | cut -d : -f 1)
        if [ -z "$at" ]; then
            missing=$pattern
            break
        fi
        from=$((from + at))
    done <<PATTERNS
$2
PATTERNS
    if [ -z "$missing" ]; then
        pass "$1"
    else
        fail "$1" "gdb did not say: $missing"
        sed 's/^/    /' "$work/gdb.out"
    fi
}

# shows N TEXT NAME: the guest's console does.
shows() {
    await "$1" "$2"
    if grep -q -e "$2" "$console"; then
        pass "$3"
    else
        fail "$3" "the console does not show: $2"
    fi
}

: >"$work/symbols"
start cloud-6.1 --cpus 2 --memory 256M --gdb "$socket" --gdb-wait
while [ ! -S "$socket" ]; do
    sleep 0.1
done
sleep 1
if [ -s "$console" ]; then
    fail 'Linux does not run before gdb came' 'its console has said something'
else
    pass 'Linux does not run before gdb came'
fi
debug 'a processor that is not started yet is a thread' '^. 1 +Thread 1 \(vCPU 0
^. 2 +Thread 2 \(vCPU 1
^moved 1
^cr0 +0x11
detached' <<'SCRIPT'
info threads
set $before = $pc
stepi
printf "moved %d\n", $pc != $before
info registers cr0
detach
SCRIPT

if [ "$failed" -ne 0 ]; then
    kill "$guest"
    finish
    exit 1
fi
await 1 ready
say "grep -E ' (linux_banner|jiffies|init_uts_ns|__x64_sys_sethostname)\$' /proc/kallsyms"
await 2 ready
tr -d '\r' <"$console" | sed -n 's/^\([0-9a-f]\{16\}\) . \(.*\)/set $\2 = 0x\1/p' >"$work/symbols"

# The guest stands still when the line is sent, so it comes to the breakpoint afterwards.
debug 'gdb breaks, steps, watches, reads and writes in a running kernel' '^. 1 +Thread 1 \(vCPU 0
^. 2 +Thread 2 \(vCPU 1
^0x.*Linux version 6
^Breakpoint 1 at
hit Breakpoint 1, 
^here 1
^after 2 steps 1
^Hardware watchpoint 2
hit Hardware watchpoint 2
^Old value = 40
^New value = 102
^Hardware assisted breakpoint 3
hit Breakpoint 3
^name .*"foo"
^jiffies went on 1
SIGINT
^wrote .*"gdb"
detached' <<SCRIPT
info threads
x/s \$linux_banner
set \$was = *(unsigned long *)\$jiffies
break *\$__x64_sys_sethostname
shell echo 'hostname foo' >$work/input
continue
printf "here %d\n", \$pc == \$__x64_sys_sethostname
stepi
stepi
printf "after 2 steps %d\n", \$pc > \$__x64_sys_sethostname && \$pc < \$__x64_sys_sethostname + 32
delete
watch *(char *)(\$init_uts_ns + 65)
continue
delete
hbreak *\$__x64_sys_sethostname
shell echo 'hostname bar' >$work/input
continue
printf "name "
x/s \$init_uts_ns + 65
printf "jiffies went on %d\n", *(unsigned long *)\$jiffies != \$was
delete
shell (sleep 2; kill -INT \$PPID) &
continue
set {char [4]}(\$init_uts_ns + 65) = "gdb"
printf "wrote "
x/s \$init_uts_ns + 65
detach
SCRIPT
say 'echo name: $(hostname).'
shows 1 '^name: gdb\.' 'what gdb wrote the kernel reads'

debug 'gdb attaches again, and leaves a breakpoint behind' 'hit Breakpoint 1, 
detached' <<SCRIPT
break *\$__x64_sys_sethostname
shell echo 'hostname one' >$work/input
continue
detach
SCRIPT
say 'hostname two; echo name: $(hostname).'
shows 1 '^name: two\.' 'the breakpoint is gone after that'
say 'dmesg -r | grep "^<[0-3]>"; poweroff -f'
finish
if [ "$status" -eq 0 ] && ! grep -q -e 'BUG' -e 'WARNING' -e 'stall' -e 'Oops' "$console"; then
    pass 'Linux switches off in good order'
else
    fail 'Linux switches off in good order' "exit status $status"
    tail -n 20 "$console" "$work/report"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
