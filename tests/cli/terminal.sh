# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2034,SC2154 # part of run.sh
#
# The terminal's modes: whatever ends a run, or stops it, leaves them as they were.
# The guests wait for a key, which reaches them without a newline only while line
# editing is off.

# 1: in $0xe9,%al; cmp $0xff,%al; je 1b
await_key='\344\351\074\377\164\372'

# terminal NAME STATUS REGEX OPTIONS ARGS...: OPTIONS are words for pty, numbers are keys.
terminal() {
    name=$1 expected=$2 regex=$3 words=$4
    shift 4
    options=
    for word in $words; do
        case $word in
        [0-9]*) options="$options -k $word" ;;
        *) options="$options $word" ;;
        esac
    done
    # shellcheck disable=SC2086 # words
    timeout -k 5 60 "$build/tests/pty" $options "$vkvm" run "$@" </dev/null \
        >"$work/out" 2>"$work/err"
    status=$?
    if ! grep -q 'modes: restored' "$work/out"; then
        fail "$name" "the terminal's modes: $(sed -n 's/^modes: //p' "$work/out")"
    else
        judge "$name" "$expected" out "$regex"
    fi
}

# What ends a process by default ends the run, or the process, with the terminal restored.
test_terminal_signals() {
    for number in 1 2 3 10 12 14 15 16 24 26 27 29 30 64; do # HUP to PWR and RTMAX
        terminal "signal $number restores the terminal" $((128 + number)) \
            "ended by signal $number " "-s$number" "$work/spin"
    done
    for number in 4 5 6 7 8 11 31; do # ILL TRAP ABRT BUS FPE SEGV SYS
        terminal "a fault, signal $number, restores the terminal" $((128 + number)) '' \
            "-s$number" "$work/spin"
        terminal "a fault in another thread, signal $number, restores the terminal" \
            $((128 + number)) '' "-t$number" "$work/spin"
    done
}

test_terminal() {
    good
    filesize=22
    elf key "$await_key$(exit_code 7)"
    filesize=8
    elf keycrash "$await_key\\017\\013" # ud2, and there is no handler
    terminal 'a key reaches the guest at once, and its exit restores the terminal' 7 '' 120 \
        "$work/key"
    terminal 'Ctrl-C restores the terminal' 130 'ended by signal 2' 3 --escape none "$work/spin"
    terminal 'Ctrl-\ restores the terminal' 131 'ended by signal 3' 28 --escape none "$work/spin"
    terminal 'a timeout restores the terminal' 124 '' '' --timeout 1 "$work/spin"
    terminal 'a guest that crashes restores the terminal' 70 '' 120 "$work/keycrash"
    terminal 'a stopped run restores the terminal, and takes it again' 7 '' '26 120' --escape none "$work/key"
    terminal 'Ctrl-C after a stop restores the terminal' 130 'ended by signal 2' '26 26 3' \
        --escape none "$work/spin"
    terminal 'a run in the background leaves the terminal alone until it comes forward' 7 '' \
        '-b 120' "$work/key"
    terminal 'a run sent on in the background takes the terminal when it comes forward' 7 '' \
        '-g 1,122 120' "$work/key"
    terminal 'a run from the background stops and goes on' 7 '' '-b -g 1,122 120' "$work/key"
    if [ -n "${VKVM_LANE:-}" ]; then
        skip 'time and signals of a terminal' 'the lane is slow, and they are the same there'
        return
    fi
    terminal 'time spent stopped does not count for the timeout' 7 '' '-w2500 1,122 120' \
        --timeout 2 "$work/key"
    test_terminal_signals
}
