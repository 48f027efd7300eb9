#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Who answers while the disk and the swap device of a Debian guest stand still for 5 s: console,
# timers, gdb.  In the NPT lane, with an archive that archive.sh made with -x:
#
#   tests/npt/lane.sh -m 3000 -t 300 -a ARCHIVE.cpio -- sh disk/stall.sh
#
# Prints how long each answer took, and fails when one came only after the devices went on.

set -u

cd "$(dirname "$0")" || exit 2
result=0

ms() {
    read -r up rest </proc/uptime
    echo "$((${up%.*} * 1000 + 1${up#*.} * 10 - 1000))"
}

# device NAME FILE: a device that can be suspended.
device() {
    loop=$(losetup -f)
    losetup "$loop" "$2"
    dmsetup create "$1" --noudevsync --table "0 $(($(stat -c %s "$2") / 512)) linear $loop 0"
}

# dm NAME: its node.
dm() {
    echo "/dev/dm-$(dmsetup info -c --noheadings -o minor "$1")"
}

# answered WHAT PATTERN FILE: wait for it, 4 s at most.
answered() {
    began=$(ms)
    while ! grep -qaE "$2" "$3" 2>/dev/null; do
        if [ $(($(ms) - began)) -gt 4000 ]; then
            echo "FAIL $1: no answer in 4 s"
            result=1
            return
        fi
        usleep 5000
    done
    echo "PASS $1: $(($(ms) - began)) ms"
}

# console WORD...: each is repeated by the guest.
console() {
    for word; do
        : >out
        echo "$word" >&9
        answered "console: $word" "E $word" out
    done
}

# gdb WHAT PACKET PATTERN: attach, ask, detach.  \044 is what a packet begins with.
gdb() {
    : >gdb.out
    (printf '+\044%s' "$2"; sleep 1; printf '+\044D#44'; sleep 1) | nc 127.0.0.1 1234 >gdb.out 2>/dev/null &
    answered "$1" "$3" gdb.out
    wait $!
}

for module in loop dm-mod; do
    insmod "/modules/$module.ko" || exit 2
done
mkdir -p /dev/mapper
mknod /dev/mapper/control c 10 "$(sed -n 's/ device-mapper$//p' /proc/misc)" 2>/dev/null
dd if=/dev/zero of=swap.img bs=1M count=256 2>/dev/null
cp data.img work.img
device disk work.img
device swap swap.img
mkfifo in
../build/vkvm run --memory 192M --cpus 2 --ram 96M --swap "$(dm swap)" --disk "$(dm disk)" --timeout 200 \
    --gdb 1234 --initrd stall.gz --append 'console=ttyS0 quiet' vmlinuz <in >out 2>err &
guest=$!
exec 9>in
i=0
while ! grep -qa '^S' out && [ $i -lt 1200 ]; do
    usleep 100000
    i=$((i + 1))
done
echo "guest is at work: $(grep -ca '^D' out) times the disk, $(grep -ca '^S' out) times its memory"
console zero null
gdb 'gdb: monitor stats before' 'qRcmd,7374617473#34' '#[0-9a-f]{2}'

dmsetup suspend --nolockfs --noflush disk
dmsetup suspend --nolockfs --noflush swap
stalled=$(ms)
usleep 300000
console one two three
ticks=$(grep -ca '^T' out)
usleep 1000000
echo "timers: $(($(grep -ca '^T' out) - ticks)) of 10 in a second"
gdb 'gdb: monitor stats' 'qRcmd,7374617473#34' '#[0-9a-f]{2}'
echo "all of it $(($(ms) - stalled)) ms after the devices stopped"
gdb 'gdb: registers of a machine that rests' 'g#67' '[0-9a-fx]{100}'
while [ $(($(ms) - stalled)) -lt 5000 ]; do
    usleep 10000
done
echo "rounds meanwhile: $(grep -ca '^D' out) of the disk, $(grep -ca '^S' out) of memory"
dmsetup resume swap
dmsetup resume disk
echo end >&9
wait $guest || { echo "FAIL the guest's end: $?"; result=1; }
cat err
exit $result
