# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2034 # part of the other scripts
#
# A command that a signal ends, for scripts that wait for one: a shell that runs a command itself heeds
# signals only when that has ended.
#
# A signal finds the child however young it is.  Before its exec it is a copy of this shell, whose traps take a
# signal that is forgotten then: so it is sent again.

running=
stop_tries=15 # 2 s apart

# run_child COMMAND...: its exit status to $status.  Its standard input is file 3.
run_child() {
    running=yes
    "$@" <&3 3<&- &
    status=0
    wait "$!" || status=$?
    running=
}

# stop_child PID: ask it to end until it is gone, and end it when it had time enough to leave all in order.
# shellcheck disable=SC2317 # called by stop
stop_child() {
    tries=0
    while kill "$1" 2>/dev/null; do
        tries=$((tries + 1))
        [ "$tries" -le "$stop_tries" ] || kill -KILL "$1" 2>/dev/null || :
        sleep 2
    done
}

# stop STATUS: end the child, wait for its end, as it may have a terminal to put in order, and exit.
# Since "$!" changes with the fork itself, there is no time at which a child is there and not known.
# shellcheck disable=SC2317 # called by the traps
stop() {
    trap '' INT TERM HUP
    if [ -n "$running" ]; then
        child=${!:-none}
        stop_child "$child" &
        wait "$child" || :
    fi
    exit "$1"
}

trap 'stop 130' INT
trap 'stop 143' TERM HUP
