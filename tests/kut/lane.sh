#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# In the NPT lane, with both archives of archive.sh: run ENTRY... under both monitors, then print the
# results as run.sh -o writes them, each behind "RESULT ".  KUT_RUN is how run.sh is called.

echo 1 >/proc/sys/vm/overcommit_memory # QEMU reserves the 4 GiB that some entries ask for
results=/tmp/results
# shellcheck disable=SC2086 # a list of words
${KUT_RUN:-tests/kut/run.sh} -o "$results" suite vkvm qemu "$@" || :
sed 's/^/RESULT /' "$results"
