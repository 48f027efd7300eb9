# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2154 # part of run.sh
#
# gdb itself, scripted, on the tiny kernel: what a person does with --gdb.
#
# The kernel runs in ring 0 here, where every KVM stops at breakpoints (docs/gdb.md).

# Most end with `kill`, which is quicker than the kernel's own end and gives 128 + 9.

vkernel="$guests/vkernel.elf"
symbols=

# debugged NAME STATUS REGEX ARGS...: a run that waits for gdb, which does what standard input says;
# the run's exit status, and a pattern for each of gdb's lines that must come, in their order, one a line.
debugged() {
    : "${symbols:=$vkernel}"
    name=$1 expected=$2 patterns=$3
    shift 3
    { printf 'set pagination off\nset confirm off\ntarget remote %s\n' "$work/gdb.sock"; cat; } \
        >"$work/script"
    : >"$work/out"
    timeout -k 5 60 "$vkvm" run --timeout 40 --gdb "$work/gdb.sock" "$@" </dev/null \
        >"$work/guest" 2>"$work/err" &
    await_socket
    timeout -k 5 40 gdb -nx -batch -x "$work/script" "$symbols" </dev/null >"$work/out" 2>&1
    wait $!
    status=$?
    if [ "$status" -ne "$expected" ]; then
        fail "$name" "exit status $status, expected $expected"
    elif ! in_order "$patterns" "$work/out"; then
        fail "$name" "gdb did not say: $missing"
    else
        pass "$name"
    fi
}

await_socket() {
    i=0
    while [ ! -S "$work/gdb.sock" ] && [ "$i" -lt 200 ]; do
        sleep 0.05
        i=$((i + 1))
    done
}

# in_order PATTERNS FILE: each pattern matches a line behind the one before it; $missing is the first
# that does not.
in_order() {
    from=1
    while read -r missing; do
        at=$(tail -n "+$from" "$2" | grep -nE -m 1 -e "$missing" | cut -d : -f 1)
        [ -n "$at" ] || return 1
        from=$((from + at))
    done <<PATTERNS
$1
PATTERNS
}

test_gdb_options() {
    for text in '' 70000 -1 localhost:1 127.0.0.1: '[::1]' 1.2.3:4; do
        refused "gdb at no place: '$text'" 2 'no place to listen' run --gdb="$text" "$work/spin"
    done
    refused 'gdb at a path too long' 2 'too long for a Unix socket' \
        run --gdb="/$(printf '%0120d' 0)" "$work/spin"
    refused 'waiting for gdb that cannot come' 2 'without --gdb' run --gdb-wait "$work/spin"
    refused 'gdb in a directory that is not there' 125 'cannot listen for gdb' \
        run --gdb="$work/nowhere/sock" "$work/spin"
}

test_gdb_waits() {
    run run --timeout 0.3 --gdb "$work/gdb.sock" --gdb-wait "$vkernel"
    judge 'a run that waits for gdb ends by its time-out' 124 err '300 ms'
    if [ -s "$work/out" ]; then
        fail 'nothing runs before gdb came' 'the guest has written'
    else
        pass 'nothing runs before gdb came'
    fi
    if [ -e "$work/gdb.sock" ]; then
        fail 'the socket is removed at the end' 'it is still there'
    else
        pass 'the socket is removed at the end'
    fi
}

test_gdb_looks() {
    symbols=$guests/hello.elf
    debugged 'gdb breaks, steps, reads and writes, and sees the end' 7 '^Breakpoint 1, guest_main
^pc before 0x[0-9a-f]+
^pc after 0x[0-9a-f]+
^moved 1
^rax 0x1234
^memory 0x1122334455667788
^cr3 0x2000
^Hardware assisted breakpoint 2
^Breakpoint 2, console_write
0x[0-9a-f]+.*:
exited with code 07' --gdb-wait "$guests/hello.elf" -- status=7 <<'SCRIPT'
break guest_main
continue
printf "pc before 0x%lx\n", $pc
set $before = $pc
stepi
printf "pc after 0x%lx\n", $pc
printf "moved %d\n", $pc != $before
set $saved = $rax
set $rax = 0x1234
printf "rax 0x%lx\n", $rax
set $rax = $saved
set {long}($sp - 256) = 0x1122334455667788
printf "memory 0x%lx\n", {long}($sp - 256)
printf "cr3 0x%lx\n", $cr3
hbreak console_write
continue
x/2gx $sp
delete
continue
SCRIPT
    symbols=
}

test_gdb_monitor() {
    debugged 'monitor shows map, chain, walk, statistics' 137 '^map +
^0x0+-0x.* memory object
^vCPU 0, 4-level
^guest-physical 0x200000
^page 512 of the object, resident
^0: object .* zero-fill
 faults taken by the engine
^ring 0: step yes, breakpoints
does not know .frobnicate
give a linear address
give a guest-physical address
^nothing is mapped
^not mapped
killed' --gdb-wait "$vkernel" -- kernel=ring0 <<'SCRIPT'
monitor help
monitor map
monitor walk 0x200000
monitor chain 0x200000
monitor stats
monitor abilities
monitor frobnicate
monitor walk
monitor chain here
monitor chain 0x900000000
monitor walk 0x8000000000
kill
SCRIPT
}

# A look changes no counter, however often and wherever; a write counts as the debugger's.
test_gdb_leaves_no_trace() {
    debugged 'a read leaves no trace and a write is the debuggers' 137 '^before
^ +0  written to by a debugger
^0x3f00000:.*0x0+
^after
^same 1
^ +1  written to by a debugger
killed' --gdb-wait "$vkernel" -- kernel=ring0 <<SCRIPT
echo before\n
monitor stats
set logging file $work/one
set logging redirect on
set logging enabled on
monitor stats
set logging enabled off
x/600bx 0x3f00000
x/8gx 0x3f01ff0
set logging file $work/two
set logging enabled on
monitor stats
set logging enabled off
echo after\n
shell cmp -s $work/one $work/two && echo same 1
set {char}0x3f00000 = 1
monitor stats
kill
SCRIPT
}

test_gdb_threads() {
    debugged 'vCPUs are threads, one can step while the other stays' 137 '^. 1 +Thread 1 \(vCPU 0
^. 2 +Thread 2 \(vCPU 1
^Thread [12] hit Breakpoint 1
^.Switching to thread 2
^other stayed 1
killed' --gdb-wait --cpus 2 "$vkernel" -- kernel=ring0 <<'SCRIPT'
info threads
break guest_main
continue
thread 1
set $one = $pc
thread 2
set scheduler-locking on
stepi
stepi
thread 1
printf "other stayed %d\n", $pc == $one
set scheduler-locking off
kill
SCRIPT
}

# Nobody waits at the start: gdb comes while the guest runs, stops it, goes, and comes again.
test_gdb_comes_and_goes() {
    cat >"$work/again" <<SCRIPT
target remote $work/gdb.sock
printf "rip 0x%lx\n", \$pc
shell (sleep 0.3; kill -INT \$PPID) &
continue
printf "again 0x%lx\n", \$pc
kill
SCRIPT
    cp "$work/spin" "$work/forever"
    debugged 'gdb interrupts, detaches, attaches again, kills' 137 '^rip 0x200000
SIGINT
^interrupted 0x200000
detached
^rip 0x200000
SIGINT
^again 0x200000' "$work/forever" <<SCRIPT
printf "rip 0x%lx\n", \$pc
shell (sleep 0.3; kill -INT \$PPID) &
continue
printf "interrupted 0x%lx\n", \$pc
detach
source $work/again
SCRIPT
}

test_gdb_watch() {
    debugged 'gdb stops where a watched word changes' 137 '^Hardware watchpoint 1: main_ready
^Old value = 0
^New value = 1
killed' --gdb-wait --cpus 2 "$vkernel" -- kernel=ring0 <<'SCRIPT'
watch main_ready
continue
kill
SCRIPT
    if grep -q '^ring 0.*watchpoints yes' "$work/abilities"; then
        skip 'a watched read that KVM cannot watch is refused' "this host's KVM can"
        return
    fi
    for watch in rwatch awatch; do
        debugged "a watched read that KVM cannot watch is refused: $watch" 0 'Could not insert' \
            --gdb-wait "$guests/hello.elf" <<SCRIPT
$watch *(long *)0x300000
continue
SCRIPT
    done
}

# Others would see it: the file keeps its bytes.
test_gdb_shared() {
    if ! grep -q '^ring 0.*, breakpoints yes' "$work/abilities"; then
        skip 'a breakpoint in a shared file is refused' "this host's KVM stops there by steps: nothing is written"
        return
    fi
    cp "$work/spin" "$work/shared"
    debugged 'a breakpoint in a shared file is refused, a byte of it is read' 0 '^byte 127
Cannot (insert breakpoint|access memory)' --gdb-wait \
        --map "gpa=0x1000000000,size=4K,file=$work/shared,shared" "$guests/hello.elf" <<'SCRIPT'
printf "byte %d\n", *(unsigned char *)0x1000000000
break *0x1000000000
continue
SCRIPT
    kept 'a file that gdb looked at' "$work/shared"
}

# What this host's KVM can do, to $work/abilities.
ask_abilities() {
    debugged 'gdb asks what KVM can do' 0 '^ring 0
^ring 3' --gdb-wait "$guests/hello.elf" <<'SCRIPT'
monitor abilities
detach
SCRIPT
    cp "$work/out" "$work/abilities"
}

test_gdb() {
    if ! command -v gdb >/dev/null 2>&1; then
        skip 'everything with gdb' 'there is no gdb here'
        return
    fi
    ask_abilities
    test_gdb_waits
    test_gdb_looks
    test_gdb_monitor
    test_gdb_leaves_no_trace
    test_gdb_threads
    test_gdb_comes_and_goes
    test_gdb_watch
    test_gdb_shared
}
