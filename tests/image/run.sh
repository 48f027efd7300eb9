#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Run an image under vkvm: here, or in the NPT lane where this host cannot, with one line that says why.
#
#   tests/image/run.sh -b BUILD_DIRECTORY -d LANE_DIRECTORY [-l LANE_OPTIONS] [-c COMMAND] IMAGE [ARGUMENT...]
#
# COMMAND is run afterwards in the same place, with $VKVM as the program.
#
# The arguments are options of `vkvm run`, and behind "--" the guest's.  Regular files that they
# name, alone or as in `--initrd=FILE` and `file=FILE,ro`, are taken into the lane.  A terminal on
# standard input is the guest's there too; what else comes from it is read to its end first.
# The exit status is vkvm's.

set -eu

[ -e /proc/self/fd/0 ] || exec </dev/null
arguments='IMAGE [ARGUMENT...]'
# shellcheck source=tests/image/options.sh
. "$(dirname "$0")/options.sh"
[ $# -gt 0 ] || usage
image=$1
shift

refuse() {
    echo "vkvm: $1: give an image with IMAGE=FILE" >&2
    exit 127
}

[ -e "$image" ] || refuse "there is no image '$image'"
[ ! -d "$image" ] || refuse "'$image' is a directory"
[ -f "$image" ] || refuse "'$image' is not a file"
[ -r "$image" ] || refuse "the image '$image' cannot be read"

# The options come before the image, what follows "--" behind it.
quote() {
    printf "'%s' " "$(printf '%s\n' "$1" | sed "s/'/'\\\\''/g")"
}
options='' words='' behind=''
for word; do
    if [ "$word" = -- ]; then
        behind=yes
    fi
    if [ -n "$behind" ]; then
        words="$words$(quote "$word")"
    else
        options="$options$(quote "$word")"
    fi
done

work=$(mktemp -d "${TMPDIR:-/tmp}/vkvm-run.XXXXXX")
trap 'rm -rf "$work"' EXIT
exec 3<&0
# shellcheck source=tests/child.sh
. "$here/../child.sh"

native="\"\$build/vkvm\" run $options $(quote "$image") $words"

# What only a second stage can run is refused before it begins, or when KVM meets an instruction that it does
# not know, in a line with the reason.
# shellcheck disable=SC2094,SC2317 # written by tee, then read; called by eval
native_if_possible() {
    mkfifo "$work/errors"
    tee "$work/refusal" <"$work/errors" >&2 &
    copying=$!
    run_child "$@" 2>"$work/errors"
    wait "$copying"
    ! grep -q -e "which this host's KVM cannot run" -e 'KVM cannot emulate the instruction' "$work/refusal"
}

if ! why=$("$build/host_check"); then
    echo "vkvm: ${why:-this host cannot run guests}; using the NPT lane instead" >&2
elif grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo; then
    eval "run_child $native"
    VKVM=$build/vkvm sh -c "$command"
    exit "$status"
elif eval "native_if_possible $native"; then
    VKVM=$build/vkvm sh -c "$command"
    exit "$status"
else
    echo 'vkvm: using the NPT lane instead' >&2
fi

# take FILE: into the lane, under the name it has here.
take() {
    case $1 in
    /*) to=$work/root/files$1 ;; # the lane mounts something on /tmp, for example
    *) to=$work/root/vkvm/$1 ;;
    esac
    mkdir -p "$(dirname "$to")"
    cp "$1" "$to"
}

# Each part of a word that may be a file's name.
take_parts() {
    printf '%s\n' "$1" | tr ',' '\n' | sed 's/^[a-z-]*=//' | while IFS= read -r part; do
        if [ -f "$part" ]; then
            take "$part"
        elif [ -b "$part" ]; then
            echo "vkvm: the NPT lane has no $part of yours, only files: copy it into one" >&2
            exit 1
        fi
    done
}

run_child "$here/../npt/prepare.sh" -d "$dir" -b "$build" "$build/vkvm" "$build/vkvm-trace" "$build/host_check" "$build/lane_hold"
[ "$status" -eq 0 ] || exit "$status"
mkdir "$work/root"
mkdir -p "$work/root/files"
take "$image"
for word; do
    take_parts "$word"
done
if [ -t 0 ]; then
    lane_options="-i -t 0 $lane_options"
    input=/dev/ttyS0
    echo 'vkvm: Ctrl-] and x end the lane' >&2
else
    run_child "$here/input.sh" >"$work/root/input"
    input=/input
fi
(cd "$work/root" && find . | cpio -o -H newc -R 0:0 --quiet) >"$work/files.cpio"

# shellcheck disable=SC2086 # a list of words
run_child "$here/../npt/lane.sh" -d "$dir" -a "$work/files.cpio" $lane_options -- \
    sh -c "cp -r /files/. / && rm -r /files
        setsid -c build/vkvm run $options $(quote "$image") $words <$input
        status=\$?
        export VKVM=build/vkvm
        $command
        exit \$status"
exit "$status"
