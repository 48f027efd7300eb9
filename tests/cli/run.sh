#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Run the vkvm program from outside: bad input of every kind must give its exit
# status and exactly one line on standard error; good input must run.
#
#   tests/cli/run.sh [-b BUILD_DIRECTORY] [PART...]
#
#   -b  where the programs are (build)
#   PART    trace_killed, for example: what test_trace_killed tests, and no more
#   VKVM    the program to test (BUILD_DIRECTORY/vkvm)
#   GUESTS  where hello.elf is (BUILD_DIRECTORY/guest)
#
# Guests are made here, byte by byte, so that each is wrong in one way only.
# Cases that need KVM are skipped, with the reason, where the host cannot run them.

set -u

build=build
while getopts b: option; do
    case $option in
    b) build=$OPTARG ;;
    *)
        echo 'usage: run.sh [-b BUILD_DIRECTORY] [PART...]' >&2
        exit 2
        ;;
    esac
done
shift $((OPTIND - 1))

vkvm=${VKVM:-$build/vkvm}
guests=${GUESTS:-$build/guest}
manual=$(dirname "$0")/../../docs/vkvm.1
passed=0
failed=0
skipped=0
work=$(mktemp -d "${TMPDIR:-/tmp}/vkvm-cli.XXXXXX") || exit 1
loop=  # a loop device that is ours
small= # a file system that is
trap '[ -z "$loop" ] || losetup -d "$loop"; [ -z "$small" ] || umount "$small"; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

pass() {
    echo "PASS $1"
    passed=$((passed + 1))
}

fail() {
    echo "FAIL $1: $2"
    sed 's/^/    | /' "$work/out" "$work/err"
    failed=$((failed + 1))
}

skip() {
    echo "SKIP $1: $2"
    skipped=$((skipped + 1))
}

# run ARGS...: exit status to $status, output to the files out and err.
run() {
    timeout -k 5 60 "$vkvm" "$@" </dev/null >"$work/out" 2>"$work/err"
    status=$?
}

# judge NAME STATUS FILE REGEX
judge() {
    if [ "$status" -ne "$2" ]; then
        fail "$1" "exit status $status, expected $2"
    elif ! grep -qE -e "$4" "$work/$3"; then
        fail "$1" "nothing in std$3 matches: $4"
    else
        pass "$1"
    fi
}

# refused NAME STATUS REGEX ARGS...: one line on standard error, "vkvm: ...", and nothing else.
refused() {
    name=$1 expected=$2 regex=$3
    shift 3
    run "$@"
    if [ "$(wc -l <"$work/err")" -ne 1 ]; then
        fail "$name" "not exactly one line on standard error"
    elif [ -s "$work/out" ]; then
        fail "$name" "something on standard output"
    else
        judge "$name" "$expected" err "^vkvm: .*$regex"
    fi
}

# accepted NAME STATUS REGEX ARGS...: nothing on standard error.
accepted() {
    name=$1 expected=$2 regex=$3
    shift 3
    run "$@"
    if [ -s "$work/err" ]; then
        fail "$name" "something on standard error"
    else
        judge "$name" "$expected" out "$regex"
    fi
}

# le BYTES NUMBER...: the numbers in little-endian.
le() {
    bytes=$1
    shift
    for number; do
        i=0
        while [ "$i" -lt "$bytes" ]; do
            # shellcheck disable=SC2059 # the format is the byte
            printf "\\$(printf %03o $((number >> 8 * i & 255)))"
            i=$((i + 1))
        done
    done
}

# elf FILE CODE: an image of one segment, CODE (printf escapes), made of the variables below.
elf() {
    {
        # shellcheck disable=SC2059 # escapes
        printf "\\177ELF\\00${class}\\00${data}\\001\\000\\000\\000\\000\\000\\000\\000\\000\\000"
        le 2 "$type" "$machine"
        le 4 1
        le 8 "$entry" 64 0
        le 4 0
        le 2 64 56 "$segments" 64 0 0
        le 4 1 7
        le 8 "$offset" "$start" "$start" "$filesize" "$memsize" 4096
        # shellcheck disable=SC2059 # escapes
        printf "$2"
    } >"$work/$1"
}

# What elf makes if nothing is changed.
good() {
    class=2 data=1 type=2 machine=62
    start=$((0x200000)) entry=$((0x200000)) offset=120 filesize=2 memsize=4096 segments=1
}

# mov $1,%eax; mov $STATUS,%edi; mov $0x510,%dx; out %eax,(%dx); hlt
exit_code() {
    printf '\\270\\001\\000\\000\\000\\277\\%03o\\000\\000\\000\\146\\272\\020\\005\\357\\364' "$1"
}

endless='\353\376' # jmp itself
halt='\364\364'

test_usage() {
    refused 'no verb' 2 'no verb'
    refused 'an unknown verb' 2 'unknown verb' frobnicate
    refused 'an unknown option instead of a verb' 2 'unknown option' --frobnicate
    refused 'help of an unknown verb' 2 'unknown verb' help frobnicate
    refused 'too many words after help' 2 'unexpected' help run now
    refused 'no image' 2 'no image' run
    refused 'options but no image' 2 'no image' run --stats
    refused 'an empty image name' 2 'empty' run ''
    refused 'two images' 2 'unexpected' run "$work/one" "$work/two"
    refused 'an unknown option' 2 'unknown' run --frobnicate "$work/spin"
    refused 'an unknown letter' 2 'unknown option -x' run -x "$work/spin"
    refused 'an option without its value' 2 'needs a value' run "$work/spin" --memory
    refused 'a value for an option that takes none' 2 'takes no value' run --stats=1 "$work/spin"
    refused 'memory that is no size' 2 'not a size' run --memory lots "$work/spin"
    refused 'negative memory' 2 'not a size' run --memory -5 "$work/spin"
    refused 'too little memory' 2 'out of range' run --memory 1M "$work/spin"
    refused 'too much memory' 2 'out of range' run --memory 1025G "$work/spin"
    refused 'memory beyond 64 bits' 2 'out of range' run --memory 99999999999T "$work/spin"
    refused 'memory that is no whole pages' 2 'multiple of 4K' run --memory 5000001 "$work/spin"
    refused 'no CPU' 2 'give 1 to' run --cpus 0 "$work/spin"
    refused 'too many CPUs' 2 'give 1 to' run --cpus 1000 "$work/spin"
    refused 'too small a budget' 2 'out of range' run --ram 1K "$work/spin"
    refused 'a swap file without a name' 2 'no name' run --swap= "$work/spin"
    refused 'a file to map without its name' 2 'incomplete' \
        run --map gpa=0x1000000000,size=4K,shared "$work/spin"
    refused 'a file to map where RAM is' 2 'not possible' \
        run --map gpa=0,size=4K,file=x,shared "$work/spin"
    refused 'a file to map neither shared nor private' 2 'private or shared' \
        run --map gpa=0x1000000000,size=4K,file=x "$work/spin"
    refused 'a file to map over a window' 2 'overlaps' run --window gpa=0x1000000000,size=8K \
        --map gpa=0x1000001000,size=4K,file=x,shared "$work/spin"
    refused 'an unknown word for a file to map' 2 'unknown' \
        run --map gpa=0x1000000000,size=4K,file=x,often "$work/spin"
    refused 'a timeout that is no time' 2 'not a time' run --timeout soon "$work/spin"
    refused 'a window without a size' 2 'incomplete' run --window gpa=0x1000000000 "$work/spin"
    refused 'a window in RAM' 2 'not possible' run --window gpa=0,size=4K "$work/spin"
    refused 'overlapping windows' 2 'overlaps' run --window gpa=0x1000000000,size=8K \
        --window gpa=0x1000001000,size=4K "$work/spin"
    refused 'too much prefault' 2 'give 0 to' run --prefault 100000 "$work/spin"
    refused 'superpages that are neither auto nor off' 2 'auto or off' run --superpages on "$work/spin"
    refused 'an unknown placement' 2 'auto, spin, spin-short' run --placement moon "$work/spin"
}

test_files() {
    refused 'a missing image' 127 'no such file' run "$work/missing"
    refused 'an image below a file' 127 'no such file' run "$work/spin/image"
    refused 'a directory' 126 'is a directory' run "$work"
    refused 'a device' 126 'not a regular file' run /dev/zero
    refused 'a missing device tree' 126 'no such file' run --fdt "$work/missing" "$work/spin"
    refused 'a device tree that is none' 126 'not a device tree' run --fdt "$work/spin" "$work/spin"
    refused 'a missing overlay' 126 'no such file' run --fdt-overlay "$work/missing" "$work/spin"
    refused 'an overlay that is none' 126 'not a device tree' \
        run --fdt-overlay "$work/spin" "$work/spin"
    refused 'a JSON file that cannot be made' 125 'cannot write' \
        run --json="$work/missing/json" "$work/spin"
    refused 'a name with a newline' 127 'no such file' run "$work/two
lines"
    if [ "$(id -u)" -eq 0 ]; then
        skip 'an image that may not be read' 'root may read everything'
    else
        cp "$work/spin" "$work/forbidden"
        chmod 000 "$work/forbidden"
        refused 'an image that may not be read' 126 'Permission denied' run "$work/forbidden"
    fi
}

# bad_elf NAME REGEX ASSIGNMENT...: an image that differs from a good one in these variables.
bad_elf() {
    name=$1 regex=$2
    shift 2
    good
    for assignment; do
        eval "$assignment"
    done
    elf bad "$endless"
    refused "$name" 126 "$regex" run "$work/bad"
}

test_images() {
    : >"$work/empty"
    refused 'an empty file' 126 'not an ELF' run "$work/empty"
    refused 'a script' 126 'is a script' run "$0"
    good
    elf good "$endless"
    head -c 40 "$work/good" >"$work/bad"
    refused 'half an ELF header' 126 'ELF' run "$work/bad"
    head -c 100 "$work/good" >"$work/bad"
    refused 'half a program header' 126 'no program headers' run "$work/bad"
    head -c 121 "$work/good" >"$work/bad"
    refused 'a truncated segment' 126 'truncated' run "$work/bad"
    bad_elf 'a 32-bit image' '32-bit' class=1
    bad_elf 'a big-endian image' 'big-endian' data=2
    bad_elf 'an image for another machine' 'ELF machine 183' machine=183
    bad_elf 'an object file' 'ELF type 1' type=1
    bad_elf 'a position-independent image' 'position-independent' type=3
    bad_elf 'an image outside memory' 'needs memory up to 0x7001000: give --memory 128M' \
        start=$((0x7000000)) entry=$((0x7000000))
    bad_elf 'an image no memory can hold' 'beyond the largest' start=$((1 << 40))
    bad_elf 'an image where the start-up tables lie' 'start-up data' start=0 entry=0
    bad_elf 'an image that wraps around' 'beyond the largest' start=-4096
    bad_elf 'a segment larger in the file' 'in the file but' memsize=1
    bad_elf 'a segment of absurd size' 'beyond the largest' memsize=-1
    bad_elf 'bytes at an absurd place' 'truncated' offset=-1
    bad_elf 'an entry point outside the segment' 'entry point' entry=4096
    good
    segments=2
    elf linux ''
    {
        le 4 4 4
        le 8 176 0 0 32 32 4
        le 4 4 16 1
        printf 'GNU\000'
        le 8 0 0
    } >>"$work/linux"
    refused 'a program for Linux' 126 'is a program for Linux' run "$work/linux"
    good
}

test_help() {
    accepted 'vkvm --help' 0 '^usage: vkvm' --help
    accepted 'vkvm help' 0 '^usage: vkvm' help
    accepted 'vkvm --version' 0 '^vkvm [0-9]' --version
    accepted 'vkvm help run' 0 '^usage: vkvm run' help run
    accepted 'vkvm run --help' 0 '^usage: vkvm run' run --help
    accepted 'vkvm run -h' 0 '^usage: vkvm run' run -h
    documented run
    accepted 'vkvm help walk' 0 '^usage: vkvm walk' help walk
    accepted 'vkvm walk -h' 0 '^usage: vkvm walk' walk -h
    documented walk
    accepted 'vkvm help test' 0 '^usage: vkvm test' help test
    accepted 'vkvm test -h' 0 '^usage: vkvm test' test -h
    documented test
}

# documented VERB: the manual has every option of its help.
documented() {
    if [ ! -f "$manual" ]; then
        skip "the manual has every option of $1" "no $manual here"
        return
    fi
    run help "$1"
    missing=
    sed -n 's/^  \(-[a-z], \)\{0,1\}--\([a-z-]*\).*/\2/p' "$work/out" >"$work/options"
    while read -r option; do
        grep -qE "^\.It.* Fl -$option( |$)" "$manual" || missing="$missing --$option"
    done <"$work/options"
    if [ -n "$missing" ]; then
        fail "the manual has every option of $1" "not there:$missing"
    else
        pass "the manual has every option of $1"
    fi
}

test_json_without_vm() {
    run run --json="$work/json" "$work/missing"
    cp "$work/json" "$work/out"
    judge 'the JSON of a missing image' 127 out '"end":"failed","exit_status":127,'
}

# exits NAME STATUS: a guest that exits so, and the JSON says that it was the guest.
exits() {
    good
    filesize=16
    elf exit "$(exit_code "$2")"
    run run --json="$work/json" "$work/exit"
    cat "$work/json" >>"$work/out"
    judge "$1" "$2" out "\"end\":\"guest\",\"exit_status\":$2,\"guest_status\":$2,.*\"adds_up\":true"
}

# What a run leaves in a mapped file.  The guest writes a mark in four places, the last one
# beyond the file's end.
mapped_file() {
    yes 0123456789abcde | head -c 41060 >"$work/data"
    cp "$work/data" "$work/expected"
    run run --map "gpa=0x1000000000,size=64K,file=$work/data,$2" "$guests/tests/file_map.elf"
    if [ "$2" = shared ]; then
        for at in $((3 * 4096)) $((3 * 4096 + 16)) $((5 * 4096 + 8)); do
            printf vkvmvkvm | dd of="$work/expected" bs=1 seek="$at" conv=notrunc 2>"$work/dd"
        done
    fi
    if [ "$status" -eq 0 ] && ! cmp "$work/data" "$work/expected" >>"$work/out" 2>&1; then
        fail "$1" 'the file has other bytes'
    else
        judge "$1" 0 out 'passed, 0 failed'
    fi
}

test_files_mapped() {
    mapped_file 'a shared file gets what the guest wrote, and keeps its size' shared
    mapped_file 'a private file stays as it is' private
    mapped_file 'a read-only file stays as it is' shared,ro
    refused 'a missing file to map' 125 'No such file' \
        run --map "gpa=0x1000000000,size=4K,file=$work/missing,shared" "$work/exit"
    refused 'a device to map' 125 'not a regular file' \
        run --map gpa=0x1000000000,size=4K,file=/dev/zero,private "$work/exit"
}

test_swap() {
    refused 'a swap file in a directory that is missing' 125 'No such file' \
        run --swap "$work/missing/swap" "$work/exit"
    refused 'a directory as swap' 125 'cannot swap' run --swap "$work" "$work/exit"
    refused 'a device that is no block device as swap' 125 'neither a file nor a block device' \
        run --swap /dev/null "$work/exit"
    run run --ram 2M --swap "$work/swap" --json="$work/json" "$work/exit"
    cat "$work/json" >>"$work/out"
    judge 'the JSON tells budget and swap' 124 out '"budget_pages":512,"swap_pages":[1-9]'
    if command -v flock >/dev/null; then
        timeout 20 flock "$work/swap" "$vkvm" run --swap "$work/swap" "$work/exit" \
            >"$work/out" 2>"$work/err"
        status=$?
        judge 'a swap file in use' 125 err '^vkvm: .*another VM'
    else
        skip 'a swap file in use' 'no flock here'
    fi
    test_swap_device
    test_lost_swap
    test_full_swap
}

# damaged DAMAGE [ARGUMENT]: run a guest that has most of its memory in swap, do that to the swap
# file, and let it go on.
damaged() {
    rm -f "$work/swap" "$work/in" "$work/out"
    : >"$work/out"
    mkfifo "$work/in"
    timeout -k 5 60 "$vkvm" run --stats --memory 64M --ram 4M --swap "$work/swap" \
        "$guests/tests/lost_swap.elf" -- wait=1 ${2:+"$2"} <"$work/in" >"$work/out" 2>"$work/err" &
    exec 3>"$work/in"
    tries=300
    until grep -q written "$work/out" || [ "$tries" -eq 0 ]; do
        tries=$((tries - 1))
        sleep 0.1
    done
    eval "$1"
    echo >&3
    exec 3>&-
    wait $!
    status=$?
}

test_lost_swap() {
    damaged :
    judge 'memory comes back from swap' 0 out '1 passed, 0 failed'
    damaged ": >$work/swap"
    judge 'a swap file made empty ends the run' 125 err 'lost: give --swap'
    judge 'a swap file made empty, offset and cause' 125 err \
        "^vkvm: swap .*/swap.*: the page at offset [0-9]+ cannot be read: "
    judge 'a swap file made empty is counted' 125 err 'from swap: memory that is lost +1$'
    damaged "yes | dd of=$work/swap bs=1M count=16 conv=notrunc iflag=fullblock 2>/dev/null"
    judge 'an overwritten swap file ends the run' 125 err '^vkvm: swap .*is not what was written'
    damaged ": >$work/swap" handle=1
    judge 'a guest that handles its faults sees what swap has lost' 0 out '1 passed, 0 failed'
}

# A block device that the host has mounted keeps what is on it; when nobody uses it, it is swap.
test_swap_device() {
    dd if=/dev/zero of="$work/disk" bs=1M count=4 2>/dev/null
    mkdir "$work/mounted"
    if ! mke2fs -q "$work/disk" 2>/dev/null ||
        ! loop=$(losetup -f --show "$work/disk" 2>/dev/null); then
        loop=
        skip 'a block device as swap' 'no loop device can be had here'
        return
    fi
    if mount "$loop" "$work/mounted" 2>/dev/null; then
        refused 'a mounted block device as swap' 125 'in use.* mounted.*: give --swap another' \
            run --ram 2M --swap "$loop" "$guests/tests/budget.elf"
        umount "$work/mounted"
    else
        skip 'a mounted block device as swap' 'nothing can be mounted here'
    fi
    run run --memory 16M --ram 2M --swap "$loop" "$guests/tests/budget.elf" \
        -- budget=512 pages=1024 passes=1
    judge 'a block device as swap' 0 out ', 0 failed'
    losetup -d "$loop"
    loop=
}

# Writing fails again and again: it is told once, and in the end the budget is what counts.
test_full_swap() {
    mkdir "$work/small"
    if ! mount -t tmpfs -o size=1M tmpfs "$work/small" 2>/dev/null; then
        skip 'a file system that is full' 'no file system can be mounted here'
        return
    fi
    run run --ram 2M --swap "$work/small/swap" "$guests/tests/budget.elf"
    umount "$work/small"
    if [ "$(grep -c 'page-out: ' "$work/err")" -ne 1 ] || [ "$(wc -l <"$work/err")" -ne 2 ]; then
        fail 'a file system that is full' 'not one warning and one error'
    else
        judge 'a file system that is full' 125 err 'page-out: .*: No space left on device'
        judge 'the remedy for full swap' 125 err 'RAM budget used up.* --swap .*room'
    fi
}

# Input into memory that refuses it at first: no byte is lost or comes twice.
test_input() {
    printf 'abcdefghijklmnopqrstuvwxyz' >"$work/input"
    for ring in 0 3; do
        timeout -k 5 60 "$vkvm" run "$guests/tests/input.elf" -- ring=$ring <"$work/input" \
            >"$work/out" 2>"$work/err"
        status=$?
        judge "input into refused memory, ring $ring" 0 out 'read: abcdefghijklmnopqrstuvwxyz'
    done
}

# begin OPTIONS...: as $pid, a run that goes on for ever, until its guest has spoken: it heeds signals now.
begin() {
    good
    filesize=6
    elf begun '\260\101\346\351\353\376' # mov $'A',%al; out %al,$0xe9; 1: jmp 1b
    : >"$work/out"
    "$vkvm" run "$@" "$work/begun" </dev/null >>"$work/out" 2>"$work/err" &
    pid=$!
    tries=600
    until [ -s "$work/out" ] || ! kill -0 "$pid" 2>/dev/null || [ "$tries" -eq 0 ]; do
        tries=$((tries - 1))
        sleep 0.1
    done
}

test_guests() {
    exits 'a guest that succeeds' 0
    exits 'a guest that exits with 42' 42
    exits 'a guest that exits with the status of a timeout' 124
    run run --stats "$work/exit"
    judge 'the statistics add up' 124 err 'faults by kind: .*: adds up'
    run run --json "$work/exit"
    judge 'JSON to standard error' 124 err '^[{]"vkvm":.*[}]$'
    run run --timeout 0.2 --json="$work/json" "$work/spin"
    judge 'a guest that never ends, with a timeout' 124 err '^vkvm: '
    cp "$work/json" "$work/out"
    judge 'the JSON of a timeout' 124 out '"end":"timeout","exit_status":124,"message":'
    good
    elf halt "$halt"
    refused 'a guest that halts for ever' 70 '' run --timeout 20 "$work/halt"
    segments=2 offset=176
    elf zeros ''
    {
        le 4 1 6
        le 8 -1 $((0x300000)) $((0x300000)) 0 4096 4096
        # shellcheck disable=SC2059 # escapes
        printf "$halt"
    } >>"$work/zeros"
    refused 'zeros from beyond the end of the file' 70 'halted' run --timeout 20 "$work/zeros"
    good
    elf crash '\017\013' # ud2, and there is no handler
    refused 'a guest that crashes' 70 '' run --timeout 20 "$work/crash"
    begin
    kill -TERM "$pid"
    wait "$pid"
    status=$?
    judge 'a guest ended by SIGTERM' 143 err '^vkvm: '
    test_swap
    test_files_mapped
    if [ ! -f "$guests/hello.elf" ]; then
        : >"$work/out"
        : >"$work/err"
        fail 'hello' "no image $guests/hello.elf"
        return
    fi
    test_input
    accepted 'hello' 0 '^hello' run "$guests/hello.elf"
    accepted 'arguments reach the guest' 7 '^hello' run "$guests/hello.elf" -- status=7
    accepted 'hello on 4 CPUs with 2G' 0 '^hello' run --cpus 4 --memory 2G "$guests/hello.elf"
}

# shellcheck source=tests/cli/walk.sh
. "$(dirname "$0")/walk.sh"
# shellcheck source=tests/cli/terminal.sh
. "$(dirname "$0")/terminal.sh"
# shellcheck source=tests/cli/dtb.sh
. "$(dirname "$0")/dtb.sh"
# shellcheck source=tests/cli/monitor.sh
. "$(dirname "$0")/monitor.sh"
# shellcheck source=tests/cli/odd.sh
. "$(dirname "$0")/odd.sh"
# shellcheck source=tests/cli/gdb.sh
. "$(dirname "$0")/gdb.sh"
# shellcheck source=tests/cli/limits.sh
. "$(dirname "$0")/limits.sh"
# shellcheck source=tests/cli/inject.sh
. "$(dirname "$0")/inject.sh"
# shellcheck source=tests/cli/record.sh
. "$(dirname "$0")/record.sh"
# shellcheck source=tests/cli/trace.sh
. "$(dirname "$0")/trace.sh"
# shellcheck source=tests/cli/report.sh
. "$(dirname "$0")/report.sh"
# shellcheck source=tests/cli/test.sh
. "$(dirname "$0")/test.sh"
# shellcheck source=tests/cli/boot.sh
. "$(dirname "$0")/boot.sh"
# shellcheck source=tests/cli/disk.sh
. "$(dirname "$0")/disk.sh"
# shellcheck source=tests/cli/counted.sh
. "$(dirname "$0")/counted.sh"

all() {
    test_usage
    test_files
    test_images
    test_help
    test_json_without_vm
    test_walk
    test_odd
    test_dtb
    test_gdb_options
    test_escape_usage
    test_inject_usage
    test_trace_usage
    test_trace
    test_report
    test_suites
    test_boot
    test_disk
    test_counted
    if unusable=$("$build/host_check" 2>&1); then
        test_guests
        test_suite_guests
        test_limits
        test_boot_guests
        test_disk_guests
        test_odd_guests
        test_dtb_guests
        test_terminal
        test_gdb
        test_monitor
        test_confinement
        test_inject_runs
        test_trace_runs
    else
        skip 'everything that runs a guest' "${unusable:-host_check failed}"
    fi
}

good
elf spin "$endless"
if [ $# -eq 0 ]; then
    all
else
    for part; do
        "test_$part"
    done
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
