# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2034,SC2154 # part of run.sh
#
# Sourced by run.sh: `vkvm trace`, on the traces that trace_file writes.

# printed NAME STATUS COMMAND...: what it prints is standard input, byte by byte.
printed() {
    name=$1 expected=$2
    shift 2
    cat >"$work/wanted"
    run "$@"
    if [ "$status" -ne "$expected" ]; then
        fail "$name" "exit status $status, expected $expected"
    elif ! cmp -s "$work/out" "$work/wanted"; then
        fail "$name" "not what it should print: $(diff "$work/out" "$work/wanted" | head -4)"
    else
        pass "$name"
    fi
}

# written NAME FILE: the command before succeeded, and its result is in the file alone.
written() {
    if [ "$status" -ne 0 ] || [ -s "$work/err" ] || [ -s "$work/out" ] || [ ! -s "$2" ]; then
        fail "$1" "exit status $status, or something printed, or no file"
    else
        pass "$1"
    fi
}

test_trace_verb_usage() {
    accepted 'trace --help lists the verbs' 0 '^  heatmap ' trace --help
    for verb in report dump heatmap diff wset canon top check; do
        accepted "trace $verb --help" 0 "^usage: vkvm trace $verb" trace "$verb" --help
        refused "trace $verb without a file" 2 'no trace: give' trace "$verb"
    done
    refused 'trace without a verb' 2 'no verb given' trace
    refused 'an unknown verb of trace' 2 "unknown verb 'paint'" trace paint
    refused 'trace with two files' 2 "unexpected 'b'" trace report a b
    refused 'diff with one file' 2 'give two files' trace diff a
    refused 'an unknown format' 2 'give text, jsonl' trace dump --format=xml "$work/whole"
    refused 'an unknown picture' 2 'give digits' trace heatmap --format=gif "$work/whole"
    refused 'an unknown outcome' 2 'give names as the report' trace report --outcome=zeros a
    refused 'an unknown access' 2 'give read, write' trace report --access=look a
    refused 'a range that is none' 2 'is no range' trace report --gpa=2000-1000 a
    refused 'a time that is none' 2 'is no time' trace report --since=1s a
    refused 'a window of no time' 2 'holds nothing' trace wset --window=0 a
    refused 'an output that is the trace' 2 'is the trace itself' \
        trace dump --output="$work/whole" "$work/whole"
}

test_trace_bad_files() {
    refused 'a trace that is not there' 127 'none' trace report "$work/none"
    refused 'a folder as a trace' 126 '' trace report "$work"
    refused 'an ELF file as a trace' 126 'is no trace: give' trace report "$vkvm"
    : >"$work/empty"
    refused 'an empty file as a trace' 126 'is no trace: it is empty' trace report "$work/empty"
    head -c 30 "$work/whole" >"$work/short"
    refused 'a trace cut off in its header' 126 'cut off within its header' trace dump "$work/short"
    run trace dump "$work/damaged"
    judge 'a damaged trace says how much of it could be read' 126 err \
        'is damaged: 7 of 9 records could be read, 1 places not'
    judge 'a damaged trace is read in part' 126 out '^8 .* monitor copy '
    run trace report "$work/cut"
    judge 'a trace that is cut off is reported on in part' 126 out '6 faults'
    judge 'a trace that is cut off is told' 126 err 'is cut off: 9 of 9 records'
}

test_trace_report() {
    accepted 'a report counts what --stats counts' 0 '^  adds up$' trace report "$work/whole"
    accepted 'a report has all records' 0 'all of 9 records$' trace report "$work/whole"
    accepted 'a report of the last records says how many made room' 0 \
        '^  9 of 20 records: 0 found no room, 11 made room for newer ones$' trace report "$work/last"
    accepted 'a report has outcomes' 0 '^  zero-fill +3 +50.00%' trace report "$work/whole"
    accepted 'a report has levels' 0 '^  1 +1 +1 +0$' trace report "$work/whole"
    accepted 'a report has refaults' 0 'came back: 1$' trace report "$work/whole"
    accepted 'a report as JSON' 0 '^\{"records":9,"records_made":9.*"stats":\[' \
        trace report --json "$work/whole"
    accepted 'a report of one vCPU' 0 ' 2 faults from' trace report --vcpu=1 "$work/whole"
}

test_trace_symbols() {
    printf '%s\n' 'ffffffff80000000 T startup' 'ffffffff80000040 T entry_SYSCALL_64' >"$work/map"
    accepted 'symbols are moved to where the guest has them' 0 'symbol=startup\+0x10' \
        trace dump --symbols="$work/map" "$work/whole"
    accepted 'notes of the canonical form have region and symbol' 0 \
        '^vcpu0 write 0x1000 normal zero-fill # ram startup\+0x10$' \
        trace canon --notes --symbols="$work/map" "$work/whole"
    accepted 'symbols can be filtered by' 0 '^0 .* fault ' \
        trace dump --symbols="$work/map" --symbol='start*' "$work/whole"
    echo 'ffffffffffffffff B The real System.map is in the linux-image-6.1.0-56-amd64-dbg package' \
        >"$work/map"
    refused "Debian's System.map without symbols" 126 'install linux-image-6.1.0-56-amd64-dbg' \
        trace report --symbols="$work/map" "$work/whole"
    echo '0000000000000000 T _text' >"$work/map"
    refused 'kallsyms read without rights' 126 'kptr_restrict' \
        trace report --symbols="$work/map" "$work/whole"
    refused 'symbols in what has none' 126 'no symbols that vkvm knows' \
        trace report --symbols="$0" "$work/whole"
}

test_trace_dump() {
    printed 'dump as CSV filters and has its columns' 0 \
        trace dump --format=csv --vcpu=1 --outcome=copy "$work/whole" <<'END'
sequence,time_ns,who,kind,access,gpa,region,arrival,map,outcome,duration_ns,object,pindex,depth,levels,a_set,m_set,prefaulted,retries,mode,rip,symbol
5,40000,vcpu1,fault,write,0x2000,ram,write-protect,normal,copy,1000,1,2,0,0,0,0,0,0,,,
END
    printed 'folded stacks count faults' 0 trace dump --format=folded "$work/whole" <<'END'
monitor;unknown;ram;unknown;zero-fill 1
vcpu0;kernel;ram;unknown;zero-fill 1
vcpu0;unknown;ram;unknown;swap-in 1
vcpu0;unknown;window;unknown;vpte-protection 1
vcpu1;unknown;ram;unknown;copy 1
vcpu1;unknown;ram;unknown;zero-fill 1
END
    accepted 'dump as text has a line a record' 0 \
        '^4 0.000030000 vcpu0 fault write 0x40000000 missing vpte-protection 1.000us' \
        trace dump "$work/whole"
    accepted 'dump as JSONL' 0 '^\{"sequence":8,.*"kind":"copy".*"to":32768' \
        trace dump --format=jsonl "$work/whole"
}

# Slices of a track nest, and each has a name and times.
nested='
import json, sys
tracks, names = {}, set()
for event in json.load(open(sys.argv[1]))["traceEvents"]:
    if event["ph"] == "M" and event["name"] == "thread_name":
        names.add(event["args"]["name"])
    if event["ph"] == "X":
        begin = round(event["ts"] * 1000)
        tracks.setdefault(event["tid"], []).append((begin, -begin - round(event["dur"] * 1000)))
for slices in tracks.values():
    ends = []
    for begin, end in sorted(slices):
        while ends and ends[-1] <= begin:
            ends.pop()
        assert not ends or -end <= ends[-1], "slices overlap"
        ends.append(-end)
print("tracks:", " ".join(sorted(names)))
'

test_trace_viewers() {
    run trace dump --format=chrome --output="$work/chrome" "$work/whole"
    written 'dump for Chrome' "$work/chrome"
    if command -v python3 >/dev/null; then
        python3 -c "$nested" "$work/chrome" >"$work/out" 2>"$work/err"
        status=$?
        judge "Chrome's slices nest on their tracks" 0 out '^tracks: monitor vcpu0 vcpu1$'
    else
        skip "Chrome's slices nest on their tracks" 'no python3'
    fi
    run trace dump --format=perfetto --output="$work/perfetto" "$work/whole"
    written 'dump for Perfetto' "$work/perfetto"
    if command -v python3 >/dev/null; then
        python3 "$(dirname "$0")/../trace/perfetto.py" "$work/perfetto" >"$work/out" 2>"$work/err"
        status=$?
        judge "Perfetto's slices have ends, and names that were interned before" 0 out \
            '^7 slices, 2 moments, 2 counts$'
    else
        skip "Perfetto's slices have ends, and names that were interned before" 'no python3'
    fi
    if command -v protoc >/dev/null; then
        protoc --decode_raw <"$work/perfetto" >"$work/out" 2>"$work/err"
        status=$?
        judge "Perfetto's packets can be decoded" 0 out '"vpte-protection"'
    else
        skip "Perfetto's packets can be decoded" 'no protoc'
    fi
}

test_trace_canon() {
    printed 'the canonical form has no times' 0 trace canon "$work/whole" <<'END'
# vkvm canon 1
vcpu0 write 0x1000 normal zero-fill
vcpu0 write 0x40000000 window vpte-protection
vcpu0 write 0x1000 normal swap-in
vcpu1 read 0x2000 normal zero-fill
vcpu1 write 0x2000 normal copy
monitor write 0x3000 normal zero-fill 1
END
    accepted 'the canonical form as sets' 0 '^vcpu0 write 0x1000 normal swap-in 1$' \
        trace canon --sets "$work/whole"
    printed 'the portable form has no RAM, no found page and one set for all vCPUs' 0 trace canon --portable \
        "$work/whole" <<'END'
# vkvm canon 1 portable sets
vcpu write 0x40000000 window vpte-protection -/A 1
END
    printed 'the portable form keeps a found page of which a bit was set, in order for one vCPU' 0 \
        trace canon --portable --notes "$work/single" <<'END'
# vkvm canon 1 portable
vcpu0 write 0x40000000 window resident -/AM # window
END
    run trace canon --portable "$work/lost"
    judge 'the portable form of a trace that lost a record is none' 126 err 'has only 4 of 5 records'
    accepted 'a trace does not differ from itself' 0 'do not differ' \
        trace diff "$work/whole" "$work/whole"
    run trace diff "$work/whole" "$work/changed"
    judge 'a fault more is a difference' 1 out '^  zero-fill +3 +4 +\+1 '
    accepted 'a difference within the tolerance is none' 0 'do not differ' \
        trace diff --tolerance=30 "$work/whole" "$work/changed"
    run trace diff --json "$work/whole" "$work/changed"
    judge 'a difference as JSON' 1 out '"different":true}$'
    printed 'the working set is in first-touch order' 0 trace wset "$work/whole" <<'END'
# vkvm wset 1: gpa access seconds region
0x1000 write 0.000010000 ram
0x2000 read 0.000015000 ram
0x3000 write 0.000020000 ram
END
    printed 'sizes of the working set over time' 0 trace wset --window=0.00003 "$work/whole" <<'END'
# vkvm wset 1: seconds pages fresh faults
0.000000000 3 3 3
0.000030000 1 0 1
0.000090000 1 0 1
END
}

test_trace_pictures() {
    accepted 'a heat map in digits' 0 '^ram +0x1000 +\|9' trace heatmap --width=20 "$work/whole"
    accepted 'a heat map of outcomes' 0 'r resident  z zero-fill' \
        trace heatmap --kind=outcome --width=20 "$work/whole"
    escape=$(printf '\033')
    accepted 'a heat map in half blocks' 0 'ram ' trace heatmap --format=blocks "$work/whole"
    accepted 'a heat map in half blocks says what its colours are' 0 \
        "^  $escape\[0;48;5;102m  $escape\[0m resident .* zero-fill .* refused\$" \
        trace heatmap --format=blocks --kind=outcome "$work/whole"
    run trace heatmap --format=blocks --kind=latency "$work/whole"
    tail -n 1 "$work/out" | grep -o '48;5;[0-9]*' | sort | uniq -d >"$work/err"
    if [ "$(tail -n 1 "$work/out" | grep -o '48;5;' | wc -l)" -lt 6 ] || [ -s "$work/err" ]; then
        fail 'each shade has another colour on a terminal' "$(tr '\n' ' ' <"$work/err")"
    else
        pass 'each shade has another colour on a terminal'
    fi
    accepted 'nothing is white on any terminal' 0 "$escape\[0;48;5;231m $escape" \
        trace heatmap --format=blocks "$work/whole"
    refused 'a heat map of nothing' 125 'no faults to draw' trace heatmap --vcpu=9 "$work/whole"
    run trace heatmap --format=svg --output="$work/svg" "$work/whole"
    if grep -q 'built without cairo' "$work/err"; then
        skip 'a heat map as SVG' 'built without cairo'
    elif [ ! -f /etc/fonts/fonts.conf ]; then
        skip 'a heat map as SVG' 'no fonts are installed here'
    elif command -v xmllint >/dev/null; then
        xmllint --noout "$work/svg" >"$work/out" 2>"$work/err"
        status=$?
        written 'a heat map as SVG' "$work/svg"
    else
        written 'a heat map as SVG' "$work/svg"
    fi
    accepted 'top as JSON has a line each time' 0 \
        '^\{"records":9,"records_made":9,"ended":true,"faults":6,.*"outcome":\[.*\],"symbol":\[.*\]\}$' \
        trace top --json "$work/whole"
    accepted 'top shows the newest second' 0 'in the last second: 6 faults' \
        trace top --rounds=1 "$work/whole"
}

test_trace_check() {
    refused 'check of a trace without the events of the kernel' 125 'no events of the kernel.*give --trace-kernel' \
        trace check "$work/whole"
    accepted 'check of a trace that the kernel agrees with' 0 '^they agree$' trace check "$work/kernel"
    accepted 'the fault of an event has its rip' 0 'vcpu1 fault write 0x2000 .* kernel=write,walk rip=0x400010$' \
        trace dump "$work/kernel"
    accepted 'check as JSON says that they agree' 0 \
        '^\{"differences":\[\],"records":.*"unexplained":0\},"whole":true,"agree":true\}$' \
        trace check --json "$work/kernel"
    run trace check --json "$work/unseen"
    judge 'check as JSON has what differs' 1 out \
        '^\{"differences":\[\{"what":"event",.*"access":"write","gpa":.*"agree":false\}$'
    run trace check "$work/unseen"
    judge 'check of a trace with one fault less than the kernel saw' 1 out '^THEY DO NOT AGREE$'
}

# damaged_with SEED ARGS...: the verb ends by itself, with a status and at most one line on standard error, beside
# what fontconfig says where there are no fonts.
damaged_with() {
    seed=$1
    shift
    timeout -k 5 20 "$build/vkvm-trace" "$@" </dev/null >"$work/out" 2>"$work/err"
    status=$?
    case $status in
    0 | 1 | 125 | 126) ;;
    *) why="seed $seed: $*: exit status $status" ;;
    esac
    if [ "$(grep -cv '^Fontconfig error: ' "$work/err")" -gt 1 ] || grep -q -e 'anitizer' -e 'runtime error' "$work/err"; then
        why="seed $seed: $*: $(head -n 1 "$work/err")"
    fi
}

# Each damaged file is reported on, and goes through two of these by turns; VKVM_DAMAGED: how many there are.
test_trace_damage() {
    why='' files=0
    "$build/tests/trace_file" "$work/whole"
    set -- 'dump' 'dump --format=jsonl' 'dump --format=csv' 'dump --format=folded' 'dump --format=chrome' \
        'dump --format=perfetto' 'heatmap' 'heatmap --format=blocks --kind=outcome' 'heatmap --kind=latency' \
        'wset' 'wset --window=0.001' 'canon' 'canon --sets' 'top --rounds=1' 'check' 'report --json' \
        "diff $work/whole" "heatmap --format=svg --output=$work/svg"
    while [ "$files" -lt "${VKVM_DAMAGED:-40}" ] && [ -z "$why" ]; do
        "$build/tests/trace_file" "$work/wrong" "$files" || why="seed $files: no file"
        damaged_with "$files" report "$work/wrong"
        for _ in 1 2; do
            # shellcheck disable=SC2086 # words
            [ -n "$why" ] || damaged_with "$files" $1 "$work/wrong"
            set -- "$@" "$1"
            shift
        done
        files=$((files + 1))
    done
    if [ -z "$why" ]; then
        pass "of $files damaged traces each is refused or read in part"
    else
        fail 'damaged traces are refused or read in part' "$why"
    fi
}

test_trace() {
    for variant in whole changed damaged cut kernel unseen single lost last; do
        "$build/tests/trace_file" "$work/$variant" "$variant" || return
    done
    test_trace_verb_usage
    test_trace_bad_files
    test_trace_report
    test_trace_symbols
    test_trace_dump
    test_trace_viewers
    test_trace_canon
    test_trace_pictures
    test_trace_check
    test_trace_damage
}
