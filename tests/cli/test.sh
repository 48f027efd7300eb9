#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Sourced by run.sh: `vkvm test`, from broken configurations to tests that do not end well.
# shellcheck disable=SC2154 # run.sh's variables

suites=$work/suites
mkdir -p "$suites"

# suite NAME TEXT: a configuration of that text (printf escapes).
suite() {
    # shellcheck disable=SC2059 # escapes
    printf "$2" >"$suites/$1.cfg"
}

# broken NAME REGEX TEXT: refused with file, line, cause.
broken() {
    suite broken "$3"
    refused "$1" 2 "$2" test "$suites/broken.cfg"
}

broken 'a suite with an unknown key' 'broken.cfg:3: unknown key .frob' '[a]\nfile = a.elf\nfrob = 1\n'
broken 'a suite with two tests of one name' 'broken.cfg:3: .a. is there already, in line 1' '[a]\nfile = a\n[a]\nfile = b\n'
broken 'a suite with a bad number' 'broken.cfg:3: smp: .*no number of processors' '[a]\nfile = a\nsmp = many\n'
broken 'a suite with a bad time' 'broken.cfg:3: timeout: .*no time' '[a]\nfile = a\ntimeout = soon\n'
broken 'a suite with a test without an image' 'broken.cfg:1: .a. has no file' '[a]\nsmp = 1\n'
broken 'a suite with a key before its first test' 'broken.cfg:1: a key before' 'smp = 1\n[a]\nfile = a\n'
broken 'a suite with a value without its end' 'broken.cfg:3: """ has no end' '[a]\nfile = a\ntest_args = """x\n'
broken 'a suite with a bad expression' 'broken.cfg:3: output: .*no regular expression' '[a]\nfile = a\noutput = (\n'
broken 'a suite with a word of no matrix' 'broken.cfg:2: {b} is no word' '[a]\nfile = {b}\n'
refused 'a suite that is not there' 2 'nothere' test "$suites/nothere.cfg"
suite good '[{n}]\nmatrix = n: one two\nprogram = /bin/true\n'
accepted 'a matrix makes a test of each word' 0 'good/two' test --list "$suites/good.cfg"
refused 'a filter that chooses nothing' 2 'no test is chosen of 2' test --filter three "$suites/good.cfg"
accepted 'all tests pass' 0 '2 passed, 0 failed' test "$suites/good.cfg"

# Programs stand for guests: a verdict each.
suite ends '[missing]\nfile = no.elf\n[fails]\nprogram = /bin/false\n[hangs]\nprogram = /bin/sleep\ntest_args = 60\ntimeout = 0.2\n[crashes]\nprogram = /bin/sh\ntest_args = -c "kill -9 \\$\\$"\n'
accepted 'a missing image is an error' 1 'ERROR ends/missing' test --filter missing "$suites/ends.cfg"
accepted 'a program that fails is a failure' 1 'FAIL  *ends/fails' test --filter fails "$suites/ends.cfg"
accepted 'a test that hangs is an error' 1 'not done after 0.200 s' test --filter hangs "$suites/ends.cfg"
accepted 'a test that a signal ends is an error' 1 'ERROR ends/crashes' test --filter crashes "$suites/ends.cfg"
suite skips '[a]\nprogram = /bin/sh\ntest_args = -c "echo SKIP x: why; exit 77"\n'
accepted 'a run of skips only is no success' 77 '1 skipped' test "$suites/skips.cfg"
suite floods '[a]\nprogram = /bin/sh\ntest_args = -c "yes | head -c 50000000; echo PASS end"\n'
accepted 'a test that floods its console passes' 0 '1 passed' test --out "$work/kept" "$suites/floods.cfg"
if [ "$(wc -c <"$work/kept/floods/a/console" 2>/dev/null)" -lt 300000 ]; then
    pass 'of a flood the first and last are kept'
else
    fail 'of a flood the first and last are kept' 'the console is too long, or not there'
fi

# verdicts FILE: the lines of a report, without times, in order.
verdicts() {
    sed -n 's/^\([A-Z]*  *[^ ]*\) (.*/\1/p' "$1" | sort -u
}
run test --filter '[!h]*' "$suites/ends.cfg" "$suites/good.cfg"
verdicts "$work/out" >"$work/one"
run test -j 2 --shuffle 7 --filter '[!h]*' "$suites/ends.cfg" "$suites/good.cfg"
verdicts "$work/out" >"$work/two"
if [ -s "$work/one" ] && cmp -s "$work/one" "$work/two"; then
    pass 'two jobs and another order have the same results'
else
    fail 'two jobs and another order have the same results' 'they differ'
fi

# What cannot be kept is an error of the test's; the report is whole.
suite big '[a]\nprogram = /bin/sh\ntest_args = -c "yes | head -c 100000"\n'
(
    ulimit -f 40
    timeout -k 5 60 "$vkvm" test --out "$work/full" "$suites/big.cfg" >"$work/out" 2>"$work/err"
    echo $? >"$work/status"
)
status=$(cat "$work/status")
judge 'a disk that is full is an error' 1 out 'its console cannot be kept'

# A signal ends the run, and what ran is reported.
suite long '[first]\nprogram = /bin/true\n[second]\nprogram = /bin/sleep\ntest_args = 60\n'
# shellcheck disable=SC2016 # the inner shell's
timeout -k 5 60 env --default-signal=INT "$vkvm" test "$suites/long.cfg" >"$work/out" 2>"$work/err" &
running=$!
tries=0
until grep -q 'PASS  *long/first' "$work/out" || [ "$tries" -ge 300 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
kill -TERM "$running"
status=0
wait "$running" || status=$?
if [ "$status" -ne 0 ] && grep -q '1 passed' "$work/out"; then
    pass 'a run that is ended has a report of what ran'
else
    fail 'a run that is ended has a report of what ran' "exit status $status"
fi
