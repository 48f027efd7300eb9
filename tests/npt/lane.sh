#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Run a command in the NPT lane: a Debian kernel with KVM on AMD SVM and nested
# paging, on QEMU's software CPU.  Needs no KVM here.
#
#   tests/npt/lane.sh [-d DIRECTORY] [-m MB] [-t SECONDS] [-a ARCHIVE.cpio]...
#                     [-c] [-i] [-k] [-s] -- COMMAND [ARGUMENT...]
#
#   -d  where `make npt` put the kernel and the initramfs (build/npt)
#   -m  memory of the machine (2048)
#   -t  longest time it may take, boot included (3000); 0: no limit
#   -a  one more archive (cpio, newc) unpacked in / of the machine, behind the
#       cached one: files of the same name replace those; may be repeated
#   -c  count instructions: each one of the machine's takes a nanosecond of its time,
#       and nothing else does, so that its clocks say the same on every host.  Two
#       processors in one thread, of which the command has one
#   -i  standard input is the lane's console; Ctrl-] and x switch the machine off
#   -k  keep the files of this run, say where they are, and put QEMU's monitor there
#   -s  translate in a single thread: slower, but right when the command makes the
#       kernel patch itself, which init keeps it from, or runs a guest that does
#
# The console is copied to standard output as it comes.  The exit status is the
# command's; 124 after the time is up, 125 when the machine ended without
# reporting a status (a panic, for example).

set -eu

dir=build/npt
memory=2048
seconds=3000
keep=
monitor=none
accel=tcg
cpu=max,-cx16
cpus=3
parameters=
archives=
input=
serial=stdio

usage() {
    echo 'usage: lane.sh [-d DIRECTORY] [-m MB] [-t SECONDS] [-a ARCHIVE.cpio]... [-c] [-i] [-k] [-s] -- COMMAND [ARGUMENT...]' >&2
    exit 2
}

# Words as one line that a shell reads back as the same words.
quoted() {
    for word; do
        printf "'%s' " "$(printf '%s\n' "$word" | sed "s/'/'\\\\''/g")"
    done
    echo
}

while getopts d:m:t:a:ciks option; do
    case $option in
    d) dir=$OPTARG ;;
    m) memory=$OPTARG ;;
    t) seconds=$OPTARG ;;
    a)
        if [ ! -r "$OPTARG" ]; then
            echo "lane.sh: cannot read the archive $OPTARG" >&2
            exit 2
        fi
        archives="$archives $(quoted "$OPTARG")"
        ;;
    c)
        accel='tcg,thread=single -icount shift=0,sleep=off'
        # Without these the kernel clears and copies a page by `rep stosq` and `rep movsq`; with them
        # each byte would count.
        cpu=$cpu,-erms,-fsrm
        cpus=2
        parameters=lane_counts=yes # init's environment
        ;;
    i)
        input=yes
        serial=mon:stdio
        ;;
    k) keep=yes ;;
    s) accel=tcg,thread=single ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || usage
if [ ! -f "$dir/initramfs" ] || [ ! -f "$dir/kernel/vmlinuz" ]; then
    echo "lane.sh: no kernel or initramfs in $dir; run: make npt" >&2
    exit 2
fi

if ! command -v qemu-system-x86_64 >/dev/null 2>&1; then
    echo "lane.sh: there is no qemu-system-x86_64 in PATH; install Debian's qemu-system-x86" >&2
    exit 127
fi

modes= # of the terminal
run=$(mktemp -d "${TMPDIR:-/tmp}/vkvm-lane.XXXXXX")
# shellcheck disable=SC2317 # called by the trap
clean() {
    [ -z "$modes" ] || stty "$modes" <&3 || :
    [ -n "$keep" ] || rm -rf "$run"
}
trap clean EXIT
# shellcheck source=tests/child.sh
. "$(dirname "$0")/../child.sh"

if [ -n "$keep" ]; then
    monitor=unix:$run/monitor,server=on,wait=off
    echo "lane.sh: files of this run: $run" >&2
fi

# The command travels in an archive of its own behind the cached one.
mkdir "$run/root"
for word; do
    printf "'%s' " "$(printf '%s\n' "$word" | sed "s/'/'\\\\''/g")"
done >"$run/root/command"
echo >>"$run/root/command"
(cd "$run/root" && echo command | cpio -o -H newc -R 0:0 --quiet) >"$run/command.cpio"
eval "set -- $archives"
cat "$dir/initramfs" "$@" "$run/command.cpio" >"$run/initrd"

echo "lane: $(sed -n 's/^Package: //p' "$dir/kernel/version"), QEMU's software CPU with SVM and nested paging" >&2
start=$(date +%s)
if [ -n "$input" ]; then
    exec 3<&0
    # QEMU changes them before it heeds signals, and after that may be killed.
    modes=$(stty -g <&3 2>/dev/null) || modes=
else
    exec 3</dev/null
fi
# no_ipi_broadcast: else the kernel patches itself when the last processor has come on (see init).
# no_timer_check: else a kernel that saw no ten ticks in time, on a busy machine, has "no timer" and panics.
# -cx16: QEMU 7.2 leaves an operand's bits in the flags behind cmpxchg16b, and Linux 6.12 as a guest
# dies of that (docs/hosts.md).
# --foreground: it may read from the terminal.
# shellcheck disable=SC2086 # -accel's words
run_child timeout --foreground -k 10 "$seconds" qemu-system-x86_64 \
    -accel $accel -cpu "$cpu" -smp "$cpus" -m "$memory" -nodefaults -display none -no-reboot \
    -serial "$serial" -echr 29 -serial "file:$run/status" -monitor "$monitor" \
    -kernel "$dir/kernel/vmlinuz" -initrd "$run/initrd" \
    -append "console=ttyS0 quiet panic=-1 oops=panic maxcpus=1 no_ipi_broadcast=1 no_timer_check $parameters"
ended=$status

status=$(tr -d '\r\n' <"$run/status")
if [ "$ended" -eq 124 ] ||
    { [ "$seconds" -gt 0 ] && [ $(($(date +%s) - start)) -ge "$seconds" ]; }; then
    echo "lane.sh: not done after $seconds seconds" >&2
    exit 124
fi
case $status in
'' | *[!0-9]*)
    echo "lane.sh: the machine ended without a status (QEMU: $ended)" >&2
    exit 125
    ;;
esac
exit "$status"
