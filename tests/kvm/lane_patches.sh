#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# In the NPT lane: was the kernel's code patched since tests/npt/init began to record that?  A line of the
# record names each patch, the stack below it who made it.

set -eu

record=/sys/kernel/tracing/instances/patches/trace
if [ ! -r "$record" ]; then
    echo 'FAIL record: the lane keeps none'
    exit 1
fi
cat "$record"
if grep -q ': text_poke' "$record"; then
    echo 'FAIL patched: the kernel was, which can hang the emulator'
    exit 1
fi
