# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2154 # part of run.sh
#
# Sourced by run.sh: images of a PC: which options go with them, what is refused, and that each
# mode of a file without headers starts in that mode.

# poke FILE OFFSET BYTES NUMBER: put a number into a file, little-endian.
poke() {
    le "$3" "$4" | dd of="$work/$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

# A bzImage of boot protocol 2.15 with a 64-bit entry, whose payload is no compressed kernel.
bzimage() {
    head -c 32768 /dev/zero >"$work/$1"
    poke "$1" $((0x1f1)) 1 2
    poke "$1" $((0x1fe)) 2 $((0xaa55))
    printf HdrS | dd of="$work/$1" bs=1 seek=514 conv=notrunc 2>/dev/null
    poke "$1" $((0x206)) 2 $((0x20f))
    poke "$1" $((0x211)) 1 1
    poke "$1" $((0x214)) 4 $((0x100000))
    poke "$1" $((0x236)) 2 1
    poke "$1" $((0x24c)) 4 4096
}

test_boot_options() {
    refused '--entry without --load' 2 'say with --load' run --entry 0 "$work/spin"
    refused 'a mode that is none' 2 'give real, protected or long' \
        run --load 0 --entry 0,virtual "$work/spin"
    refused 'an address that is none' 2 'is no address' run --load here "$work/spin"
    refused 'a mode behind --load' 2 'the mode goes to --entry' run --load 0,real "$work/spin"
    refused '--module without a name' 2 'has no name' run --module ,words "$work/spin"
    refused '--initrd without a name' 2 'has no name' run --initrd= "$work/spin"
    for option in append initrd module; do
        refused "--$option for an image of vkvm's own" 2 'gets its arguments behind --' \
            run "--$option" "$work/spin" "$work/spin"
    done
    refused '--initrd for a file without headers' 126 'takes no arguments' \
        run --load 1M --initrd "$work/spin" "$work/flat"
    bzimage kernel
    refused 'an --initrd that is not there' 127 'no such file' \
        run --initrd "$work/missing" "$work/kernel"
}

test_boot_images() {
    bzimage kernel
    poke kernel $((0x214)) 4 0
    refused 'a kernel with a 16-bit entry only' 126 'needs a BIOS' run "$work/kernel"
    head -c 65536 /dev/zero >"$work/rom"
    poke rom 65520 1 $((0xea))
    refused 'a BIOS' 126 'is a BIOS' run "$work/rom"
    refused 'what is nothing known' 126 'say with --load' run "$work/zeros"
}

# What runs in 16 bits reads two bytes as the operand of mov to eax, in more it reads four; then
# 0x48 is a prefix in 64 bits, and dec %eax in 32.  Each ends by the debug exit with another value.
flat_modes() {
    printf '\270\005\000\346\364\260\001\061\300\110\220\346\364\364' >"$work/flat"
}

# ends NAME STATUS ARGS...: without a word.
ends() {
    name=$1 expected=$2
    shift 2
    run "$@"
    if [ "$status" -ne "$expected" ] || [ -s "$work/out" ] || [ -s "$work/err" ]; then
        fail "$name" "exit status $status, expected $expected and no word"
    else
        pass "$name"
    fi
}

# A guest that writes "$ " to the serial port, then each byte that comes, and ends by a q.  It looks for
# input all the time, so nothing that it does ends the line.
prompting() {
    printf '\272\370\003\260\044\356\260\040\356\272\375\003\354\250\001\164' >"$work/$1"
    printf '\370\272\370\003\354\356\074\161\165\357\272\364\000\260\000\356\353\376' >>"$work/$1"
}

# until_out REGEX: wait for it on standard output.
until_out() {
    tries=300
    until grep -q "$1" "$work/out" || [ "$tries" -eq 0 ]; do
        tries=$((tries - 1))
        sleep 0.1
    done
    [ "$tries" -ne 0 ]
}

test_prompt() {
    prompting flat
    rm -f "$work/in"
    mkfifo "$work/in"
    : >"$work/out"
    timeout -k 5 60 "$vkvm" run --load 0x7c00 "$work/flat" <"$work/in" >"$work/out" 2>"$work/err" &
    exec 3>"$work/in"
    name='a prompt without an end of line is shown while the guest waits for the answer'
    if until_out '^\$ $' && printf a >&3 && until_out '^\$ a$'; then
        pass "$name"
    else
        fail "$name" 'it is not'
    fi
    printf q >&3
    exec 3>&-
    status=0
    wait $! || status=$?
    judge 'what a guest wrote last, without an end of line, is written at its end' 1 out '^\$ aq$'
}

test_boot_guests() {
    test_prompt
    flat_modes
    ends 'a file without headers starts in real mode' 11 run --load 0x7c00 "$work/flat"
    ends 'a file without headers starts in protected mode' 255 run --load 1M "$work/flat"
    ends 'a file without headers starts in 64-bit mode' 1 \
        run --load 0x8000 --entry 0x8000,long "$work/flat"
    bzimage kernel
    if grep -qE '^flags.*\<(vmx|svm)\>' /proc/cpuinfo; then
        skip 'Linux on a software KVM' 'this KVM has the processor'\''s help'
    else
        refused 'Linux on a software KVM' 125 "which this host's KVM cannot run.*NPT lane" \
            run "$work/kernel"
    fi
}

test_boot() {
    flat_modes
    head -c 4096 /dev/zero >"$work/zeros"
    test_boot_options
    test_boot_images
}
