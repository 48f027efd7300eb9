# shellcheck shell=sh
# SPDX-License-Identifier: BSD-2-Clause
#
# `vkvm walk` from outside: what it prints for each format and result, what
# --set-am leaves in the file, standard input, bad input.
#
# Part of tests/cli/run.sh, which defines what is used here and calls test_walk.
# Tables are written entry by entry into a file of 64 pages.

# shellcheck disable=SC2154 # run.sh's
memory=$work/memory
wanted=$work/expected

# put OFFSET VALUE...: entries of 8 bytes, one after the other.
put() {
    at=$1
    shift
    le 8 "$@" | dd of="$memory" bs=1 seek="$((at))" conv=notrunc 2>/dev/null
}

# put4 OFFSET VALUE: an entry of 4 bytes.
put4() {
    le 4 "$2" | dd of="$memory" bs=1 seek="$(($1))" conv=notrunc 2>/dev/null
}

# get OFFSET: the entry of 8 bytes there, in hexadecimal.
get() {
    od -A n -t x8 -j "$(($1))" -N 8 "$memory" | tr -d ' '
}

fresh_memory() {
    rm -f "$memory"
    truncate -s 256K "$memory"
}

# e LEVEL AT VALUE AFTER: one of the entries as it is printed, numbers given in any base.
e() {
    printf '{"level":%u,"at":%u,"value":%u,"after":%u}' "$1" "$2" "$3" "$4"
}

# line ACCESS ADDR RESULT LEVEL PHYS ENTRY...: a line as it must be printed; PHYS '' if not ok.
line() {
    printf '{"access":"%s","addr":%u,"result":"%s","level":%u,' "$1" "$2" "$3" "$4"
    [ -z "$5" ] || printf '"pindex":%u,"phys":%u,' $(($5 / 4096)) "$5"
    shift 5
    printf '"entries":['
    separator=
    for entry; do
        printf '%s%s' "$separator" "$entry"
        separator=,
    done
    printf ']}\n'
}

# prints NAME ARGS...: `vkvm walk` of the memory prints what the file $wanted holds, nothing else.
prints() {
    name=$1
    shift
    run walk --ram "$memory" "$@"
    if [ "$status" -ne 0 ] || [ -s "$work/err" ]; then
        fail "$name" "exit status $status"
    elif ! cmp -s "$wanted" "$work/out"; then
        fail "$name" "expected $(cat "$wanted")"
    else
        pass "$name"
    fi
}

# holds NAME OFFSET HEX: the entry in the file.
holds() {
    found=$(get "$2")
    if [ "$found" = "$3" ]; then
        pass "$1"
    else
        fail "$1" "at $2 is $found, expected $3"
    fi
}

# reads NAME STATUS FILE REGEX INPUT ARGS...: like judge, INPUT (printf escapes) on standard input.
reads() {
    name=$1 want=$2 file=$3 regex=$4 input=$5
    shift 5
    # shellcheck disable=SC2059,SC2154 # escapes; run.sh's
    printf "$input" | timeout -k 5 60 "$vkvm" walk --ram "$memory" "$@" \
        >"$work/out" 2>"$work/err"
    status=$?
    if [ "$status" -eq 0 ] && [ -s "$work/err" ]; then
        fail "$name" "something on standard error"
    elif [ "$status" -ne 0 ] && { [ -s "$work/out" ] || [ "$(wc -l <"$work/err")" -ne 1 ]; }; then
        fail "$name" "not exactly one line, on standard error"
    else
        judge "$name" "$want" "$file" "$regex"
    fi
}

# vpte64: V 1, PS 2, R 4, W 8, X 10, A 20, M 40.  A path of four tables to page 9.
vpte64_tables() {
    fresh_memory
    put 0x1000 0x201d
    put 0x2000 0x301d
    put 0x3000 0x401d
    put 0x4008 0x901d 0x9005 0 0x4001d
    put 0x3008 0x801f # PS: two megabytes from page 8
    put 0x3010 0x4001d
}

# shellcheck disable=SC2086 # $upper is a list of words
test_walk_vpte64() {
    vpte64_tables
    upper="$(e 1 0x1000 0x201d 0x207d) $(e 2 0x2000 0x301d 0x307d) $(e 3 0x3000 0x401d 0x407d)"
    line r 0x1abc ok 4 0x9abc $upper "$(e 4 0x4008 0x901d 0x903d)" >"$wanted"
    prints 'vpte64: a read sets A, and A and M above what it changed' --root 0x101d r:0x1abc
    line w 0x1000 ok 4 0x9000 $upper "$(e 4 0x4008 0x901d 0x907d)" >"$wanted"
    prints 'vpte64: a write sets A and M everywhere' --root 0x101d w:0x1000
    # The third level changed nothing below it, so it gets A alone.
    upper="$(e 1 0x1000 0x201d 0x207d) $(e 2 0x2000 0x301d 0x307d) $(e 3 0x3000 0x401d 0x403d)"
    line x 0x2000 protection 4 '' $upper "$(e 4 0x4010 0x9005 0x9005)" >"$wanted"
    prints 'vpte64: protection at the last level' --root 0x101d x:0x2000
    line r 0x3000 invalid 4 '' $upper "$(e 4 0x4018 0 0)" >"$wanted"
    prints 'vpte64: invalid at the last level' --root 0x101d r:0x3000
    line r 0x4000 bad_frame 4 '' "$(e 1 0x1000 0x201d 0x207d)" "$(e 2 0x2000 0x301d 0x307d)" \
        "$(e 3 0x3000 0x401d 0x407d)" "$(e 4 0x4020 0x4001d 0x4003d)" >"$wanted"
    prints 'vpte64: a result beyond the object' --root 0x101d r:0x4000
    line r 0x4000 ok 4 0x40000 "$(e 1 0x1000 0x201d 0x207d)" "$(e 2 0x2000 0x301d 0x307d)" \
        "$(e 3 0x3000 0x401d 0x407d)" "$(e 4 0x4020 0x4001d 0x4003d)" >"$wanted"
    prints 'vpte64: a result beyond the file, inside the object' --root 0x101d \
            --object-pages 65 r:0x4000
    line r 0x203456 ok 3 0xb456 "$(e 1 0x1000 0x201d 0x207d)" "$(e 2 0x2000 0x301d 0x307d)" \
        "$(e 3 0x3008 0x801f 0x803f)" >"$wanted"
    prints 'vpte64: PS ends the walk' --root 0x101d r:0x203456
    set -- "$(e 1 0x1000 0x201d 0x207d)" "$(e 2 0x2000 0x301d 0x307d)" \
        "$(e 3 0x3010 0x4001d 0x4003d)"
    line r 0x400000 bad_frame 3 '' "$@" >"$wanted"
    prints 'vpte64: a table page beyond the object' --root 0x101d r:0x400000
    line r 0x400000 bad_frame 3 '' "$@" >"$wanted"
    prints 'vpte64: a table page beyond the file, inside the object' --root 0x101d \
            --object-pages 1000 r:0x400000
    line w 0x3007 ok 0 0x5007 >"$wanted"
    prints 'vpte64: a linear root' --root 0x200f w:0x3007
    line r 0x0 invalid 0 '' >"$wanted"
    prints 'vpte64: an invalid root' --root 0 r:0
    line w 0x0 protection 0 '' >"$wanted"
    prints 'vpte64: a root that forbids' --root 0x1005 w:0
    line r 0x0 bad_frame 0 '' >"$wanted"
    prints 'vpte64: a root beyond the object' --root 0x4001d r:0
    line r 0x0 bad_frame 0 '' >"$wanted"
    prints 'vpte64: an object of no pages' --root 0x101d \
        --object-pages 0 r:0
    {
        line r 0 invalid 0 ''
        line x 0xffffffffffff invalid 0 ''
    } >"$wanted"
    prints 'vpte64: accesses in their order' --root 0 r:0 x:281474976710655
}

test_walk_vpte32() {
    fresh_memory
    put4 0x1004 0x201d
    put4 0x2008 0x901d
    put4 0x200c 0xffffffff
    line w 0x402abc ok 2 0x9abc "$(e 1 0x1004 0x201d 0x207d)" "$(e 2 0x2008 0x901d 0x907d)" >"$wanted"
    prints 'vpte32: a write' --format vpte32 --root 0x101d --set-am w:0x402abc
    holds 'vpte32: an entry of 4 bytes was written, its neighbour was not' 0x2008 ffffffff0000907d
}

test_walk_set_am() {
    vpte64_tables
    cp "$memory" "$work/before"
    run walk --ram "$memory" --root 0x101d w:0x1000 r:0x203000
    if cmp -s "$memory" "$work/before"; then
        pass 'without --set-am the file stays as it is'
    else
        fail 'without --set-am the file stays as it is' 'it changed'
    fi
    { # the second access sees what the first one left
        line r 0x1000 ok 4 0x9000 "$(e 1 0x1000 0x201d 0x207d)" "$(e 2 0x2000 0x301d 0x307d)" \
            "$(e 3 0x3000 0x401d 0x407d)" "$(e 4 0x4008 0x901d 0x903d)"
        line w 0x1000 ok 4 0x9000 "$(e 1 0x1000 0x207d 0x207d)" "$(e 2 0x2000 0x307d 0x307d)" \
            "$(e 3 0x3000 0x407d 0x407d)" "$(e 4 0x4008 0x903d 0x907d)"
        line w 0x2000 protection 4 '' "$(e 1 0x1000 0x207d 0x207d)" \
            "$(e 2 0x2000 0x307d 0x307d)" "$(e 3 0x3000 0x407d 0x407d)" "$(e 4 0x4010 0x9005 0x9005)"
    } >"$wanted"
    prints 'with --set-am accesses see what earlier ones set' --root 0x101d --set-am \
        r:0x1000 w:0x1000 w:0x2000
    holds '--set-am: level 1' 0x1000 000000000000207d
    holds '--set-am: level 2' 0x2000 000000000000307d
    holds '--set-am: level 3' 0x3000 000000000000407d
    holds '--set-am: level 4' 0x4008 000000000000907d
    holds '--set-am: nothing on an entry that fails' 0x4010 0000000000009005
    # One entry at all levels: entry 1 of page 1 leads to page 1.
    put 0x1008 0x101d
    line w 0x8040201000 ok 4 0x1000 "$(e 1 0x1008 0x101d 0x107d)" "$(e 2 0x1008 0x107d 0x107d)" \
        "$(e 3 0x1008 0x107d 0x107d)" "$(e 4 0x1008 0x107d 0x107d)" >"$wanted"
    prints 'a table inside itself' --root 0x101d --set-am w:0x8040201000
    holds '--set-am: a table inside itself' 0x1008 000000000000107d
}

# x86_64: P 1, RW 2, US 4, A 20, D 40, PS 80, XD bit 63.
x86_64_tables() {
    fresh_memory
    put 0x1000 0x2003
    put 0x2000 0x3003
    put 0x3000 0x4003
    put 0x4008 0x9003 0x9001 0x9002 $(((1 << 63) + 0x9007)) 0x40003
    put 0x3008 0x200083 0x202083  # two megabytes; bit 13 reserved
    put 0x2008 0x40000083 0x40003 # a gigabyte; a table beyond the object
    put 0x1008 0x2083             # PS in a PML4E
    put 0x1ff8 0x2003             # the upper half
}

# shellcheck disable=SC2086 # $upper is a list of words
test_walk_x86_64() {
    x86_64_tables
    upper="$(e 1 0x1000 0x2003 0x2023) $(e 2 0x2000 0x3003 0x3023) $(e 3 0x3000 0x4003 0x4023)"
    set -- --format x86_64 --root 0x1018
    line r 0x1abc ok 4 0x9abc $upper "$(e 4 0x4008 0x9003 0x9023)" >"$wanted"
    prints 'x86_64: a read sets A at each level' "$@" r:0x1abc
    line w 0x1abc ok 4 0x9abc $upper "$(e 4 0x4008 0x9003 0x9063)" >"$wanted"
    prints 'x86_64: a write sets D at the last level' "$@" w:0x1abc
    line w 0x2000 protection 4 '' $upper "$(e 4 0x4010 0x9001 0x9001)" >"$wanted"
    prints 'x86_64: a write needs R/W' "$@" w:0x2000
    line r 0x3000 invalid 4 '' $upper "$(e 4 0x4018 0x9002 0x9002)" >"$wanted"
    prints 'x86_64: not present' "$@" r:0x3000
    line x 0x4000 protection 4 '' $upper \
        '{"level":4,"at":16416,"value":9223372036854812679,"after":9223372036854812679}' >"$wanted"
    prints 'x86_64: a fetch stops at XD' "$@" x:0x4000
    line r 0x1000 protection 4 '' $upper "$(e 4 0x4008 0x9003 0x9003)" >"$wanted"
    prints 'x86_64: a user-mode access needs U/S' "$@" --user r:0x1000
    line r 0x5000 bad_frame 4 '' $upper "$(e 4 0x4028 0x40003 0x40023)" >"$wanted"
    prints 'x86_64: a result beyond the object' "$@" r:0x5000
    line w 0x234567 ok 3 0x234567 "$(e 1 0x1000 0x2003 0x2023)" "$(e 2 0x2000 0x3003 0x3023)" \
        "$(e 3 0x3008 0x200083 0x2000e3)" >"$wanted"
    prints 'x86_64: two megabytes' "$@" --object-pages 0x400 w:0x234567
    line r 0x400000 reserved 3 '' "$(e 1 0x1000 0x2003 0x2023)" "$(e 2 0x2000 0x3003 0x3023)" \
        "$(e 3 0x3010 0x202083 0x202083)" >"$wanted"
    prints 'x86_64: a reserved bit of a large page' "$@" r:0x400000
    line w 0x40123456 ok 2 0x40123456 "$(e 1 0x1000 0x2003 0x2023)" \
        "$(e 2 0x2008 0x40000083 0x400000e3)" >"$wanted"
    prints 'x86_64: a gigabyte' "$@" --object-pages 0x80000 w:0x40123456
    line r 0x80000000 bad_frame 2 '' "$(e 1 0x1000 0x2003 0x2023)" "$(e 2 0x2010 0x40003 0x40023)" >"$wanted"
    prints 'x86_64: a table page beyond the object' "$@" r:0x80000000
    line r 0x8000000000 reserved 1 '' "$(e 1 0x1008 0x2083 0x2083)" >"$wanted"
    prints 'x86_64: PS in a PML4E' "$@" r:0x8000000000
    put 0x1000 0x10000002003
    line r 0x0 reserved 1 '' "$(e 1 0x1000 0x10000002003 0x10000002003)" >"$wanted"
    prints 'x86_64: an address bit above --maxphyaddr' "$@" --maxphyaddr 40 r:0
    line r 0x0 bad_frame 1 '' "$(e 1 0x1000 0x10000002003 0x10000002023)" >"$wanted"
    prints 'x86_64: an address bit that exists' "$@" --maxphyaddr 41 r:0
    line r 0x0 reserved 0 '' >"$wanted"
    prints 'x86_64: a CR3 above --maxphyaddr' --format x86_64 --root 0x10000000000 \
            --maxphyaddr 40 r:0
    run walk --ram "$memory" "$@" --set-am w:0xffffff8000001000
    judge 'x86_64: an address of the upper half' 0 out \
        '"addr":18446743523953741824,"result":"ok","level":4,"pindex":9,"phys":36864,'
    holds '--set-am: A of a PML4E' 0x1ff8 0000000000002023
    holds '--set-am: A and D of a PTE' 0x4008 0000000000009063
}

test_walk_la57() {
    x86_64_tables
    put 0x5008 0x1003 0x1083
    line r 0x1000000001000 ok 5 0x9000 "$(e 1 0x5008 0x1003 0x1023)" "$(e 2 0x1000 0x2003 0x2023)" \
        "$(e 3 0x2000 0x3003 0x3023)" "$(e 4 0x3000 0x4003 0x4023)" "$(e 5 0x4008 0x9003 0x9023)" >"$wanted"
    prints 'x86_64-la57: five levels' --format x86_64-la57 --root 0x5000 r:0x1000000001000
    line r 0x2000000000000 reserved 1 '' "$(e 1 0x5010 0x1083 0x1083)" >"$wanted"
    prints 'x86_64-la57: PS in a PML5E' --format x86_64-la57 --root 0x5000 r:0x2000000000000
}

# EPT: R 1, W 2, X 4, memory type bits 5:3 (6 = write-back), PS 80, A 100, D 200.
# shellcheck disable=SC2086 # $upper is a list of words
test_walk_ept() {
    fresh_memory
    put 0x1000 0x2007
    put 0x2000 0x3007
    put 0x3000 0x4007
    put 0x4008 0x9037 0x9031 0 0x9032 0x901f
    put 0x3008 0x2000b7
    put 0x2008 0x300f
    upper="$(e 1 0x1000 0x2007 0x2107) $(e 2 0x2000 0x3007 0x3107) $(e 3 0x3000 0x4007 0x4107)"
    set -- --format ept --root 0x105e
    line w 0x1abc ok 4 0x9abc $upper "$(e 4 0x4008 0x9037 0x9337)" >"$wanted"
    prints 'ept: a write' "$@" w:0x1abc
    line x 0x2000 protection 4 '' $upper "$(e 4 0x4010 0x9031 0x9031)" >"$wanted"
    prints 'ept: a fetch needs X' "$@" x:0x2000
    line r 0x3000 invalid 4 '' $upper "$(e 4 0x4018 0 0)" >"$wanted"
    prints 'ept: not present' "$@" r:0x3000
    line r 0x4000 reserved 4 '' $upper "$(e 4 0x4020 0x9032 0x9032)" >"$wanted"
    prints 'ept: W without R is misconfigured' "$@" r:0x4000
    line r 0x5000 reserved 4 '' $upper "$(e 4 0x4028 0x901f 0x901f)" >"$wanted"
    prints 'ept: memory type 3 is misconfigured' "$@" r:0x5000
    line w 0x200000 bad_frame 3 '' "$(e 1 0x1000 0x2007 0x2107)" "$(e 2 0x2000 0x3007 0x3107)" \
        "$(e 3 0x3008 0x2000b7 0x2003b7)" >"$wanted"
    prints 'ept: two megabytes beyond the object' "$@" w:0x200000
    line r 0x40000000 reserved 2 '' "$(e 1 0x1000 0x2007 0x2107)" "$(e 2 0x2008 0x300f 0x300f)" >"$wanted"
    prints 'ept: a memory type where a table follows' "$@" r:0x40000000
    line w 0x1000 ok 4 0x9000 "$(e 1 0x1000 0x2007 0x2007)" "$(e 2 0x2000 0x3007 0x3007)" \
        "$(e 3 0x3000 0x4007 0x4007)" "$(e 4 0x4008 0x9037 0x9037)" >"$wanted"
    prints 'ept: no A and D if EPTP does not ask for them' --format ept --root 0x101e \
            --set-am w:0x1000
    line w 0x1000 ok 4 0x9000 "$(e 1 0x1000 0x2007 0x2107)" "$(e 2 0x2000 0x3007 0x3107)" \
        "$(e 3 0x3000 0x4007 0x4107)" "$(e 4 0x4008 0x9037 0x9337)" >"$wanted"
    prints 'ept: a bare address gets the usual EPTP' --format ept --root 0x1000 w:0x1000
    line r 0x0 reserved 0 '' >"$wanted"
    prints 'ept: an EPTP of one level' --format ept --root 0x1006 r:0
    put 0x6000 0x1007
    line r 0x1000 ok 5 0x9000 "$(e 1 0x6000 0x1007 0x1107)" "$(e 2 0x1000 0x2007 0x2107)" \
        "$(e 3 0x2000 0x3007 0x3107)" "$(e 4 0x3000 0x4007 0x4107)" "$(e 5 0x4008 0x9037 0x9137)" >"$wanted"
    prints 'ept: five levels' --format ept --root 0x6066 r:0x1000
}

test_walk_input() {
    vpte64_tables
    ok='"result":"ok","level":0,'
    reads 'accesses from standard input' 0 out "$ok" 'r:0x1000\n' --root 0x200f -
    reads 'standard input if nothing is given' 0 out "$ok" 'r:0x1000\n' --root 0x200f
    reads 'a last line without its end' 0 out "\"addr\":4096,$ok" 'r:4096' --root 0x200f -
    reads 'blank lines and blanks' 0 out "\"addr\":4096,$ok" '\n \t\n  r:4096 \r\n\n' \
        --root 0x200f -
    [ "$(wc -l <"$work/out")" -eq 1 ] || fail 'blank lines and blanks' 'not one line'
    : >"$wanted"
    prints 'no input' --root 0x200f -
    reads 'a bad line after good ones' 2 err "^vkvm: .*line 4: 'r' is not an access" \
        'r:0\n\nr:1\nr\nr:2\n' --root 0x200f -
    reads 'a NUL in a line' 2 err 'line 1: .*is not an access' 'r:0\000x\n' --root 0x200f -
    reads 'an address out of reach in a line' 2 err 'line 2: .*give an address below' \
        'r:0\nr:0x1000000000000\n' --root 0x200f -
    head -c 100000 /dev/zero | tr '\000' r >"$work/long"
    timeout 60 "$vkvm" walk --ram "$memory" --root 0x200f - <"$work/long" >"$work/out" 2>"$work/err"
    status=$?
    judge 'an endless line' 2 err '^vkvm: .*line 1: .*is not an access'
    timeout 60 "$vkvm" walk --ram "$memory" --root 0x200f - </dev/zero >"$work/out" 2>"$work/err"
    status=$?
    judge 'a line that has no end' 2 err '^vkvm: .*line 1: .*is not an access'
    reads 'blanks around an access' 0 out '"addr":0,' "%200sr:0%200s\n" --root 0x200f -
    reads 'something behind an access, however far' 2 err 'line 1: .*is not an access' \
        "r:0%200sw:0\n" --root 0x200f -
    timeout 60 "$vkvm" walk --ram "$memory" --root 0x200f - <"$work" >"$work/out" 2>"$work/err"
    status=$?
    judge 'a directory as standard input' 125 err '^vkvm: cannot read standard input'
    timeout 60 "$vkvm" walk --ram "$memory" --root 0x200f - <&- >"$work/out" 2>"$work/err"
    status=$?
    judge 'no standard input' 125 err '^vkvm: cannot read standard input: Bad file descriptor'
    yes r:0 | head -n 200 >"$work/many" # more than a stream buffers
    timeout 60 "$vkvm" walk --ram "$memory" --root 0x200f --set-am - <"$work/many" \
        >&- 2>"$work/err"
    status=$?
    judge 'no standard output' 125 err '^vkvm: cannot write to standard output'
    holds 'no standard output: nothing is printed into the file' 0 0000000000000000
    reads 'bad input leaves the file as it is' 2 err 'line 2' 'w:0x1000\nq\n' --root 0x101d \
        --set-am -
    holds 'bad input leaves the file as it is: level 1' 0x1000 000000000000201d
}

test_walk_usage() {
    vpte64_tables
    refused 'walk without a file' 2 'no --ram' walk --root 0x101d r:0
    refused 'walk without a root' 2 'no --root' walk --ram "$memory" r:0
    set -- walk --ram "$memory"
    refused 'a root that is no number' 2 'not a value' "$@" --root top r:0
    refused 'a root of more than 64 bits' 2 'not a value' "$@" --root 0x10000000000000000 r:0
    refused 'a vpte32 root of more than 32 bits' 2 'give one of 32 bits' "$@" --format vpte32 \
        --root 0x100000000 r:0
    refused 'an unknown format' 2 'give vpte64' "$@" --root 0 --format npt r:0
    refused 'pages that are no number' 2 'not a number' "$@" --root 0 --object-pages -1 r:0
    refused 'too many physical bits' 2 'give 32 to 52' "$@" --root 0 --format ept \
        --maxphyaddr 53 r:0
    refused 'physical bits of a vpte' 2 'leave it out' "$@" --root 0 --maxphyaddr 40 r:0
    refused 'user mode under EPT' 2 'leave it out' "$@" --root 0 --format ept --user r:0
    refused 'an unknown option of walk' 2 'unknown' "$@" --root 0 --frobnicate r:0
    refused 'an option of walk without its value' 2 'needs a value' "$@" --root
    refused 'a value for --set-am' 2 'takes no value' "$@" --root 0 --set-am=1 r:0
    refused 'an access without its kind' 2 'not an access' "$@" --root 0 0x1000
    refused 'an access of no kind' 2 'not an access' "$@" --root 0 q:0
    refused 'an empty access' 2 'not an access' "$@" --root 0 ''
    refused 'an access to nothing' 2 'not an access' "$@" --root 0 r:
    refused 'a negative address' 2 'not an access' "$@" --root 0 r:-1
    refused 'an address with something behind' 2 'not an access' "$@" --root 0 'r:0 '
    refused 'an address of more than 64 bits' 2 'not an access' "$@" --root 0 r:0x10000000000000000
    refused 'one bad access among good ones' 2 'not an access' "$@" --root 0 r:0 oops r:0
    refused 'standard input beside accesses' 2 'give either' "$@" --root 0 r:0 -
    refused 'an address beyond vpte32' 2 'below 0x100000000$' "$@" --root 0 --format vpte32 \
        r:0x100000000
    refused 'an address beyond EPT' 2 'below 0x1000000000000$' "$@" --root 0x105e --format ept \
        r:0x1000000000000
    refused 'an address that is not sign-extended' 2 'sign-extend it to 0xffff800000000000' "$@" \
        --root 0 --format x86_64 r:0x800000000000
    refused 'an address that is not canonical' 2 'from 0xffff800000000000 on' "$@" --root 0 \
        --format x86_64 r:0x8000000000000000
    refused 'an address not canonical for five levels' 2 'sign-extend it to 0xff00000000000000' \
        "$@" --root 0 --format x86_64-la57 r:0x100000000000000
}

test_walk_files() {
    set -- --root 0x101d r:0
    refused 'walk of a missing file' 127 'no such file' walk --ram "$work/missing" "$@"
    refused 'walk of a directory' 126 'is a directory' walk --ram "$work" "$@"
    refused 'walk of a directory, to change it' 126 'directory' walk --set-am --ram "$work" "$@"
    refused 'walk of a device' 126 'not a regular file' walk --ram /dev/zero "$@"
    mkfifo "$work/fifo"
    refused 'walk of a FIFO' 126 'not a regular file' walk --ram "$work/fifo" "$@"
    refused 'walk of a FIFO, to change it' 126 'not a regular file' \
        walk --set-am --ram "$work/fifo" "$@"
    memory=$work/empty
    : >"$memory"
    line r 0x0 bad_frame 0 '' >"$wanted"
    prints 'walk of an empty file' "$@"
    line r 0x0 bad_frame 0 '' >"$wanted"
    prints 'walk of an empty file in a large object' \
        --object-pages 100 "$@"
    memory=$work/torn
    vpte64_tables
    truncate -s 5000 "$memory"
    line r 0x0 bad_frame 0 '' >"$wanted"
    prints 'a table page that the file has in part' "$@"
    line r 0x0 bad_frame 0 '' >"$wanted"
    prints 'a table page that the file has in part, inside the object' \
        --object-pages 100 "$@"
    memory=$work/huge
    if truncate -s $((1 << 40)) "$memory" 2>/dev/null; then
        put $((0xFFFFFFF000)) 0x100000000f # PS: RAM from 64 GiB on
        line w 0x5000 ok 1 0x1000005000 \
            "$(e 1 $((0xFFFFFFF000)) 0x100000000f 0x100000006f)" >"$wanted"
    prints 'walk of a terabyte' --root 0xFFFFFFF00d --set-am w:0x5000
        holds 'the last page of a terabyte was changed' $((0xFFFFFFF000)) 000000100000006f
    else
        skip 'walk of a terabyte' 'no file can be that large here'
    fi
    memory=$work/memory
    vpte64_tables
    if [ "$(id -u)" -eq 0 ]; then
        skip 'walk of a file that may not be written' 'root may write everything'
    else
        chmod 400 "$memory"
        line r 0 ok 0 0x2000 >"$wanted"
    prints 'walk of a file that may not be written' --root 0x200f r:0
        refused 'a change to a file that may not be written' 126 'Permission denied' walk \
            --ram "$memory" --set-am "$@"
    fi
}

test_walk() {
    test_walk_vpte64
    test_walk_vpte32
    test_walk_set_am
    test_walk_x86_64
    test_walk_la57
    test_walk_ept
    test_walk_input
    test_walk_usage
    test_walk_files
}
