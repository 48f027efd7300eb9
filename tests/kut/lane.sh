#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# In the NPT lane, with both archives of archive.sh: run ENTRY... under both monitors and print each
# result, as run.sh -o writes them, behind "RESULT " when it is there: an entry may end the lane.  KUT_RUN is how
# run.sh is called.

echo 1 >/proc/sys/vm/overcommit_memory # QEMU reserves the 4 GiB that some entries ask for
results=/tmp/results
: >"$results"
tail -f "$results" | while read -r line; do
    echo "RESULT $line"
done &
# shellcheck disable=SC2086 # a list of words
${KUT_RUN:-tests/kut/run.sh} -o "$results" suite vkvm qemu "$@" || :
sleep 2 # for the last one
