# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2034,SC2154 # part of run.sh
#
# Sourced by run.sh: --trace and its options, as far as the run is concerned.

test_trace_usage() {
    refused 'a trace without a name' 2 'no name: give a file' run --trace= "$work/exit"
    refused 'a limit without a trace' 2 'no use without --trace' run --trace-limit=4M "$work/exit"
    refused 'a trace that is off, and none' 2 'no use without --trace' run --trace-off "$work/exit"
    refused "the kernel's events, and no trace" 2 'no use without --trace' run --trace-kernel "$work/exit"
    refused 'a limit too small' 2 'give 1M to 1T' run --trace="$work/t" --trace-limit=4K "$work/exit"
    refused 'a limit that keeps the middle' 2 'give SIZE,first or SIZE,last' \
        run --trace="$work/t" --trace-limit=4M,mid "$work/exit"
}

test_trace_files() {
    for file in /dev/null "$work" "$work/none/t"; do
        refused "a trace to $(basename "$file")" 125 'trace .*: give --trace another file' \
            run --trace="$file" "$guests/hello.elf"
    done
    if ! command -v flock >/dev/null; then
        skip 'a trace that another VM writes' 'no flock here'
        return
    fi
    : >"$work/t"
    flock "$work/t" timeout -k 5 60 "$vkvm" run --trace="$work/t" "$guests/hello.elf" \
        </dev/null >"$work/out" 2>"$work/err"
    status=$?
    judge 'a trace that another VM writes' 125 err '^vkvm: .*in use: another VM writes it'
}

# A disk that has room for the header and no more: the guest does not notice.
test_trace_full() {
    mkdir "$work/full"
    if ! mount -t tmpfs -o size=4K tmpfs "$work/full" 2>/dev/null; then
        skip 'a trace on a full disk' 'a small disk cannot be mounted here'
        return
    fi
    run run --trace="$work/full/t" "$guests/hello.elf"
    umount "$work/full"
    if [ "$(grep -c 'trace cannot be written.*No space left' "$work/err")" -ne 1 ]; then
        fail 'a trace on a full disk' 'not exactly one line that says so'
    else
        judge 'a trace on a full disk does not end the run' 0 out '^hello'
    fi
}

# SIGUSR1 ends a run without a trace, and switches a trace on and off.
test_trace_signal() {
    begin --trace="$work/t" --trace-off
    for count in 1 2 3 4 5 6; do
        kill -USR1 "$pid" 2>/dev/null
        tries=50 # a signal that comes before the one before it was taken would be none
        while [ "$tries" -gt 0 ] &&
            [ "$("$vkvm" trace dump "$work/t" 2>/dev/null | grep -c ' switch ')" -lt "$count" ]; do
            tries=$((tries - 1))
            sleep 0.1
        done
    done
    kill -TERM "$pid"
    wait "$pid"
    status=$?
    judge 'SIGUSR1 does not end a run with a trace' 143 err 'ended by signal 15'
    switched 'SIGUSR1 switches a trace on and off' 'on=1,on=0,on=1,on=0,on=1,on=0'
}

# switched NAME STATES: recording was switched so, and each fault that was recorded was under way at some
# moment between an on and an off.
switched() {
    "$vkvm" trace dump "$work/t" >"$work/out" 2>"$work/err"
    states=$(sed -n 's/.* switch .*\(on=[01]\)$/\1/p' "$work/out" | tr '\n' ',')
    if [ "$states" != "$2," ]; then
        fail "$1" "it was switched $states"
    elif ! awk '/ switch .*on=1$/ { on[++n] = $2; off[n] = 1e9 }
            / switch .*on=0$/ { off[n] = $2 }
            / fault / { begun[++faults] = $2; match($0, /[0-9.]+us/)
                        ended[faults] = $2 + substr($0, RSTART, RLENGTH - 2) / 1e6 }
            END {
                for (i = 1; i <= faults; i++) {
                    for (k = 1; k <= n && (ended[i] < on[k] - 1e-8 || begun[i] > off[k]); k++)
                        continue
                    if (k > n)
                        exit 1
                }
            }' "$work/out"; then
        fail "$1" 'a fault was recorded while it was off'
    else
        pass "$1"
    fi
}

# By the monitor, on a terminal: 1,99 is its key.
test_trace_monitor() {
    terminal 'the monitor: trace switches a trace on' 130 'tracing: .trace. again switches it off' \
        "1,99,$(codes trace)$(codes trace | sed 's/^/,/')$(codes quit | sed 's/^/,/')" \
        --trace "$work/t" --trace-off "$work/spin"
    switched 'the monitor switches a trace on and off' 'on=1,on=0'
    terminal 'the monitor: trace without a file says how to get one' 130 'run with --trace FILE' \
        "1,99,$(codes trace)$(codes quit | sed 's/^/,/')" "$work/spin"
}

# A number of milliseconds below 1000, by chance.
any_ms() {
    od -An -N2 -tu2 /dev/urandom | awk '{ printf "%03d", $1 % 1000 }'
}

# killed ROUND: what a VM that is killed at some moment leaves can be read.  Sets $why where not.
killed() {
    rm -f "$work/killed"
    "$vkvm" run --trace="$work/killed" --trace-regs "$guests/vkernel.elf" >/dev/null 2>&1 </dev/null &
    pid=$!
    until [ -s "$work/killed" ] || ! kill -0 "$pid" 2>/dev/null; do
        sleep 0.01
    done
    sleep "0.$(any_ms)"
    kill -9 "$pid"
    wait "$pid" 2>/dev/null
    [ $? -eq 137 ] || return 0 # it was quicker
    run trace report "$work/killed"
    if [ "$status" -ne 0 ] && ! grep -q 'records could be read' "$work/err"; then
        why="exit status $status: $(head -n 1 "$work/err")"
    elif ! grep -q "the VM's end is not in the file" "$work/out"; then
        why="round $1: $(head -n 2 "$work/out" | tail -n 1)"
    fi
}

# VKVM_KILLS: how often; tests/soak.sh has more of them.
test_trace_killed() {
    why=
    for round in $(seq "${VKVM_KILLS:-10}"); do
        killed "$round"
        [ -z "$why" ] || break
    done
    if [ -z "$why" ]; then
        pass 'the trace of a VM that is killed at any moment can be read'
    else
        fail 'the trace of a VM that is killed at any moment can be read' "$why"
    fi
}

# The kernel's own events: the record agrees with them, or a line says why there are none.
test_trace_kernel() {
    agree="vkernel's record and the kernel's own events agree"
    run run --trace="$work/t" --trace-kernel "$guests/hello.elf"
    if [ -s "$work/err" ]; then
        if [ "$(wc -l <"$work/err")" -ne 1 ]; then
            fail "without the kernel's events the run goes on" 'not exactly one line on standard error'
        else
            judge "without the kernel's events the run goes on" 0 err \
                "^vkvm: the trace will be without the kernel's events: "
        fi
        why=$(sed 's/.*events: //' "$work/err")
        run trace check "$work/t"
        if grep -qF -e "no events of the kernel's: $why" "$work/err"; then
            pass 'the trace says why it has no events of the kernel'
        else
            fail 'the trace says why it has no events of the kernel' "not: $why"
        fi
        skip "$agree" "$why"
        return
    fi
    timeout -k 5 200 "$vkvm" run --trace="$work/t" --trace-kernel "$guests/vkernel.elf" -- only=fork \
        </dev/null >"$work/out" 2>"$work/err"
    status=$?
    judge "vkernel with the kernel's events" 0 out '^[0-9]+ passed, 0 failed'
    run trace check "$work/t"
    sed 's/^/    | /' "$work/out"
    judge "$agree" 0 out '^they agree$'
    run trace report "$work/t"
    judge "a report of vkernel's trace adds up" 0 out '^  adds up$'
    left=$(find /sys/kernel/tracing/instances -maxdepth 1 -name 'vkvm-*')
    if [ -n "$left" ]; then
        fail 'no instance of tracefs is left behind' "$left"
    else
        pass 'no instance of tracefs is left behind'
    fi
}

# located WHAT IMAGE ARGUMENT...: each fault of a vCPU has its registers.
located() {
    what=$1
    shift
    timeout -k 5 200 "$vkvm" run --trace="$work/t" --trace-regs "$@" </dev/null >"$work/out" 2>"$work/err"
    status=$?
    judge "$what with registers" 0 out '^[0-9]+ passed, 0 failed'
    "$vkvm" trace dump "$work/t" 2>"$work/err" | grep -E '^[0-9]+ [0-9.]+ vcpu[0-9]+ fault ' >"$work/faults"
    grep -v ' rip=0x' "$work/faults" >"$work/out"
    if [ -s "$work/faults" ] && [ ! -s "$work/out" ]; then
        pass "$what: each fault of a vCPU has its registers"
    else
        fail "$what: each fault of a vCPU has its registers" \
            "$(wc -l <"$work/out") of $(wc -l <"$work/faults") have not"
    fi
}

# Messages; and accesses that KVM emulates or fails for.
test_trace_registers() {
    located 'vkernel' "$guests/vkernel.elf" -- only=fork
    located 'refused_write' "$guests/tests/refused_write.elf"
}

test_trace_runs() {
    accepted 'hello with a trace' 0 '^hello' run --trace="$work/t" "$guests/hello.elf"
    accepted 'hello with a trace of the last faults' 0 '^hello' \
        run --trace="$work/t" --trace-limit=1M,last "$guests/hello.elf"
    test_trace_files
    test_trace_full
    test_trace_signal
    test_trace_monitor
    test_trace_killed
    test_trace_registers
    test_trace_kernel
}
