# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2034,SC2154 # part of run.sh
#
# The terminal's modes: whatever ends a run, or stops it, leaves them as they were.
# The guests wait for a key, which reaches them without a newline only while line
# editing is off.

# 1: in $0xe9,%al; cmp $0xff,%al; je 1b
await_key='\344\351\074\377\164\372'

# terminal NAME STATUS REGEX KEYS ARGS...: KEYS are codes, pressed one after the other.
terminal() {
    name=$1 expected=$2 regex=$3 keys=$4
    shift 4
    codes=
    for key in $keys; do
        codes="$codes -k $key"
    done
    # shellcheck disable=SC2086 # words
    timeout -k 5 60 "$build/tests/pty" $codes "$vkvm" run "$@" </dev/null \
        >"$work/out" 2>"$work/err"
    status=$?
    if ! grep -q 'modes: restored' "$work/out"; then
        fail "$name" "the terminal's modes: $(sed -n 's/^modes: //p' "$work/out")"
    else
        judge "$name" "$expected" out "$regex"
    fi
}

test_terminal() {
    good
    filesize=22
    elf key "$await_key$(exit_code 7)"
    filesize=8
    elf keycrash "$await_key\\017\\013" # ud2, and there is no handler
    terminal 'a key reaches the guest at once, and its exit restores the terminal' 7 '' 120 \
        "$work/key"
    terminal 'Ctrl-C restores the terminal' 130 'ended by signal 2' 3 "$work/spin"
    terminal 'Ctrl-\ restores the terminal' 131 'ended by signal 3' 28 "$work/spin"
    terminal 'a timeout restores the terminal' 124 '' '' --timeout 1 "$work/spin"
    terminal 'a guest that crashes restores the terminal' 70 '' 120 "$work/keycrash"
    terminal 'a stopped run restores the terminal, and takes it again' 7 '' '26 120' "$work/key"
    terminal 'Ctrl-C after a stop restores the terminal' 130 'ended by signal 2' '26 26 3' \
        "$work/spin"
}
