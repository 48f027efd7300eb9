# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2034,SC2154 # part of run.sh
#
# The escape key and the monitor, on a terminal.  Keys are given by their codes: 1 is Ctrl-a.

# codes TEXT: the keys of the text, and Enter.
codes() {
    printf '%s\r' "$1" | od -An -v -tu1 | tr -s ' \n' ',' | sed 's/^,//; s/,$//'
}

test_escape_usage() {
    for key in 1 aa ctrl- ''; do
        refused "--escape=$key is no key" 2 'is no key: give a letter' run "--escape=$key" "$work/exit"
    done
}

# The guest of terminal.sh ends with status 7 at its first key, whatever that is.
test_monitor() {
    terminal 'Ctrl-a x ends the VM and restores the terminal' 130 'ended from the keyboard' 1,120 \
        "$work/spin"
    terminal 'Ctrl-a Ctrl-a sends Ctrl-a' 7 '' 1,1 "$work/key"
    terminal 'Ctrl-C reaches the guest' 7 '' 3 "$work/key"
    terminal 'another escape key leaves Ctrl-a to the guest' 7 '' 1,120 --escape ctrl-b "$work/key"
    terminal 'another escape key ends the VM' 130 'ended from the keyboard' 2,120 --escape b \
        "$work/spin"
    terminal 'three Ctrl-C name the way out' 130 'Ctrl-a x ends the VM' 3,3,3,1,120 "$work/spin"
    terminal 'Ctrl-a h is help' 130 'Ctrl-a c is the monitor' 1,104,1,120 "$work/spin"
    for way in 'quit:ended from the monitor' 'stats,quit:messages by kind' 'help,quit:this list' \
        'nonsense,quit:unknown command nonsense' \
        'pause,pause,quit:paused already' 'pause again,quit:one word is enough'; do
        keys=1,99
        lines=${way%%:*}
        while [ -n "$lines" ]; do
            keys="$keys,$(codes "${lines%%,*}")"
            case $lines in
            *,*) lines=${lines#*,} ;;
            *) lines= ;;
            esac
        done
        terminal "the monitor: ${way%%:*}" 130 "${way#*:}" "$keys" "$work/spin"
    done
    terminal 'the monitor: a key is no key of the guest until cont' 7 '' \
        "1,99,$(codes cont),120" "$work/key"
    terminal 'the monitor: a paused guest takes its key when it goes on' 7 '' \
        "1,99,$(codes pause),1,99,120,1,99,$(codes cont)" "$work/key"
    terminal 'the monitor: a paused guest takes no key' 124 'paused: ' \
        "1,99,$(codes pause),1,99,120" --timeout 1 "$work/key"
}

# Every thread of a running VM has its filter, or with --no-sandbox none has.
confinement() {
    # shellcheck disable=SC2086 # no word, or one
    "$vkvm" run --cpus 2 --ram 8M --timeout 20 $2 "$work/spin" </dev/null >"$work/out" 2>"$work/err" &
    pid=$!
    tries=100
    while [ "$tries" -gt 0 ]; do
        cat /proc/"$pid"/task/*/status 2>/dev/null | grep '^Seccomp:' | sort | uniq -c >"$work/out"
        [ "$(wc -l <"$work/out")" -eq 1 ] && [ "$(awk '{ print $1 }' "$work/out")" -ge 4 ] &&
            grep -q "Seccomp:.*$3" "$work/out" && break
        tries=$((tries - 1))
        sleep 0.1
    done
    kill -TERM "$pid"
    wait "$pid"
    status=$?
    [ "$tries" -gt 0 ] || status=1
    judge "$1" 143 out "Seccomp:.*$3"
}

test_confinement() {
    if { "$vkvm" --version && "$vkvm" run "$work/exit" </dev/null; } 2>&1 | grep 'no sandbox' \
        >"$work/out"; then
        skip 'the sandbox' "$(head -n 1 "$work/out")"
        return
    fi
    confinement 'every thread of a VM is confined' '' 2
    confinement '--no-sandbox confines no thread' --no-sandbox 0
}
