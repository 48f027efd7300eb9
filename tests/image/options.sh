# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2034 # part of the other scripts
#
# What the scripts here are given: sets $build, $dir, $lane_options and $command, and leaves the arguments behind them.
# $arguments is what those are.

usage() {
    echo "usage: ${0##*/} -b BUILD_DIRECTORY -d LANE_DIRECTORY [-l LANE_OPTIONS] [-c COMMAND]${arguments:+ $arguments}" >&2
    exit 2
}

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
if [ -z "$build" ] || [ -z "$dir" ]; then
    usage
fi
