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

usage() {
    echo 'usage: run.sh -b BUILD_DIRECTORY -d LANE_DIRECTORY [-l LANE_OPTIONS] [-c COMMAND] IMAGE [ARGUMENT...]' >&2
    exit 2
}

[ -e /proc/self/fd/0 ] || exec </dev/null
here=$(dirname "$0")
build='' dir='' lane_options='' command=:
while getopts b:d:l:c: option; do
    case $option in
    b) build=$OPTARG ;;
    d) dir=$OPTARG ;;
    l) lane_options=$OPTARG ;;
    c) command=$OPTARG ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))
if [ -z "$build" ] || [ -z "$dir" ] || [ $# -eq 0 ]; then
    usage
fi
image=$1
shift
if [ ! -f "$image" ]; then
    echo "vkvm: there is no image '$image': give one with IMAGE=FILE" >&2
    exit 127
fi

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
trap 'exit 130' INT
trap 'exit 143' TERM HUP

native() {
    ended=0
    eval "\"\$build/vkvm\" run $options $(quote "$image") $words" || ended=$?
    VKVM=$build/vkvm sh -c "$command"
    return "$ended"
}

# What only a second stage can run is refused before it begins, in a line with the reason.
# shellcheck disable=SC2094 # written by tee, then read
native_if_possible() {
    {
        { native 2>&1 >&3 3>&- || echo $? >"$work/status"; } | tee "$work/refusal" >&2
    } 3>&1
    ! grep -q "which this host's KVM cannot run" "$work/refusal"
}

if ! why=$("$build/host_check"); then
    echo "vkvm: ${why:-this host cannot run guests}; using the NPT lane instead" >&2
elif grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo; then
    rm -rf "$work"
    trap - EXIT
    status=0
    native || status=$?
    exit "$status"
else
    status=0
    echo 0 >"$work/status"
    if native_if_possible; then
        exit "$(cat "$work/status")"
    fi
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

"$here/../npt/prepare.sh" -d "$dir" -b "$build" "$build/vkvm" "$build/vkvm-trace" "$build/host_check" "$build/lane_hold"
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
    "$here/input.sh" >"$work/root/input"
    input=/input
fi
(cd "$work/root" && find . | cpio -o -H newc -R 0:0 --quiet) >"$work/files.cpio"

status=0
# shellcheck disable=SC2086 # a list of words
"$here/../npt/lane.sh" -d "$dir" -a "$work/files.cpio" $lane_options -- \
    sh -c "cp -r /files/. / && rm -r /files
        setsid -c build/vkvm run $options $(quote "$image") $words <$input
        status=\$?
        export VKVM=build/vkvm
        $command
        exit \$status" || status=$?
exit "$status"
