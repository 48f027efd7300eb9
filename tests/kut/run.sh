#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Run kvm-unit-tests' images under vkvm and under QEMU on the same KVM, each result a line for
# table.sh.  (vkvm test runs them without QEMU.)
#
#   tests/kut/run.sh [-b BUILD_DIRECTORY] [-t SECONDS] [-o FILE] [-v] DIRECTORY {vkvm|qemu}... [ENTRY...]
#
#   -b  where vkvm is (build)
#   -t  longest time of an entry, where the suite itself gives no shorter one (40)
#   -o  append a line for each result to FILE: entry|monitor|outcome|seconds|what it said
#   -v  print what the images print
#   DIRECTORY  where kvm-unit-tests was built; entries are those of its x86/unittests.cfg,
#              all that it runs by default unless named
#
# An outcome is what the image itself writes to port 0xf4: pass, fail, skip, abort; or "reset" (it ended
# in a triple fault, for example), "time" (not done in time), "kvm" (KVM could not emulate an
# instruction), "n/a" (a condition of the suite's own is not met), or the monitor's exit status.
# Exit status 0: of the entries that ran none failed.

set -eu

build=build
seconds=40
results=
verbose=
here=$(dirname "$0")

usage() {
    echo 'usage: run.sh [-b BUILD_DIRECTORY] [-t SECONDS] [-o FILE] [-v] DIRECTORY {vkvm|qemu}... [ENTRY...]' >&2
    exit 2
}

while getopts b:t:o:v option; do
    case $option in
    b) build=$OPTARG ;;
    t) seconds=$OPTARG ;;
    o) results=$OPTARG ;;
    v) verbose=yes ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))
[ $# -ge 2 ] || usage
suite=$1
shift
if [ ! -f "$suite/x86/unittests.cfg" ] || [ ! -f "$suite/x86/smptest.flat" ]; then
    echo "run.sh: $suite is no kvm-unit-tests built for x86: no x86/unittests.cfg or no x86/*.flat;" \
        "in its directory run: ./configure && make" >&2
    exit 2
fi
monitors=
while [ $# -gt 0 ]; do
    case $1 in
    vkvm | qemu) monitors="$monitors $1" ;;
    *) break ;;
    esac
    shift
done
[ -n "$monitors" ] || usage
wanted=" $* "

PATH=$PATH:/usr/bin # not in the NPT lane's
case $monitors in
*qemu*)
    if ! command -v qemu-system-x86_64 >/dev/null; then
        echo 'run.sh: no qemu-system-x86_64 here; install: qemu-system-x86' >&2
        exit 2
    fi
    ;;
esac

work=$(mktemp -d "${TMPDIR:-/tmp}/vkvm-kut.XXXXXX")
output=$work/output
running=
# shellcheck disable=SC2317 # called by the trap
clean() {
    [ -z "$running" ] || kill "$running" 2>/dev/null || :
    rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Hundredths of a second.
now() {
    sed 's/\.\([0-9]*\) .*/\1/' /proc/uptime
}

# cpu_off QEMU-LIST: vkvm's options for what a list such as "qemu64,+umip,-pcid" takes away.  What it
# adds is there if KVM offers it.
cpu_off() {
    for word in $(printf '%s' "$1" | tr ',' ' '); do
        case $word in
        -tsc-deadline) echo '--cpu tsc_deadline_timer=off' ;;
        -x2apic | -pcid | -invpcid | -pku | -npt | -rdtscp | -xsave) echo "--cpu ${word#-}=off" ;;
        esac
    done
}

# vkvm_options CPUS QEMU-OPTIONS: vkvm run's for the same machine.
# shellcheck disable=SC2086 # a list of words
vkvm_options() {
    memory=128M
    printf '%s\n' "--cpus $1"
    set -- $2
    while [ $# -gt 0 ]; do
        case $1 in
        -m) memory=$(printf '%s' "$2" | sed -e 's/g$/G/' -e 's/\([0-9]\)$/\1M/') ;;
        -cpu) cpu_off "$2" ;;
        esac
        shift
    done
    printf '%s\n' "--memory $memory"
}

# QEMU says that KVM gave up and waits for somebody to look: end it then.
end_at_internal_error() {
    while sleep 0.5; do
        if grep -q 'KVM internal error' "$output"; then
            kill "$1" 2>/dev/null || :
            return
        fi
    done
}

# run COMMAND...: output to $output, exit status to $status.
run() {
    timeout -k 5 "$limit" "$@" </dev/null >"$output" 2>&1 &
    running=$!
    end_at_internal_error "$running" &
    watching=$!
    status=0
    wait "$running" || status=$?
    running=
    kill "$watching" 2>/dev/null || :
    case $status in
    137 | 143) status=124 ;;
    esac
}

# shellcheck disable=SC2046,SC2086 # lists of words
run_vkvm() {
    reset=75
    run "$build/vkvm" run $(vkvm_options "$cpus" "$options") ${arguments:+--append "$arguments"} "$image"
}

# shellcheck disable=SC2086 # lists of words
qemu() {
    run qemu-system-x86_64 --no-reboot -nodefaults -global kvm-pit.lost_tick_policy=discard \
        -device pc-testdev -device isa-debug-exit,iobase=0xf4,iosize=0x4 -display none \
        -serial stdio -device pci-testdev -machine accel=kvm -kernel "$image" -smp "$cpus" \
        ${arguments:+-append "$arguments"} $1
}

# QEMU 7.2 copies what KVM offers of IA32_ARCH_CAPABILITIES and stops when KVM does not take it back.
run_qemu() {
    reset=0
    qemu "$options"
    if grep -q 'failed to set MSR 0x10a' "$output"; then
        qemu "$(printf '%s' "$options" | sed 's/-cpu \(max\|host\)/&,arch-capabilities=off/')"
    fi
}

# The suite's condition: files and what they must hold.
condition() {
    for pair in $1; do
        if [ ! -f "${pair%%=*}" ] || [ "$(cat "${pair%%=*}")" != "${pair#*=}" ]; then
            echo "${pair%%=*} is not ${pair#*=}"
            return 1
        fi
    done
}

# QEMU's own errors have the status of a pass: nothing but its complaints came out then.  And it ends
# with that of a reset when it is stopped after KVM gave up.
outcome() {
    if grep -q 'KVM internal error\|KVM cannot emulate' "$output"; then
        echo kvm
        return
    fi
    case $status in
    1)
        if grep -qv '^qemu-system-x86_64: ' "$output"; then
            echo pass
        else
            echo 'exit 1'
        fi
        ;;
    3) echo fail ;;
    77) echo skip ;;
    127) echo abort ;;
    124) echo time ;;
    "$reset") echo reset ;;
    *) echo "exit $status" ;;
    esac
}

# What it said of itself: the summary, and where that is no verdict the last line.
said() {
    tr -d '\r\000|' <"$output" >"$work/lines"
    fails=$(grep -c '^FAIL' "$work/lines") || :
    summary=$(sed -n 's/^SUMMARY: //p' "$work/lines" | tail -n 1)
    [ "$fails" -eq 0 ] || [ -n "$summary" ] || summary="$fails FAIL lines"
    last=
    case $1 in
    pass | fail | skip) ;;
    *)
        last=$(grep -v -e '^[[:space:]]*$' -e 'terminating on signal' -e 'ended by signal' "$work/lines" |
            tail -n 1 | cut -c1-160) || :
        ;;
    esac
    echo "$summary${summary:+${last:+; }}$last"
}

# result MONITOR OUTCOME HUNDREDTHS SAID
result() {
    time=$(($3 / 100)).$(printf '%02d' $(($3 % 100)))
    printf '%-36s %-5s %-8s %7s s  %s\n' "$entry" "$1" "$2" "$time" "$4"
    [ -z "$results" ] || printf '%s|%s|%s|%s|%s\n' "$entry" "$1" "$2" "$time" "$4" >>"$results"
    case $2 in
    pass) passed=$((passed + 1)) ;;
    skip | n/a) skipped=$((skipped + 1)) ;;
    *) failed=$((failed + 1)) ;;
    esac
}

# run_entry MONITOR
run_entry() {
    if ! why=$(condition "$check"); then
        result "$1" n/a 0 "$why"
        return
    fi
    start=$(now)
    "run_$1"
    took=$(($(now) - start))
    # Where timeout is another one, it tells what the monitor made of the signal: QEMU ends with 0.
    [ "$took" -lt $((limit * 100)) ] || status=124
    verdict=$(outcome)
    result "$1" "$verdict" "$took" "$(said "$verdict")"
    [ -z "$verbose" ] || sed 's/^/    | /' "$output"
}

is_wanted() {
    case $wanted in
    '  ') case " $groups " in *' nodefault '*) return 1 ;; esac ;;
    *" $entry "*) ;;
    *) return 1 ;;
    esac
}

passed=0
failed=0
skipped=0
awk -f "$here/entries.awk" "$suite/x86/unittests.cfg" >"$work/entries"
while IFS='|' read -r entry file cpus limit groups check arguments options <&3; do
    is_wanted || continue
    # shellcheck disable=SC2016 # the suite's text
    arguments=$(printf '%s' "$arguments" | sed "s/\`date +%s\`/$(date +%s)/")
    image=$suite/x86/$file
    if [ -z "$limit" ] || [ "$limit" -gt "$seconds" ]; then
        limit=$seconds
    fi
    for monitor in $monitors; do
        run_entry "$monitor"
    done
done 3<"$work/entries"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
