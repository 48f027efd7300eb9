#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Check the sources.  `make lint` calls it with the compilers' flags.
#
#   PROGRAM=... SOURCES=... HOST_FLAGS=... GUEST_FLAGS=... tests/lint/run.sh [STEP...]
#
# Without STEP all of them; -STEP, and nothing else, all but that one.
#
#   sources   the folders' sources.mk name every source, guest/tests/*.cfg every test image
#   spdx      every source names its licence
#   seed      docs/seed.md names functions and tests that exist
#   locks     each lock stands in docs/locking.md under one name, which is its own
#   layers    the arrows between directories point down
#   libraries vkvm is linked with what run needs
#   headers   every header compiles alone, with gcc and with clang
#   warnings  no source makes gcc or clang warn
#   format    clang-format would change nothing
#   tidy      clang-tidy finds nothing
#   cppcheck  cppcheck finds nothing
#   shell     shellcheck finds nothing in the scripts
#   manual    mandoc finds nothing in the manual page

set -eu

here=$(dirname "$0")
jobs=$(nproc)
passed=0
failed=0
output=$(mktemp "${TMPDIR:-/tmp}/vkvm-lint.XXXXXX")
trap 'rm -f "$output"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

sources() {
    find "$@" -name '*.c' | sort
}

headers() {
    find "$@" -name '*.h' | sort
}

# each COMMAND...: run it with every file named on standard input, several at once.
each() {
    xargs -r -n 1 -P "$jobs" "$@"
}

# shellcheck disable=SC2086 # a list of words
step_sources() {
    "$here/sources.sh" $SOURCES
}

step_spdx() {
    "$here/spdx.sh"
}

step_seed() {
    "$here/seed.sh"
}

step_locks() {
    "$here/locks.sh"
}

step_layers() {
    "$here/layers.sh"
}

step_libraries() {
    "$here/libraries.sh" "$PROGRAM"
}

# shellcheck disable=SC2086 # flags are lists of words
step_headers() {
    headers vmm tests | each gcc $HOST_FLAGS -Werror -fsyntax-only -x c /dev/null -include
    headers guest | each gcc $GUEST_FLAGS -Werror -fsyntax-only -x c /dev/null -include
    headers vmm tests | each clang $HOST_FLAGS -Wthread-safety -Werror -fsyntax-only -x c /dev/null -include
    headers guest | each clang $GUEST_FLAGS -Werror -fsyntax-only -x c /dev/null -include
}

# With optimization: some warnings come from the optimizer.
# shellcheck disable=SC2086
step_warnings() {
    sources vmm tests tools | each gcc $HOST_FLAGS -O2 -Werror -c -o /dev/null
    sources guest | each gcc $GUEST_FLAGS -O2 -Werror -c -o /dev/null
    sources vmm tests tools | each clang $HOST_FLAGS -Wthread-safety -O2 -Werror -c -o /dev/null
    sources guest | each clang $GUEST_FLAGS -O2 -Werror -c -o /dev/null
}

step_format() {
    find vmm guest tests tools -name '*.[ch]' | sort | each clang-format --dry-run -Werror
}

# clang-tidy wants its flags behind the file's name.
tidy() {
    # shellcheck disable=SC2016 # expanded by the inner shell
    each sh -c 'clang-tidy --quiet "$2" -- $1 2>&1' tidy "$1"
}

step_tidy() {
    sources vmm tests tools | tidy "$HOST_FLAGS -Wthread-safety -include $here/errno.h"
    sources guest | tidy "$GUEST_FLAGS"
}

# Not the tests: it does not know that a failed assertion of Criterion ends them.
# Left to clang's analyzer, which follows calls and _Noreturn where cppcheck
# guesses: null pointers, indexes, uninitialized variables, leaks, arguments.
# comparePointers: the ends of an object that the linker script defines.
# constStatement: a register variable initialized for an asm statement.
step_cppcheck() {
    cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
        --error-exitcode=1 --library=posix,gnu,bsd --library="$here/cppcheck.cfg" \
        --suppress=nullPointerRedundantCheck --suppress=nullPointerArithmeticRedundantCheck \
        --suppress=nullPointer --suppress=uninitvar --suppress=memleak \
        --suppress=arrayIndexOutOfBoundsCond --suppress=invalidFunctionArg \
        --suppress=comparePointers --suppress=constStatement -j "$jobs" \
        -I. -D__x86_64__ -D_GNU_SOURCE vmm guest tools
}

step_shell() {
    { echo .ci/run; echo tests/npt/init; find tests -name '*.sh'; } | xargs shellcheck
}

step_manual() {
    mandoc -T lint -W warning docs/vkvm.1
}

all='sources spdx seed locks layers libraries headers warnings format tidy cppcheck shell manual'
case ${1:--} in
-*)
    without=${1:-}
    set --
    for step in $all; do
        [ "-$step" = "$without" ] || set -- "$@" "$step"
    done
    ;;
esac
for step; do
    # Not as a condition: there, a failing command would not end the step.
    set +e
    (
        set -e
        "step_$step"
    ) >"$output" 2>&1
    status=$?
    set -e
    if [ "$status" -eq 0 ]; then
        echo "PASS $step"
        passed=$((passed + 1))
    else
        echo "FAIL $step"
        sed 's/^/    | /' "$output"
        failed=$((failed + 1))
    fi
done
echo "lint: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
