# shellcheck shell=sh
# SPDX-License-Identifier: BSD-2-Clause
#
# --dtb and --dump-dtb from outside: the machine as a device tree, both ways.
#
# Part of tests/cli/run.sh, which defines what is used here and calls test_dtb and, where guests can
# run, test_dtb_guests.  What needs dtc is skipped where it is missing.

# shellcheck disable=SC2154 # run.sh's
tree=$work/tree

# silent NAME ARGS...: it works and says nothing.
silent() {
    what=$1
    shift
    run "$@"
    if [ "$status" -ne 0 ] || [ -s "$work/out" ] || [ -s "$work/err" ]; then
        fail "$what" "exit status $status, or it said something"
    else
        pass "$what"
    fi
}

# expect_status NAME STATUS
expect_status() {
    if [ "$status" -eq "$2" ]; then
        pass "$1"
    else
        fail "$1" "exit status $status, expected $2"
    fi
}

# same NAME FILE FILE
same() {
    if cmp "$2" "$3" >"$work/out" 2>"$work/err"; then
        pass "$1"
    else
        fail "$1" 'they differ'
    fi
}

# round_trip NAME OPTIONS... [-- ARGS]: of spin, dumped, read and dumped again it is the same.
round_trip() {
    of=$1
    shift
    silent "$of: a description is written" run --dump-dtb "$tree" "$@"
    silent "$of: it is read and written again" \
        run --dtb "$tree" --dump-dtb "$work/again" ${load:+--load "$load"} "$work/spin"
    same "$of: byte by byte the same" "$tree" "$work/again"
    if ! command -v dtc >/dev/null; then
        skip "$of: dtc has nothing to say about it" 'dtc is missing'
    elif dtc -I dtb -O dts -o "$work/tree.dts" "$tree" 2>"$work/err" && [ ! -s "$work/err" ]; then
        pass "$of: dtc has nothing to say about it"
    else
        fail "$of: dtc has nothing to say about it" 'it complains'
    fi
}

# changed FROM TO: $tree with a string changed for another one of the same length, in $work/changed.
changed() {
    LC_ALL=C sed "s/$1/$2/" "$tree" >"$work/changed"
}

test_dtb() {
    load=
    round_trip 'the least machine' "$work/spin"
    round_trip 'a machine of everything' --memory 100G --cpus 3 --cpu pku=off --exact-faults \
        --ram 8M --swap "$work/swap" \
        --window gpa=0x1000000000,size=2M,format=vpte32,root=0x1003,prot=rw \
        --map "gpa=0x1001000000,size=64K,file=$work/spin,private" \
        --map "gpa=0x1002000000,size=4K,file=$work/elsewhere,shared,ro" \
        "$work/spin" -- one 'two words' '' 3
    accepted 'a description on standard output' 0 'vkvm,vm-1' run --dump-dtb - "$work/spin"
    changed vpte32 vpte99
    refused 'a tree with an unknown format' 126 \
        "changed'?: /windows/window@1000000000 vkvm,format: 'vpte99' is unknown: give" \
        run --dtb "$work/changed" "$work/spin"
    changed vkvm,root vkvm,boot
    refused 'a tree with an unknown property' 126 'vkvm,boot: is unknown here: leave it out' \
        run --dtb "$work/changed" "$work/spin"
    refused 'a window over the one of the tree' 2 'overlap' \
        run --dtb "$tree" --window gpa=0x1000100000,size=4K "$work/spin"
    refused 'a description over the tree it is of' 2 '--dtb and for --dump-dtb' \
        run --dtb "$tree" --dump-dtb "$tree" "$work/spin"
    refused 'a description over a mapped file' 2 'would be overwritten' \
        run --dtb "$tree" --dump-dtb "$work/spin" "$work/hello"
    refused 'a tree that is missing' 126 'no such file' run --dtb "$work/missing" "$work/spin"
    refused 'a tree that is none' 126 'not a device tree' run --dtb "$work/spin" "$work/spin"
    refused 'a description and a report' 2 'runs nothing' run --dump-dtb - --json "$work/spin"
    refused 'a description without a name' 2 'no name' run --dump-dtb= "$work/spin"
    refused 'a description where there is no directory' 125 'cannot write' \
        run --dump-dtb "$work/none/tree" "$work/spin"
    refused 'a description to a full device' 125 'cannot write' run --dump-dtb /dev/full "$work/spin"
    test_dtb_options
    test_dtb_pc
}

# What an option says goes before the tree.
test_dtb_options() {
    run run --dump-dtb "$work/wanted" --memory 32M --cpus 2 --ram 2M "$work/spin" -- new words
    run run --dump-dtb "$tree" --memory 64M --cpus 5 --ram 4M "$work/spin" -- old words
    run run --dtb "$tree" --dump-dtb "$work/again" --memory 32M --cpus 2 --ram 2M "$work/spin" -- new words
    same 'options replace what the tree says once' "$work/wanted" "$work/again"
    run run --dump-dtb "$work/wanted" --window gpa=0x1000000000,size=4K --cpu pku=on --cpu pku=off \
        --window gpa=0x1000001000,size=4K "$work/spin"
    run run --dump-dtb "$tree" --window gpa=0x1000000000,size=4K --cpu pku=on "$work/spin"
    run run --dtb "$tree" --dump-dtb "$work/again" --window gpa=0x1000001000,size=4K --cpu pku=off \
        "$work/spin"
    same 'options add to what the tree has several of' "$work/wanted" "$work/again"
}

test_dtb_pc() {
    refused 'a PC for an image of our own kind' 126 'describes no PC' \
        run --dtb "$tree" --load 1M "$work/spin"
    load=1M
    round_trip 'a PC' --memory 5G --cpus 2 --load 1M "$work/spin"
    run run --dump-dtb "$work/wanted" --disk a --disk b,ro --load 1M "$work/spin"
    run run --dump-dtb "$tree" --disk a --load 1M "$work/spin"
    run run --dtb "$tree" --dump-dtb "$work/again" --disk b,ro --load 1M "$work/spin"
    same 'a disk is added to those of the tree' "$work/wanted" "$work/again"
    round_trip 'a PC with disks' --disk "$work/disk,discard" --disk nbd://host/export,ro --load 1M \
        "$work/spin"
    load=
    refused 'no PC for an image that needs one' 126 'describes a PC' run --dtb "$tree" "$work/spin"
    changed ns16550a ns16750b
    refused 'a PC with a device that does not exist' 126 '/io/serial@3f8 compatible: is no device' \
        run --dtb "$work/changed" --load 1M "$work/spin"
}

# file_tree SHARING PATH: $tree of hello, its memory of 16 MiB from a file.
file_tree() {
    run run --dump-dtb "$work/plain" --memory 16M "$guests/hello.elf" -- status=4
    dtc -q -I dtb -O dts "$work/plain" |
        sed "s|vkvm,pager = .*|vkvm,pager = \"file\"; vkvm,path = \"$2\"; vkvm,sharing = \"$1\";|" |
        dtc -q -I dts -O dtb -o "$tree"
}

test_dtb_memory_files() {
    if ! command -v dtc >/dev/null; then
        skip 'memory in a file' 'dtc is missing'
        return
    fi
    rm -f "$work/ram"
    file_tree shared "$work/ram"
    refused 'memory in a file that is missing' 125 "cannot map file $work/ram.*give another" \
        run --dtb "$tree" "$guests/hello.elf"
    truncate -s 8M "$work/ram"
    refused 'memory in a file that is too short' 125 \
        'has 8388608 bytes: give it 16777216, as truncate -s does' \
        run --dtb "$tree" "$guests/hello.elf"
    refused 'memory in a file that is named for more' 2 'for guest memory' \
        run --dtb "$tree" --json="$work/ram" "$guests/hello.elf"
    truncate -s 0 "$work/ram"
    truncate -s 16M "$work/ram"
    cp "$work/ram" "$work/zeros"
    accepted 'a guest whose memory is a shared file' 4 'hello from' run --dtb "$tree" "$guests/hello.elf"
    if grep -q 'hello from' "$work/ram"; then
        pass 'the file has what was in memory'
    else
        fail 'the file has what was in memory' 'it has not'
    fi
    cp "$work/zeros" "$work/ram"
    file_tree private "$work/ram"
    accepted 'a guest whose memory is a private file' 4 'hello from' \
        run --dtb "$tree" "$guests/hello.elf"
    same 'a private file stays as it was' "$work/ram" "$work/zeros"
}

# A guest that exits with the first byte of the window region; the file behind it from its second
# page on.
test_dtb_file_offset() {
    if ! command -v dtc >/dev/null; then
        skip 'a file mapped from its second page on' 'dtc is missing'
        return
    fi
    good
    # shellcheck disable=SC2034 # elf uses it
    filesize=23
    # movabs 0x1000000000,%al; movzbl %al,%edi; mov $1,%eax; mov $0x510,%dx; out %eax,(%dx); hlt
    elf peek '\240\000\000\000\000\020\000\000\000\017\266\370\270\001\000\000\000\146\272\020\005\357\364'
    { printf '\001' && head -c 4095 /dev/zero && printf '\052' && head -c 4095 /dev/zero; } >"$work/bytes"
    run run --dump-dtb "$work/plain" --map "gpa=0x1000000000,size=4K,file=$work/bytes,private" \
        "$work/peek"
    run run --dtb "$work/plain" "$work/peek"
    expect_status 'a file mapped from its beginning on' 1
    dtc -q -I dtb -O dts "$work/plain" |
        sed 's|vkvm,path = .*|& vkvm,offset = <0 0x1000>;|' | dtc -q -I dts -O dtb -o "$tree"
    run run --dtb "$tree" "$work/peek"
    expect_status 'a file mapped from its second page on' 42
}

test_dtb_guests() {
    run run --dump-dtb "$tree" --memory 32M --cpus 2 --ram 4M "$guests/hello.elf" -- status=7
    accepted 'a described machine runs with its words' 7 'hello from' run --dtb "$tree" "$guests/hello.elf"
    accepted 'words on the command line replace the words of the tree' 3 'hello from' \
        run --dtb "$tree" "$guests/hello.elf" -- status=3
    run run --dtb "$tree" --json "$guests/hello.elf"
    judge 'a described machine has its processors' 7 err '"vcpus":2'
    judge 'a described machine has its memory' 7 err '"size":33554432'
    judge 'a described machine has its budget' 7 err '"budget_pages":1024'
    test_dtb_memory_files
    test_dtb_file_offset
}
