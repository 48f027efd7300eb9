# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2034 # part of the other scripts
#
# A guest of initramfs.sh's and its console, for the scripts that run in the lane.

work=$(mktemp -d)
console=$work/console
passed=0
failed=0

pass() {
    passed=$((passed + 1))
    echo "PASS $1"
}

fail() {
    failed=$((failed + 1))
    echo "FAIL $1: $2"
}

# start KERNEL ARGS...: run it, with the console's output in $console; `say` is its input.
start() {
    kernel=$1
    shift
    : >"$console"
    rm -f "$work/input"
    mkfifo "$work/input"
    sleep 100000 <>"$work/input" & # keeps it open both ways: nobody waits there when the guest is gone
    holder=$!
    build/vkvm run --timeout "${seconds:-120}" --append "console=ttyS0 ${quiet-quiet}" \
        --initrd "${initrd:-linux/initramfs}" "$@" "linux/$kernel" <"$work/input" >"$console" 2>"$work/report" &
    guest=$!
}

# await N TEXT: it has come N times, or the run has ended, or $patience half seconds are over (two minutes).
await() {
    i=0
    while [ "$(grep -c -e "$2" "$console")" -lt "$1" ] && kill -0 "$guest" 2>/dev/null &&
        [ "$i" -lt "${patience:-240}" ]; do
        sleep 0.5
        i=$((i + 1))
    done
}

say() {
    echo "$1" >"$work/input"
}

# Wait for the end.  $status is vkvm's.
finish() {
    status=0
    wait "$guest" || status=$?
    kill "$holder" 2>/dev/null
    wait "$holder" 2>/dev/null
}

# A number of the report: the first that stands behind these words.
report() {
    sed -n "s/^ *$1  *\([0-9.]*\).*/\1/p" "$work/report" | head -n 1
}
