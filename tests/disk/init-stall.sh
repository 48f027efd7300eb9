#!/bin/busybox sh
# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=dash
#
# First process of a guest that is never at rest: it reads a disk and memory that is in swap, again and
# again, says ten times a second what time it is, and repeats what comes in on the console.

busybox=/bin/busybox
$busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
mount -t tmpfs -o size=200m tmp /tmp
for module in virtio virtio_ring virtio_mmio virtio_blk; do
    insmod "/lib/$module.ko" || echo "FAIL no $module"
done
dd if=/dev/urandom of=/tmp/a bs=64k count=1024 2>/dev/null

while :; do
    dd if=/dev/vda of=/dev/null bs=64k count=32 2>/dev/null
    echo 3 >/proc/sys/vm/drop_caches
    echo D
done &
while :; do
    sha256sum /tmp/a >/dev/null
    echo S
done &
while :; do
    usleep 100000
    read -r now rest </proc/uptime
    echo "T $now"
done &
while read -r line; do
    [ "$line" != end ] || poweroff -f
    echo "E $line"
done
