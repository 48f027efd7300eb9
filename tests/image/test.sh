#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# What `make run-linux` and `make run IMAGE=...` promise, with one boot of Debian's kernel.
#
#   tests/image/test.sh -b BUILD_DIRECTORY -d LANE_DIRECTORY

set -eu

arguments=
# shellcheck source=tests/image/options.sh
. "$(dirname "$0")/options.sh"

lane_seconds=300 # it takes some 30
pages_min=10000  # 40 MiB: less than Linux needs to reach its shell
passed=0
failed=0
work=$(mktemp -d "${TMPDIR:-/tmp}/vkvm-image.XXXXXX")
output=$work/output
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# check NAME CONDITION...: a command that must succeed.
check() {
    name=$1
    shift
    if "$@"; then
        echo "PASS $name"
        passed=$((passed + 1))
    else
        echo "FAIL $name"
        sed 's/^/    | /' "$output"
        failed=$((failed + 1))
    fi
}

# run COMMAND...: its status to $status, what it says to $output, without the lane's carriage returns.
run() {
    status=0
    "$@" </dev/null >"$work/raw" 2>&1 || status=$?
    tr -d '\r' <"$work/raw" >"$output"
}

booted() {
    [ "$status" -eq 0 ] && grep -qx 'the shell has 1 processor' "$output" &&
        grep -q 'ended by: .*exit status 0' "$output"
}

filled() {
    pages=$(sed -n 's/^ *pages zero-filled, prefaulted ones included *//p' "$output")
    [ "${pages:-0}" -ge "$pages_min" ] && grep -q 'faults by kind: .*: adds up' "$output" &&
        grep -q 'messages by kind: .*: adds up' "$output"
}

agrees() {
    sed -n '/^vkvm trace check/,/agree$/p' "$output" >&2
    grep -qx 'they agree' "$output"
}

adds_up() {
    grep -q '^  all of [0-9]* records$' "$output" && grep -qx '  adds up' "$output"
}

# says STATUS TEXT: the last line but make's.
says() {
    [ "$status" -eq "$1" ] && tail -n 1 "$output" | grep -q "$2"
}

# shellcheck disable=SC2016 # the guest expands it
COMMANDS='echo "the shell has $(grep -c ^processor /proc/cpuinfo) processor"' \
    run "$here/linux.sh" -b "$build" -d "$dir" -l "-t $lane_seconds" \
    -c '$VKVM trace check /tmp/trace; $VKVM trace report /tmp/trace' -- --trace /tmp/trace --trace-kernel
check debians_kernel_boots_to_a_shell_and_switches_off booted
check its_memory_came_from_vm_fault filled
check the_record_and_the_kernels_own_events_agree agrees
check report_and_stats_count_the_same adds_up

# await PROCESS TEXT: until it has said so, in a file of its own: what the one before said is no sign of this one.
await() {
    while ! grep -q "$2" "$work/said" && kill -0 "$1" 2>/dev/null; do
        sleep 0.2
    done
}

# ended PROCESS: a signal now, and its exit status.
ended() {
    kill "$1"
    status=0
    wait "$1" || status=$?
    tr -d '\r' <"$work/said" >"$output"
}

# Where a signal waited for the lane's end, that would be the end of its time.
: >"$work/said"
COMMANDS='sleep 1000' "$here/linux.sh" -b "$build" -d "$dir" -l "-t $lane_seconds" </dev/null >>"$work/said" 2>&1 &
linux=$!
await "$linux" 'QEMU'
ended "$linux"
at_once() {
    [ "$status" -eq 143 ] && ! grep -q 'not done after' "$output"
}
check a_signal_ends_the_lane_at_once at_once

# As a copy of the shell does before its exec.
cat >"$work/parent" <<END
exec 3</dev/null
. "$here/../child.sh"
run_child sh -c 'trap "heard=yes" TERM; echo begun; until [ "\${heard:-}" ]; do sleep 0.1; done
    trap - TERM; echo forgotten; exec sleep 20'
END
: >"$work/said"
sh -eu "$work/parent" >>"$work/said" 2>&1 &
parent=$!
await "$parent" begun
ended "$parent"
again() {
    [ "$status" -eq 143 ] && grep -qx forgotten "$output"
}
check a_signal_that_a_child_forgot_is_sent_again again

# One that heeds no signal is ended.
cat >"$work/parent" <<END
exec 3</dev/null
. "$here/../child.sh"
stop_tries=1
run_child sh -c 'trap "" TERM; echo begun; exec sleep 1000'
END
: >"$work/said"
sh -eu "$work/parent" >>"$work/said" 2>&1 &
parent=$!
await "$parent" begun
ended "$parent"
killed() {
    [ "$status" -eq 143 ]
}
check a_child_that_heeds_no_signal_is_killed killed

# on_a_terminal OPTIONS...: begin run-linux on one of its own, and do what tests/cli/pty.c's options say as soon as the
# lane has it.
on_a_terminal() {
    run timeout "$lane_seconds" "$build/tests/pty" "$@" "$here/linux.sh" -b "$build" -d "$dir" -l "-t $lane_seconds"
}

# ends STATUS: with the terminal as it was before.
ends() {
    [ "$status" -eq "$1" ] && grep -qx 'modes: restored' "$output"
}

on_a_terminal -k 29,120
check ctrl_bracket_and_x_switch_the_lane_off ends 125
on_a_terminal -s 2
check an_interrupt_ends_the_lane_and_gives_the_terminal_back ends 130

run "$here/run.sh" -b "$build" -d "$dir" "$work/missing"
check an_image_that_is_not_there_is_said_in_a_line says 127 'give an image with IMAGE=FILE'
run "$here/run.sh" -b "$build" -d "$dir" "$work"
check a_directory_is_no_image says 127 'is a directory'

run env PATH="$work" /bin/sh "$here/../npt/lane.sh" -d "$dir" -- true
check without_qemu_a_line_says_what_to_install says 127 "install Debian's qemu-system-x86"

mkdir "$work/lists"
cat >"$work/apt.conf" <<END
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "$work/lists";
END
APT_CONFIG=$work/apt.conf run "$here/../npt/kernel.sh" "$work/kernel"
check without_debians_kernel_a_line_says_what_to_do says 1 'KERNEL_DEB=FILE'

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
