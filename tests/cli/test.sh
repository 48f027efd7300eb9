# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2034,SC2154 # part of run.sh
#
# Sourced by run.sh: `vkvm test`, from broken configurations to tests that do not end well.

# suite NAME TEXT: a configuration of that text (printf escapes).
suite() {
    mkdir -p "$work/suites"
    # shellcheck disable=SC2059 # escapes
    printf "$2" >"$work/suites/$1.cfg"
}

# broken NAME REGEX TEXT: refused with file, line, cause.
broken() {
    suite broken "$3"
    refused "$1" 2 "$2" test "$work/suites/broken.cfg"
}

test_suite_usage() {
    broken 'a suite with an unknown key' 'broken.cfg:3: unknown key .frob' '[a]\nfile = a.elf\nfrob = 1\n'
    broken 'a suite with two tests of one name' 'broken.cfg:3: .a. is there already, in line 1' '[a]\nfile = a\n[a]\nfile = b\n'
    broken 'a suite with a bad number' 'broken.cfg:3: smp: .*no number of processors' '[a]\nfile = a\nsmp = many\n'
    broken 'a suite with a bad time' 'broken.cfg:3: timeout: .*no time' '[a]\nfile = a\ntimeout = soon\n'
    broken 'a suite with a test without an image' 'broken.cfg:1: .a. has no file' '[a]\nsmp = 1\n'
    broken 'a suite with a key before its first test' 'broken.cfg:1: a key before' 'smp = 1\n[a]\nfile = a\n'
    broken 'a suite with a value without its end' 'broken.cfg:3: """ has no end' '[a]\nfile = a\ntest_args = """x\n'
    broken 'a suite with a bad expression' 'broken.cfg:3: output: .*no regular expression' '[a]\nfile = a\noutput = (\n'
    broken 'a suite with a word of no matrix' 'broken.cfg:2: {b} is no word' '[a]\nfile = {b}\n'
    broken 'a suite without a test' 'has no test' '# nothing\n'
    broken 'a suite that is no text' 'no text' '[a]\nfile = a\000b\n'
    broken 'a suite that expects an unknown counter' 'frobs' '[a]\nfile = a\nexpect = frobs == 1\n'
    refused 'a suite that is not there' 2 'nothere' test "$work/suites/nothere.cfg"
    refused 'a suite of ours that there is not' 2 'nothere' test nothere
    accepted 'a suite of ours has a name' 0 '^engine/zero_fill' test --list engine
    accepted 'without a name it is ours' 0 '^engine/zero_fill' test --list
    suite good '[{n}]\nmatrix = n: one two\nprogram = /bin/true\n'
    accepted 'a matrix makes a test of each word' 0 'good/two' test --list "$work/suites/good.cfg"
    refused 'a filter that chooses nothing' 2 'no test is chosen of 2' test --filter three "$work/suites/good.cfg"
    refused 'two reports on standard output' 2 'give one of them a file' \
        test --report ktap --report junit "$work/suites/good.cfg"
    refused 'a report of no format' 2 'human, ktap, junit or jsonl' test --report xml "$work/suites/good.cfg"
    refused 'a report where no file can be' 125 'nothere/report.*No such file' \
        test --report "junit=$work/nothere/report" "$work/suites/good.cfg"
    refused 'an output directory that cannot be' 125 'cannot make --out' \
        test --out "$work/suites/good.cfg/out" "$work/suites/good.cfg"
}

# Programs stand for guests: a verdict each.
test_suite_verdicts() {
    suite good '[{n}]\nmatrix = n: one two\nprogram = /bin/true\n'
    accepted 'all tests pass' 0 '2 passed, 0 failed' test "$work/suites/good.cfg"
    suite ends '[missing]\nfile = no.elf\n[fails]\nprogram = /bin/false\n[hangs]\nprogram = /bin/sleep\ntest_args = 60\ntimeout = 0.2\n[crashes]\nprogram = /bin/sh\ntest_args = -c "kill -9 \\$\\$"\n'
    accepted 'a missing image is an error' 1 'ERROR ends/missing' test --filter missing "$work/suites/ends.cfg"
    accepted 'a program that fails is a failure' 1 'FAIL  *ends/fails' test --filter fails "$work/suites/ends.cfg"
    accepted 'a test that hangs is an error' 1 'not done after 0.200 s' test --filter hangs "$work/suites/ends.cfg"
    accepted 'a test that a signal ends is an error' 1 'ERROR ends/crashes' test --filter crashes "$work/suites/ends.cfg"
    suite skips '[a]\nprogram = /bin/sh\ntest_args = -c "echo SKIP x: why; exit 77"\n'
    accepted 'a run of skips only is no success' 77 '1 skipped' test "$work/suites/skips.cfg"
    suite floods '[a]\nprogram = /bin/sh\ntest_args = -c "yes | head -c 5000000; echo PASS end"\n'
    accepted 'a test that floods its console passes' 0 '1 passed' test --out "$work/kept" "$work/suites/floods.cfg"
    console_is_short 'of a flood the first and last are kept' "$work/kept/floods/a/console"
}

# Of a console 128 KiB from the begin and as much from the end are kept.
console_is_short() {
    if [ -s "$2" ] && [ "$(wc -c <"$2")" -lt 300000 ]; then
        pass "$1"
    else
        fail "$1" 'the console is too long, or not there'
    fi
}

# verdicts FILE: the lines of a report, without times, in order.
verdicts() {
    sed -n 's/^\([A-Z]*  *[^ ]*\) (.*/\1/p' "$1" | sort -u
}

test_suite_jobs() {
    run test --filter '[!h]*' "$work/suites/ends.cfg" "$work/suites/good.cfg"
    verdicts "$work/out" >"$work/one"
    run test -j 2 --shuffle 7 --filter '[!h]*' "$work/suites/ends.cfg" "$work/suites/good.cfg"
    verdicts "$work/out" >"$work/two"
    if [ -s "$work/one" ] && cmp -s "$work/one" "$work/two"; then
        pass 'two jobs and another order have the same results'
    else
        fail 'two jobs and another order have the same results' 'they differ'
    fi
}

# suite_limited BLOCKS ARGS...: run with files of that many 512-byte blocks at most, as on a disk that is full.
suite_limited() {
    (
        ulimit -f "$1"
        shift
        timeout -k 5 60 "$vkvm" "$@" </dev/null 2>"$work/err"
        echo $? >"$work/status"
    ) | cat >"$work/out"
    status=$(cat "$work/status")
}

# What cannot be kept is an error of the test's; the report is whole.  What cannot be reported is one of vkvm's.
test_suite_full_disk() {
    suite big '[a]\nprogram = /bin/sh\ntest_args = -c "yes | head -c 100000"\n[b]\nprogram = /bin/true\n'
    suite_limited 40 test --out "$work/full" "$work/suites/big.cfg"
    judge 'on a full disk a console that is not kept is an error of the test' 1 out 'its console cannot be kept'
    judge 'the others pass' 1 out '^PASS  *big/b'
    suite many '[{n}{m}]\nmatrix = n: 0 1 2 3; m: 0 1 2 3 4 5 6 7 8 9\nprogram = /bin/true\n'
    for format in ktap jsonl junit; do
        echo old >"$work/$format"
        suite_limited 1 test --report "$format=$work/$format" "$work/suites/many.cfg"
        judge "a full disk is told of a report in $format" 125 err \
            "^vkvm: cannot write a report to .*/$format'?: File too large: make room"
        judge "the other report is whole ($format)" 125 out '^40 passed'
    done
    if [ -e "$work/junit" ] || [ -n "$(find "$work" -maxdepth 1 -name 'junit.*')" ]; then
        fail 'of JUnit nothing is left that is not whole' 'there is a file'
    else
        pass 'of JUnit nothing is left that is not whole'
    fi
    if tail -c 1 "$work/ktap" | grep -q . || tail -c 1 "$work/jsonl" | grep -q .; then
        fail 'what is left are whole lines' 'half a line'
    else
        pass 'what is left are whole lines'
    fi
    for format in human ktap jsonl junit; do
        run test --report "$format=/dev/full" "$work/suites/many.cfg"
        judge "a full device is told of a report in $format" 125 err \
            "^vkvm: cannot write a report to '/dev/full': No space left on device: make room"
    done
    timeout -k 5 60 "$vkvm" test --list "$work/suites/many.cfg" >/dev/full 2>"$work/err"
    status=$?
    judge 'a list that cannot be written is told' 125 err '^vkvm: cannot write to standard output'
}

# Has the process ended, whoever has not waited for it yet?
is_over() {
    grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null || ! [ -e "/proc/$1" ]
}

# interrupted SIGNAL: a run of three, the first of which has passed, with every report.  The signal comes again and again
# until the run is over, as from a person without patience.
interrupted() {
    rm -rf "$work/reports"
    mkdir "$work/reports"
    "$vkvm" test --report "ktap=$work/reports/ktap" --report "junit=$work/reports/junit" \
        --report "jsonl=$work/reports/jsonl" --out "$work/reports/kept" "$work/suites/long.cfg" \
        </dev/null >"$work/out" 2>"$work/err" &
    running=$!
    tries=0
    until grep -q '"event":"start".*long/second' "$work/reports/jsonl" 2>/dev/null || [ "$tries" -ge 300 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
    # A shell lets what it starts behind itself ignore SIGINT, which the runner heeds anyway.
    tries=0
    until is_over "$running"; do
        kill "-$1" "$running"
        tries=$((tries + 1))
        [ "$tries" -lt 10000 ] || kill -KILL "$running"
    done
    status=0
    wait "$running" || status=$?
}

# What a run that was cut short leaves for other programs to read.
valid_reports() {
    here=$(dirname "$0")
    cp "$work/reports/ktap" "$work/report"
    if perl -MTAP::Parser -e 1 2>/dev/null; then
        report_reads "TAP::Parser reads what SIG$1 left" '1 1 1 0 0' perl "$here/read_tap.pl"
    fi
    grep -q '^ *ok 1 long/first' "$work/report" && grep -q '^ *not ok 2 long/second .*SKIP.*not run' "$work/report" &&
        grep -q '^ *not ok 3 long/third .*SKIP.*not run' "$work/report"
    # shellcheck disable=SC2319 # of the pair
    status=$?
    judge "KTAP has what ran and what did not (SIG$1)" 0 out .
    cp "$work/reports/junit" "$work/report"
    if command -v xmllint >/dev/null; then
        report_reads "JUnit is as our schema says after SIG$1" '' \
            xmllint --noout --schema "$here/../suites/junit.xsd" "$work/report"
    fi
    python=$(junit_python)
    [ -z "$python" ] ||
        report_reads "junitparser counts one that passed, and two that did not run (SIG$1)" '1 0 0 2' \
            "$python" "$here/read_junit.py" "$work/report"
    cp "$work/reports/jsonl" "$work/report"
    if command -v python3 >/dev/null; then
        report_reads "each line of JSON is whole after SIG$1" 'end 1' python3 -c '
import json, sys
events = [json.loads(line) for line in sys.stdin]
print(events[-1]["event"], sum(e["event"] == "result" and e["verdict"] == "PASS" for e in events))'
    fi
}

# A signal ends the run, and what ran is reported.
test_suite_signals() {
    suite long '[first]\nprogram = /bin/true\n[second]\nprogram = /bin/sleep\ntest_args = 60\n[third]\nprogram = /bin/true\n'
    interrupted INT
    judge 'SIGINT ends a run, and what ran is told' 130 out '^1 passed, 0 failed.*2 not run'
    valid_reports INT
    interrupted TERM
    judge 'SIGTERM ends a run, and what ran is told' 143 out '^1 passed, 0 failed.*2 not run'
    valid_reports TERM
}

test_suites() {
    test_suite_usage
    test_suite_verdicts
    test_suite_jobs
    test_suite_full_disk
    test_suite_signals
}

# --- Guests ---

# xor %eax,%eax; div %al: nothing handles the division, nor what comes of that
triple='\061\300\366\360'

# 1: mov $0x200000,%esi; mov $4096,%ecx; mov $0xe9,%dx; rep outsb; jmp 1b
flood='\276\000\000\040\000\271\000\020\000\000\146\272\351\000\363\156\353\356'

# verdict_of NAME TEST REGEX: the test's line says ERROR, and the next one why.
verdict_of() {
    if grep -A 1 "^ERROR $2 " "$work/out" | sed -n 2p | grep -qE -e "$3"; then
        pass "$1"
    else
        fail "$1" "no error of $2: $3"
    fi
}

test_suite_guests() {
    images=$(cd "$guests" && pwd)
    good
    filesize=4
    elf triple "$triple"
    filesize=18
    elf flood "$flood"
    good
    elf hang "$endless"
    for guest in triple flood hang; do
        suite "$guest" "[a]\nfile = $work/$guest\ntimeout = 1\n[b]\nfile = $images/hello.elf\n"
    done
    accepted 'behind a guest that triple-faults the next one runs' 1 '^PASS  *triple/b' test "$work/suites/triple.cfg"
    verdict_of 'a triple fault is an error' triple/a 'exit status 70: vCPU 0: triple fault'
    accepted 'behind a guest that hangs the next one runs' 1 '^PASS  *hang/b' test "$work/suites/hang.cfg"
    verdict_of 'a guest that hangs is an error when its time is up' hang/a 'not done after 1.000 s'
    accepted 'behind a guest that floods its console the next one runs' 1 '^PASS  *flood/b' \
        test --out "$work/flooded" "$work/suites/flood.cfg"
    verdict_of 'a guest that floods its console is an error when its time is up' flood/a 'not done after 1.000 s'
    console_is_short 'of what it wrote the first and last are kept' "$work/flooded/flood/a/console"
    test_suite_small_disk
}

# Folders still can be made; neither a trace nor a console has room.
test_suite_small_disk() {
    name='on a disk that is full a test is an error, and the next one runs'
    mkdir "$work/small"
    if ! mount -t tmpfs -o size=64k tmpfs "$work/small" 2>/dev/null; then
        skip "$name" 'only root mounts one'
        return
    fi
    small=$work/small
    dd if=/dev/zero of="$small/fill" bs=4096 2>/dev/null
    suite disk "[a]\nfile = $images/hello.elf\n[b]\nprogram = /bin/true\n"
    accepted "$name" 1 '^PASS  *disk/b' test --out "$small/out" "$work/suites/disk.cfg"
    verdict_of 'its verdict says what has no room' disk/a 'disk full|No space left'
    umount "$small"
    small=
}
