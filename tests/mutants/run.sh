#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Deliberate faults, each in a copy of the tree, one at a time: do the tests notice?
#
#   tests/mutants/run.sh [-b BUILD_DIRECTORY] [-D] [-d DRAWN] [-s SEED] [-t TABLE] [NAME...]
#
#   -b  a build to start from, which is copied (build)
#   -D  draw faults from the sources in the place of those of drawn.cfg whose code is gone, and make none
#   -d  how many drawn.cfg then has (32)
#   -s  the seed for these (12)
#   -t  write the table there (docs/mutants.md), when all were made
#   NAME limits the run to these faults
#
# mutants.cfg has the faults that were thought of, drawn.cfg those that were drawn.
# First the unit tests that are nearest to the file run, then all, then host programs and guests
# under KVM; the first test that fails has caught it.  What no test notices needs a line in tests/mutants/reasons.
#
# What was found out is kept in BUILD_DIRECTORY/mutants/results, and a run that was broken off goes on.
# It takes an hour or two.  Exit status 0: all were caught, or have their reason.

set -eu

build=build
count=32
seed=12
table=docs/mutants.md
draw=

usage() {
    echo 'usage: run.sh [-b BUILD_DIRECTORY] [-D] [-d DRAWN] [-s SEED] [-t TABLE] [NAME...]' >&2
    exit 2
}

while getopts b:Dd:s:t: option; do
    case $option in
    b) build=$OPTARG ;;
    D) draw=1 ;;
    d) count=$OPTARG ;;
    s) seed=$OPTARG ;;
    t) table=$OPTARG ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))

names=" $* "
here=tests/mutants
mkdir -p "$build/mutants"
work=$(cd "$build/mutants" && pwd)
tree=$work/tree
results=$work/results
touch "$results"
child=
trap '[ -z "$child" ] || kill -TERM "$child" 2>/dev/null || :' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Of our suites what sees paging, in a minute or two: patterns of `vkvm test --filter`.
GUESTS='zero* read* write_protect* accessed_modified* directory_modified* inval* setmap* permission* unmapped*
    cop* wire* file_map* budget checksum inject* walk* window* linear_root* neighbours* private* shared* stack*
    unshared* clean* table_pages* first_touches* lost_swap*'
HOSTS='host_window host_pmap host_service host_waiting host_foreign host_limits host_fault host_vm host_failure'

# The nearest unit tests of a file, as Criterion's pattern.
nearest() {
    case $1 in
    */vpte.c) echo '@(vpte|vm_fault_window|walk)/*' ;;
    */vm_fault*.c | */vm_copy.c | */vm_errand.c | */vm_inject.c)
        echo '@(vm_fault*|vm_copy|vm_inject|vm_stop|vm_readahead)/*'
        ;;
    */vm_map*.c) echo '@(vm_map*|vm_fault_window|vm_fault_wire)/*' ;;
    */pmap*.c | */pv.c) echo 'pmap*/*' ;;
    */vm_page.c | */vm_page_hold.c) echo 'vm_page*/*' ;;
    */vm_object*.c | */vm_shadow.c) echo '@(vm_object*|vm_shadow)/*' ;;
    vmm/vpagetable/*) echo 'vm_*/*' ;;
    vmm/kvm/*) echo '@(uffd|limits|delay_line)/*' ;;
    *) echo '@(bus|serial|pc_devices|port_input|disk|virt*|escape)/*' ;;
    esac
}

# run COMMAND...: in the copy, with an end; its output to $work/output.
run() {
    (cd "$tree" && exec timeout -k 5 900 "$@") </dev/null >"$work/output" 2>&1 &
    child=$!
    wait "$child" && status=0 || status=$?
    child=
    return "$status"
}

# unit PATTERN: caught, if one fails.
unit() {
    run build/tests/unit -f --timeout 60 --filter="$1" && return 1
    caught=$(sed -n 's/^\[FAIL\] \([a-z_0-9]*::[a-z_0-9]*\).*/\1/p' "$work/output" | head -n 1)
    [ -n "$caught" ] || caught='unit tests end badly'
}

# kvm PATTERN...: caught, if one of these tests of our suites fails.
kvm() {
    filters=
    for pattern; do
        filters="$filters --filter $pattern"
    done
    # shellcheck disable=SC2086 # a list of words, whose patterns are not the shell's
    run build/vkvm test -j "$(nproc)" --fail-fast --timeout 120 --images build/guest/tests $filters \
        guest/tests tests/kvm && return 1
    caught=$(sed -n 's/^\(FAIL\|ERROR\)  *\([^ ]*\) .*/\2/p' "$work/output" | head -n 1)
    [ -n "$caught" ] || caught='the suites end badly'
}

# The tests by turns, until one fails: its name to $caught.
# shellcheck disable=SC2086 # lists of words
try() {
    caught=''
    case $1 in
    vmm/kvm/*) unit "$(nearest "$1")" || { make_all && { kvm $HOSTS || kvm $GUESTS; }; } ;;
    *)
        unit "$(nearest "$1")" || unit '*' ||
            { make_all && kvm host_pc host_disk host_fault $GUESTS; }
        ;;
    esac || return 1
}

make_all() {
    run make test-programs >/dev/null || {
        cat "$work/output"
        echo 'mutants: the programs cannot be built' >&2
        exit 1
    }
}

# A copy of the tree and of what is built, so that one source at a time is compiled.
prepare() {
    rm -rf "$tree"
    mkdir -p "$tree/build"
    git ls-files -z | xargs -0 cp --parents -p -t "$tree"
    for part in obj made tests guest flags optional.cppflags optional.libs trace.libs vkvm vkvm-trace vkvm-test \
        host_check; do
        [ ! -e "$build/$part" ] || cp -rp "$build/$part" "$tree/build/"
    done
    run make build/tests/unit || {
        cat "$work/output"
        exit 1
    }
}

# What no fault makes fail: else nothing would be told by a failure.
# shellcheck disable=SC2086 # lists of words
check_baseline() {
    [ ! -e "$work/baseline" ] || return 0
    make_all
    if unit '*' || kvm host_pc host_disk $HOSTS $GUESTS; then
        echo "mutants: $caught fails without any fault" >&2
        exit 1
    fi
    touch "$work/baseline"
}

# The file of the block in $1 with its fault.
edit() {
    awk -v file="$(sed -n 's/^file //p' "$1")" -v block="$1" -f "$here/edit.awk"
}

# Make the fault of the block in $1 in the copy, if its text is there; and take it back.
plant() {
    file=$(sed -n 's/^file //p' "$1")
    object=$tree/build/obj/$file.o
    cp -p "$tree/$file" "$work/source"
    cp -p "$object" "$work/object"
    edit "$1" >"$tree/$file"
}

restore() {
    cp -p "$work/source" "$tree/$file"
    cp -p "$work/object" "$object"
}

compiles() {
    plant "$1" && run make "build/obj/$file.o" && status=0 || status=$?
    restore
    return "$status"
}

# One fault of which the block is in $1.
mutant() {
    name=$(sed -n 's/^= //p' "$1")
    case $names in
    '  ' | *" $name "*) ;;
    *) return 0 ;;
    esac
    sum=$(cksum <"$1" | tr -d ' ')
    ! grep -q "^$name	$sum	" "$results" || return 0
    plant "$1" || {
        echo "mutants: $name: its text is not, or not once, in $file: mend it, or draw another (-D)" >&2
        exit 1
    }
    start=$(date +%s)
    if ! run make build/tests/unit; then
        caught='(does not compile)'
    elif ! try "$file"; then
        caught='-'
    fi
    restore
    printf '%s\t%s\t%s\n' "$name" "$sum" "$caught" >>"$results"
    echo "$name: $caught ($(($(date +%s) - start)) s)"
}

# Blocks from the input into files $1/NNN.
split() {
    rm -rf "$1"
    mkdir "$1"
    awk -v d="$1" '/^= /{ f = sprintf("%s/%03d", d, ++n) } /^#/ || f == "" { next } NF { print > f }'
}

result_of() {
    sum=$(cksum <"$1" | tr -d ' ')
    awk -F '\t' -v name="$(sed -n 's/^= //p' "$1")" -v sum="$sum" \
        '$1 == name && $2 == sum { print $3; exit }' "$results"
}

# A line of a block that the table shows: without indentation, and without what ends a cell.
cell() {
    sed -n "s/^$2 *//p" "$1" | sed 's/|/\\|/g'
}

# Why nobody can notice: a line FILE, text of `-` without indentation, reason, with tabs between.
reason_of() {
    awk -F '\t' -v file="$(sed -n 's/^file //p' "$1")" -v old="$(sed -n 's/^- *//p' "$1" | sed 's/\\/\\\\/g')" \
        '$1 == file && $2 == old { print $3; exit }' "$here/reasons"
}

write_table() {
    survivors=0
    {
        cat <<END
# Deliberate faults, and the tests that noticed

\`make test-mutants\` makes these one at a time in a copy of the tree and runs the tests until one fails
(\`tests/mutants/run.sh\`). The first part is written by hand (\`tests/mutants/mutants.cfg\`), the second drawn from engine,
KVM side and devices by \`tests/mutants/draw.awk\` with seed $seed and kept in \`tests/mutants/drawn.cfg\`; \`make test-mutants
MUTANT_ARGS=-D\` draws others in the place of those whose code is gone. The program writes this file.

| fault | file | was | became | noticed by |
|---|---|---|---|---|
END
        for block in "$work"/blocks/*; do
            caught=$(result_of "$block")
            name=$(sed -n 's/^= //p' "$block")
            case $caught in
            '' | '(does not'*) continue ;;
            -)
                caught=$(reason_of "$block")
                if [ -n "$caught" ]; then
                    caught="nobody: $caught"
                else
                    caught='**nobody**'
                    survivors=$((survivors + 1))
                    echo "mutants: $name: no test notices, and there is no reason in $here/reasons" >&2
                fi
                ;;
            esac
            echo "| $name | $(sed -n 's/^file //p' "$block") | \`$(cell "$block" -)\` | \`$(cell "$block" +)\` | $caught |"
        done
    } >"$work/table"
    cp "$work/table" "$table"
    return $((survivors != 0))
}

# drawn.cfg anew: what still stands of it, and up to $count others that compile.
draw() {
    split "$work/blocks" <"$here/drawn.cfg"
    # shellcheck disable=SC2046 # names without blanks
    awk -v seed="$seed" -v count=$((count * 4)) -f "$here/draw.awk" \
        $(ls vmm/vpagetable/*.c vmm/kvm/*.c vmm/device/*.c) | split "$work/candidates"
    sed -n '/^=/q; p' "$here/drawn.cfg" >"$work/drawn.cfg"
    : >"$work/edits"
    kept=0
    for block in "$work"/blocks/* "$work"/candidates/*; do
        [ "$kept" -lt "$count" ] || break
        sed 1d "$block" | tr '\n' '\t' >"$work/edit"
        if grep -qFxf "$work/edit" "$work/edits" || ! compiles "$block"; then
            continue
        fi
        case $block in
        "$work"/blocks/*) name=$(sed -n 's/^= //p' "$block") ;;
        *) name=drawn-$(($(sed -n 's/^= drawn-//p' "$here/drawn.cfg" "$work/drawn.cfg" | sort -n | tail -n 1) + 1)) ;;
        esac
        { echo "= $name" && sed 1d "$block" && echo; } >>"$work/drawn.cfg"
        { cat "$work/edit" && echo; } >>"$work/edits"
        kept=$((kept + 1))
    done
    sed '$d' "$work/drawn.cfg" >"$here/drawn.cfg"
    echo "mutants: $here/drawn.cfg has $kept faults"
}

prepare
if [ -n "$draw" ]; then
    draw
    exit 0
fi
cat "$here/mutants.cfg" "$here/drawn.cfg" | split "$work/blocks"
check_baseline
for block in "$work"/blocks/*; do
    mutant "$block"
done
[ "$names" = '  ' ] || exit 0
write_table
