#!/bin/busybox sh
# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=dash
#
# First process of a guest with two disks, vda only read: compares sums, writes, flushes, trims,
# switches off.  `sum=` on the command line is what vda has, `megabytes=` how much is written.

busybox=/bin/busybox
$busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for word in $(cat /proc/cmdline); do
    case $word in
    sum=* | megabytes=*) eval "$word" ;;
    esac
done
for module in virtio virtio_ring virtio_mmio virtio_blk; do
    insmod "/lib/$module.ko" || echo "FAIL no $module"
done

check() {
    name=$1
    shift
    if "$@"; then
        echo "PASS $name"
    else
        echo "FAIL $name"
    fi
}

sum_of() {
    sha256sum "$1" | cut -d ' ' -f 1
}

cannot_write() {
    ! dd if=/dev/zero of=/dev/vda bs=512 count=1 conv=fsync 2>/dev/null
}

reread() {
    echo 3 >/proc/sys/vm/drop_caches
    [ "$(sum_of /mnt/a)" = "$before" ]
}

no_errors() {
    ! dmesg | grep -E 'I/O error|vd[ab].*error|EXT4-fs (error|warning)|BUG|Oops|nobody cared'
}

check 'the first disk reads as the host has it' [ "$(sum_of /dev/vda)" = "${sum:-}" ]
check 'the first disk is only read' cannot_write
check 'the second disk is mounted' mount -t ext4 /dev/vdb /mnt
check 'a file is written and flushed' \
    dd if=/dev/urandom of=/mnt/a bs=64k count=$((${megabytes:-16} * 16)) conv=fsync
before=$(sum_of /mnt/a)
check 'it reads back the same' reread
echo "SUM $before"
cp /mnt/a /mnt/b && rm /mnt/b && sync
check 'what is free is trimmed' fstrim -v /mnt
umount /mnt
mount -t ext4 -o ro /dev/vdb /mnt
check 'it is the same after another mount' reread
umount /mnt
check 'the kernel saw no error' no_errors
poweroff -f
