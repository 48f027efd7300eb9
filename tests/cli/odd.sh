# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2034,SC2154 # part of run.sh
#
# Odd input, as somebody who wants to break the program gives it: still one line with cause and
# remedy and the right exit status, and no file is written that should not be.

place=gpa=0x1000000000,size=4K

# kept NAME FILE: the file has still the bytes that it had, which are those of $work/spin.
kept() {
    if cmp "$work/spin" "$2" >"$work/out" 2>&1; then
        pass "$1"
    else
        fail "$1" "$2 was overwritten"
    fi
}

test_odd_values() {
    for text in '' ' 64M' +64M 64MB 0x 6_4 64M0 1e9 "$(printf '64M\n')x"; do
        refused "memory that is no size: '$text'" 2 'not a size' run --memory="$text" "$work/spin"
    done
    for text in 0 0x0 18446744073709551615 18446744073709551616 0x10000000000000000 16777216T; do
        refused "memory out of range: $text" 2 'out of range' run --memory "$text" "$work/spin"
    done
    for text in '' 0 -1 4294967297 0x10000000000000000 1.0; do
        refused "CPUs: '$text'" 2 'give 1 to 64' run --cpus "$text" "$work/spin"
        refused "fault threads: '$text'" 2 'give 1 to 64' run --fault-threads "$text" "$work/spin"
    done
    for text in '' . -1 1e3 ' 1' 1s; do
        refused "a timeout: '$text'" 2 'not a time' run --timeout "$text" "$work/spin"
    done
    for text in 4294967.3 99999999999999999999999; do
        refused "a timeout: $text" 2 'too long' run --timeout "$text" "$work/spin"
    done
    refused 'an empty placement' 2 'auto, spin, spin-short' run --placement '' "$work/spin"
    refused 'a JSON file without a name' 2 'no name' run --json= "$work/spin"
    refused 'an option of dashes' 2 'unknown' run ---- "$work/spin"
    refused 'an ambiguous option' 2 'ambiguous' run --f "$work/spin"
    refused 'an empty verb' 2 'unknown verb' ''
    refused 'an image behind --' 2 'no image' run -- "$work/spin"
    refused 'a word behind --version' 2 'unexpected' --version now
    refused 'an escape sequence as a name' 127 'a\\x1b\[31mb' run "$(printf 'a\033[31mb')"
    refused 'a name too long for a file' 126 'File name too long' run "$(printf '%05000d' 0)"
}

test_odd_places() {
    for text in '' ',' '=' '=,=' gpa 'size=4K,,'; do
        refused "a window: '$text'" 2 '.' run --window "$text" "$work/spin"
        refused "a file to map: '$text'" 2 '.' run --map "$text" "$work/spin"
    done
    for text in 0xffffffffffffffff 0x4000000000 0xfffffffff000 0x1000000fff -4096; do
        refused "a window at $text" 2 'gpa=.* is not possible' \
            run --window "gpa=$text,size=4K" "$work/spin"
        refused "a file mapped at $text" 2 'gpa=.* is not possible' \
            run --map "gpa=$text,size=4K,file=$work/spin,private" "$work/spin"
    done
    refused 'a window beyond the end' 2 'ends above' run --window gpa=0x3ffffff000,size=8K "$work/spin"
    refused 'a window larger than all' 2 'out of range' \
        run --window gpa=0x1000000000,size=193G "$work/spin"
    refused 'a file mapped beyond the end' 2 'ends above' \
        run --map "gpa=0x3ffffff000,size=8K,file=$work/spin,private" "$work/spin"
    refused 'a file mapped with two addresses' 2 'two gpa=' \
        run --map "$place,gpa=0x2000000000,file=$work/spin,private" "$work/spin"
    refused 'two files mapped at one place' 2 'overlaps' run --map "$place,file=$work/spin,private" \
        --map "$place,file=$work/empty,private" "$work/spin"
}

# A file that the run writes is used for nothing else.
test_odd_files() {
    cp "$work/spin" "$work/victim"
    ln -sf victim "$work/alias"
    refused 'the image as swap' 2 'the image and for --swap' run --swap "$work/victim" "$work/victim"
    refused 'the image under another name as swap' 2 'its own file' \
        run --swap "$work/alias" "$work/victim"
    refused 'the image as JSON' 2 'the image and for --json' run --json="$work/victim" "$work/victim"
    refused 'the device tree as JSON' 2 '--fdt and for --json' \
        run --fdt "$work/victim" --json="$work/alias" "$work/spin"
    refused 'the image mapped and written' 2 'the image and for --map' \
        run --map "$place,file=$work/victim,shared" "$work/victim"
    refused 'swap that is mapped' 2 '--swap and for --map' \
        run --swap "$work/victim" --map "$place,file=$work/alias,private" "$work/spin"
    refused 'swap as JSON' 2 '--swap and for --json' \
        run --swap "$work/victim" --json="$work/victim" "$work/spin"
    refused 'swap as JSON, in a file that is not there yet' 2 '--swap and for --json' \
        run --swap "$work/new" --json="$work/new" "$work/spin"
    kept 'none of them was written' "$work/victim"
    mkfifo "$work/pipe"
    ln -sf loop "$work/loop"
    refused 'a FIFO as image' 126 'not a regular file' run "$work/pipe"
    refused 'a loop of links as image' 126 'symbolic links' run "$work/loop"
    refused 'a FIFO as device tree' 126 'not a regular file' run --fdt "$work/pipe" "$work/spin"
    refused 'a directory as device tree' 126 'is a directory' run --fdt "$work" "$work/spin"
    refused 'a FIFO as overlay' 126 'not a regular file' run --fdt-overlay "$work/pipe" "$work/spin"
    refused 'a FIFO as memory' 126 'not a regular file' walk --ram "$work/pipe" --root 0 r:0
    # A tree whose parts lie beyond its end, and one that says it is 4 GiB.
    printf '\320\015\376\355\000\000\000\050\377\377\377\360\377\377\377\360\377\377\377\360\000\000\000\021\000\000\000\020\000\000\000\000\000\000\000\000\377\377\377\377' \
        >"$work/dtb"
    refused 'a device tree whose parts lie outside' 126 'not a device tree' \
        run --fdt "$work/dtb" "$work/spin"
    refused 'an overlay whose parts lie outside' 126 'not a device tree' \
        run --fdt-overlay "$work/dtb" "$work/spin"
    printf '\320\015\376\355\377\377\377\377' >"$work/dtb"
    refused 'a device tree of 4 GiB in 8 bytes' 126 'not a device tree' \
        run --fdt "$work/dtb" "$work/spin"
}

# segments NAME REGEX START FILESIZE MEMSIZE [...]: an image with several segments.
segments() {
    name=$1 regex=$2
    shift 2
    {
        printf '\177ELF\002\001\001\000\000\000\000\000\000\000\000\000'
        le 2 2 62
        le 4 1
        le 8 $((0x200000)) 64 0
        le 4 0
        le 2 64 56 $(($# / 3)) 64 0 0
        while [ $# -gt 0 ]; do
            le 4 1 7
            le 8 0 "$1" "$1" "$2" "$3" 4096
            shift 3
        done
    } >"$work/bad"
    refused "$name" 126 "$regex" run "$work/bad"
}

test_odd_images() {
    segments 'segments that overlap' 'overlap' \
        $((0x200000)) 64 4096 $((0x200800)) 64 4096
    segments 'one segment inside another' 'overlap' \
        $((0x200000)) 64 1048576 $((0x210000)) 64 4096
    segments 'segments of no size' 'no .*segment|nothing' $((0x200000)) 0 0 $((0x300000)) 0 0
    segments 'a second segment of absurd size' 'beyond the largest' \
        $((0x200000)) 64 4096 $((0x300000)) 64 -1
    segments 'a second segment that wraps around' 'beyond the largest' \
        $((0x200000)) 64 4096 -4096 64 8192
    good
    elf bad "$endless"
    # e_phnum, then e_phentsize, then e_phoff: absurd
    printf '\377\377' | dd of="$work/bad" bs=1 seek=56 conv=notrunc 2>"$work/dd"
    refused '65535 program headers' 126 'program headers' run "$work/bad"
    elf bad "$endless"
    printf '\001\000' | dd of="$work/bad" bs=1 seek=54 conv=notrunc 2>"$work/dd"
    refused 'program headers of 1 byte' 126 '.' run "$work/bad"
    elf bad "$endless"
    printf '\377\377\377\377\377\377\377\377' |
        dd of="$work/bad" bs=1 seek=32 conv=notrunc 2>"$work/dd"
    refused 'program headers nowhere' 126 'program headers' run "$work/bad"
}

test_odd() {
    test_odd_values
    test_odd_places
    test_odd_files
    test_odd_images
}

# streams NAME STATUS REGEX COMMAND: the shell command, $run among it, closes streams.  The
# regex is for what comes to standard error; it may be left empty.
streams() {
    : >"$work/out"
    (eval "$4") 2>"$work/err"
    status=$?
    echo end >>"$work/err"
    judge "$1" "$2" err "$3"
}

# One descriptor more at a time, until there are enough: whatever the missing one was for.
test_odd_descriptors() {
    limit=6
    while
        (eval "ulimit -n $limit; $run '$work/exit'") 2>"$work/err"
        status=$?
        [ "$status" -ne 3 ] && [ "$limit" -lt 40 ]
    do
        judge "$limit descriptors are too few" 125 err '^vkvm: .*Too many open files'
        limit=$((limit + 1))
    done
    echo "$limit" >"$work/out"
    judge "$limit descriptors are enough" 3 out '^[1-3][0-9]$'
}

# A process that nobody would continue is not stopped: its session's leader, with its parent outside.
test_orphan() {
    : >"$work/out"
    # shellcheck disable=SC2016 # expanded by the inner shell
    timeout -k 5 60 setsid sh -c 'echo $$ >"$2/leader"; exec "$1" run --timeout 3 "$2/talk"' \
        sh "$vkvm" "$work" >"$work/out" 2>"$work/err" &
    waiting=$!
    until [ -s "$work/out" ] || ! kill -0 "$waiting" 2>/dev/null; do
        sleep 0.1
    done
    kill -TSTP "$(cat "$work/leader")"
    wait "$waiting"
    status=$?
    : >"$work/out"
    judge 'a process that nobody would continue is not stopped' 124 err '^vkvm: not done'
}

# shellcheck disable=SC2016 # expanded by eval
test_odd_guests() {
    good
    filesize=16
    elf exit "$(exit_code 3)"
    good
    filesize=8
    elf talk '\260\101\346\351\353\372\364\364' # 1: mov $'A',%al; out %al,$0xe9; jmp 1b
    run="timeout -k 5 60 '$vkvm' run"
    streams 'no standard output' 125 'standard output: Bad file descriptor' \
        "$run --timeout 20 '$work/talk' >&-"
    streams 'a full standard output' 125 'standard output: No space left' \
        "$run --timeout 20 '$work/talk' >/dev/full"
    : >"$work/swap"
    streams 'no standard streams' 125 '' \
        "$run --timeout 20 --ram 2M --swap '$work/swap' '$work/talk' <&- >&- 2>&-"
    if [ -s "$work/swap" ]; then
        fail 'what is printed goes into no file' 'it went into the swap file'
    else
        pass 'what is printed goes into no file'
    fi
    streams 'no standard error' 3 '' "$run --stats '$work/exit' 2>&-"
    streams 'JSON to standard error that is closed' 125 '' "$run --json '$work/exit' 2>&-"
    streams 'JSON to a full device' 125 'cannot write the JSON' \
        "$run --json=/dev/full '$work/exit'"
    test_orphan
    streams 'a directory as standard input' 3 '' "$run '$work/exit' <'$work'"
    test_odd_descriptors
    streams 'no file may grow' 125 '^vkvm: ' "ulimit -f 1; $run '$work/exit'"
}
