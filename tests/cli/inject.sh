# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2034,SC2154 # part of run.sh
#
# Sourced by run.sh: --inject, as its user sees it.  tests/unit/test_options.c has what it refuses.

test_inject_usage() {
    refused 'an injected fault without an end' 2 'no range: give two addresses' \
        run --inject gpa=0x1000,do=eio "$work/exit"
    refused 'an injected fault of a byte' 2 'multiples of 0x1000' \
        run --inject gpa=0x1000-0x1001,do=eio "$work/exit"
    refused 'an injected fault of no kind' 2 'give eio, deny or delay:TIME' \
        run --inject gpa=0-4K,do=panic "$work/exit"
}

test_inject_runs() {
    run run --inject gpa=0x200000-0x201000,do=delay:1us --trace="$work/t" --stats "$guests/hello.elf"
    judge 'an injected fault stands in the report' 0 err \
        '^  gpa=0x200000-0x201000,do=delay:1us: [1-9][0-9]* of [1-9]'
    "$vkvm" trace dump "$work/t" >"$work/out" 2>"$work/err"
    status=$?
    judge 'an injected fault stands in the trace' 0 out ' read 0x200000 .*injected=1 delay=1'
    run run --inject gpa=0x200000-0x201000,do=delay:1us --json "$guests/hello.elf"
    judge 'an injected fault stands in the JSON' 0 err \
        '"injections":\[\{"rule":"gpa=0x200000-0x201000,do=delay:1us","matched":[1-9][0-9]*,"injected":[1-9]'
    run run --inject gpa=0x3000000-0x3001000,nth=2,do=eio "$guests/hello.elf"
    judge 'a rule that nothing comes to is told' 0 err "did nothing: 0 faults were of that kind\$"
    run run --timeout 0.3 --inject gpa=0x200000-0x201000,do=delay:60s "$guests/hello.elf"
    judge 'a fault that is slow ends with the VM' 124 err '^vkvm: .*300 ms'
}
