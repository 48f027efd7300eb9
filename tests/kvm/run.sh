#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Run the guest test images and the host_* programs under KVM.
#
#   tests/kvm/run.sh [-b BUILD_DIRECTORY] [-t SECONDS] [NAME...]
#
#   -b  where the programs are (build)
#   -t  longest time one test may take (300)
#   NAME limits the run to these tests
#
# tests.cfg, next to this script, says how each image runs and what it must do.
# An image without a line there fails, and so does a line without an image.
# Exit status 77 of an image or program means: cannot be tested on this host.
# Success needs at least one test that passed and none that failed.

set -eu

build=build
seconds=300

usage() {
    echo 'usage: run.sh [-b BUILD_DIRECTORY] [-t SECONDS] [NAME...]' >&2
    exit 2
}

while getopts b:t: option; do
    case $option in
    b) build=$OPTARG ;;
    t) seconds=$OPTARG ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))

config=$(dirname "$0")/tests.cfg
names=" $* "
passed=0
failed=0
skipped=0
checks=0
unusable=
work=$(mktemp -d "${TMPDIR:-/tmp}/vkvm-kvm.XXXXXX")
output=$work/output
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# pass NAME: with how many checks it made (PASS lines of a guest, tests of Criterion), and how long
# it took if that is worth a word.
pass() {
    made=$(grep -c '^PASS' "$output") || :
    [ "$made" -gt 0 ] || made=$(sed -n 's/.*Synthesis: Tested: \([0-9]*\).*/\1/p' "$output")
    echo "PASS $1${made:+ ($made checks)}${took:+ in $took s}"
    checks=$((checks + ${made:-0}))
    passed=$((passed + 1))
}

skip() {
    echo "SKIP $1: $2"
    skipped=$((skipped + 1))
}

# fail NAME REASON: with what the test printed.
fail() {
    echo "FAIL $1: $2"
    sed 's/^/    | /' "$output"
    failed=$((failed + 1))
}

wanted() {
    case $names in
    '  ' | *" $1 "*) return 0 ;;
    *) return 1 ;;
    esac
}

trim() {
    printf '%s\n' "$1" | sed -e 's/^[[:space:]]*//' -e 's/[[:space:]]*$//'
}

# run COMMAND...: its output to $output, its exit status to $status.  A command that
# takes too long ends by SIGTERM or SIGKILL: 124 with one timeout, 143 or 137 with another.
run() {
    status=0
    start=$(date +%s)
    timeout -k 5 "$seconds" "$@" </dev/null >"$output" 2>&1 || status=$?
    case $status in
    137 | 143) status=124 ;;
    esac
    took=$(($(date +%s) - start))
    [ "$took" -ge 5 ] || took=''
}

# judge NAME EXPECTED-STATUS REGEX
judge() {
    if [ "$status" -eq 77 ] && [ "$2" -ne 77 ]; then
        skip "$1" "$(sed -n 's/^SKIP [^:]*: //p' "$output" | head -n 1)"
    elif [ "$status" -eq 124 ] && [ "$2" -ne 124 ]; then
        fail "$1" "not done after $seconds seconds"
    elif [ "$status" -ne "$2" ]; then
        fail "$1" "exit status $status, expected $2"
    elif [ -n "$3" ] && ! grep -qE -e "$3" "$output"; then
        fail "$1" "no output matches: $3"
    elif [ "$2" -eq 0 ] && grep -q '^FAIL' "$output"; then
        fail "$1" 'a check failed'
    else
        pass "$1"
    fi
}

# run_image FILE OPTIONS: options after "--" are the guest's arguments.  @ in an option
# is the directory for its files, new for each run; data in it has lines of 16 characters.
# shellcheck disable=SC2086 # lists of words
run_image() {
    options=$(printf '%s\n' "$2" | sed "s|@|$work/files|g")
    rm -rf "$work/files"
    mkdir "$work/files"
    yes 0123456789abcde | head -c 41060 >"$work/files/data"
    case " $options " in
    *' -- '*) run "$build/vkvm" run ${options%%-- *} "$1" -- ${options#*-- } ;;
    *) run "$build/vkvm" run $options "$1" ;;
    esac
}

# test_image NAME OPTIONS EXPECTED-STATUS REGEX
test_image() {
    title=$1${2:+ $2}
    image=$build/guest/tests/$1.elf
    [ -f "$image" ] || image=$build/guest/$1.elf
    if [ ! -f "$image" ]; then
        : >"$output"
        fail "$title" "no image of this name in $build/guest"
    elif [ -n "$unusable" ]; then
        skip "$title" "$unusable"
    else
        run_image "$image" "$2"
        judge "$title" "${3:-0}" "$4"
    fi
}

# Is there a line for this image?
listed() {
    sed -e '/^[[:space:]]*#/d' -e 's/^[!+] //' -e 's/|.*//' "$config" | tr -s '[:space:]' '\n' | grep -qx "$1"
}

test_program() {
    if [ -n "$unusable" ]; then
        skip "$1" "$unusable"
    else
        run "$build/tests/$1"
        judge "$1" 0 ''
    fi
}

# What tests/npt/init recorded since further processors came on: a line of the record names each
# patch of the kernel's code, the stack below it who made it.
test_lane() {
    if ! cat /sys/kernel/tracing/instances/patches/trace >"$output" 2>&1; then
        fail "$1" 'the lane keeps no record'
    elif grep -q ': text_poke' "$output"; then
        fail "$1" 'the kernel was patched, which can hang the emulator'
    else
        took=''
        pass "$1"
    fi
}

unusable=$("$build/host_check") || unusable=${unusable:-host_check failed}

while IFS='|' read -r images options expected regex; do
    case $images in
    '#'*) continue ;;
    esac
    native='' long=''
    case $images in
    '! '*) native=yes images=${images#! } ;;
    '+ '*) long=yes images=${images#+ } ;;
    esac
    for name in $images; do
        if ! wanted "$name"; then
            continue
        elif [ -n "$native" ] && [ -n "${VKVM_LANE:-}" ]; then
            skip "$name $(trim "$options")" 'takes minutes on an emulated processor'
        elif [ -n "$long" ] && [ -z "${VKVM_SOAK:-}" ]; then
            continue # make soak runs it
        else
            test_image "$name" "$(trim "$options")" "$(trim "$expected")" "$(trim "$regex")"
        fi
    done
done <"$config"

for image in "$build"/guest/tests/*.elf; do
    name=$(basename "$image" .elf)
    if [ -f "$image" ] && wanted "$name" && ! listed "$name"; then
        : >"$output"
        fail "$name" 'no line in tests.cfg'
    fi
done

for program in "$build"/tests/host_*; do
    name=$(basename "$program")
    if [ -x "$program" ] && wanted "$name"; then
        test_program "$name"
    fi
done

if [ -n "${VKVM_LANE:-}" ] && wanted lane_kernel_is_never_patched; then
    test_lane lane_kernel_is_never_patched
fi

echo "$passed passed, $failed failed, $skipped skipped ($checks checks)"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
