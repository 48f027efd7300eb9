#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Each of Debian's kernels to a shell and off again, with 1 and 2 vCPUs, with its root in memory and on a
# disk, with as much memory as it has and with half of that and swap.  It fills a file system in memory, or the
# one on the disk.

# shellcheck source=tests/linux/guest.sh
. "$(dirname "$0")/guest.sh"

# There is no PCI bus, and Linux says so at level error.
no_pci='PCI: Fatal: No config space access function found'

memory=256
on_disk=/dev/vda
pages=$((memory * 256))

# judge CPUS ROOT MB: what became of the run; sets $why where it is not what it should be.
judge() {
    engine=$(report 'faults taken by the engine')
    zero=$(report 'pages zero-filled, prefaulted ones included')
    out=$(report 'pages written by pagers')
    why=
    if [ "$status" -ne 0 ]; then
        why="exit status $status"
    elif ! grep -q "^shell: .*, $1 processors" "$console"; then
        why="no shell with $1 processors"
    elif ! grep -q "^root: $2" "$console"; then
        why="its root is not $2"
    elif ! grep -q 'Power down' "$console"; then
        why='no power-off'
    elif grep '^<[0-3]>' "$console" | grep -qv "$no_pci"; then
        why=$(grep '^<[0-3]>' "$console" | grep -v "$no_pci" | head -n 1 | tr -d '\r')
    elif ! grep -q "^$sum" "$console"; then
        why='the file is not what was written'
    elif [ "${zero:-0}" -eq 0 ] || [ "${zero:-0}" -gt "$((2 * pages))" ]; then
        why="$zero pages of zeros"
    elif [ "$3" != "$memory" ] && [ "${out:-0}" -eq 0 ]; then
        why='nothing was paged out'
    fi
}

# one KERNEL CPUS ROOT MB: a line of the table.
one() {
    swap='' disk='' initrd='' file=/tmp/file
    [ "$4" -eq "$memory" ] || swap="--swap $work/swap"
    if [ "$3" = "$on_disk" ]; then
        cat linux/initramfs "linux/$1.modules" >"$work/initrd"
        zcat linux/root.gz >"$work/disk"
        disk="--disk $work/disk" initrd=$work/initrd file=/file
    fi
    begin=$(date +%s)
    # shellcheck disable=SC2086 # words
    start "$1" --stats --cpus "$2" --memory "${memory}M" --ram "$4M" $swap $disk
    await 1 ready
    shell=$(($(date +%s) - begin))
    say "$fill >$file; sync; echo 3 >/proc/sys/vm/drop_caches; md5sum <$file; dmesg -r | grep '^<[0-3]>'; poweroff -f"
    finish
    judge "$2" "$3" "$4"
    printf '| %s | %s | %s | %s MiB | %s | %s | %s | %s | %s | %s |\n' "$1" "$2" "${3#/dev/}" "$4" "$shell" \
        "$(report 'run time' | cut -d . -f 1)" "$engine" "$(report 'messages')" "$zero" "${out:-0}"
    if [ -z "$why" ]; then
        pass "$1 with $2 vCPUs, root on $3 and $4 MiB comes to a shell and switches off"
    else
        fail "$1 with $2 vCPUs, root on $3 and $4 MiB" "$why"
        grep -m 1 -A 12 -e 'BUG' -e 'Oops' -e 'RIP:' "$console" || tail -n 12 "$console"
        head -n 3 "$work/report"
    fi
    rm -f "$work/swap" "$work/disk" "$work/initrd"
}

# shellcheck disable=SC2016 # 80 MiB, by the shell here and by the guest's
fill='yes vkvm | dd of=/tmp/part bs=1M count=1 iflag=fullblock 2>/dev/null; i=0; while [ $i -lt 80 ]; do cat /tmp/part; i=$((i + 1)); done'
sum=$(eval "$fill" | md5sum)
echo '| kernel | vCPUs | root | --ram | shell, s | run, ms | faults | messages | pages of zeros | pages out |'
echo '|---|---|---|---|---|---|---|---|---|---|'
IFS=, read -r kernels processors roots <<ONLY
${1#=}
ONLY
case $roots in
memory) roots=rootfs ;;
disk) roots=$on_disk ;;
esac
for kernel in ${kernels:-cloud-6.1 generic-6.1 cloud-6.12}; do
    for cpus in ${processors:-1 2}; do
        for root in ${roots:-rootfs "$on_disk"}; do
            for ram in "$memory" $((memory / 2)); do
                one "$kernel" "$cpus" "$root" "$ram"
            done
        done
    done
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
