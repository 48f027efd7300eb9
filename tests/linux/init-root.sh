#!/bin/busybox sh
# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=dash
#
# First process of a guest whose root is a disk: look at it, write to it, switch off.

busybox=/bin/busybox
$busybox mount -t proc proc /proc 2>/dev/null
$busybox mount -t sysfs sys /sys 2>/dev/null
echo "root: $($busybox grep ' / ' /proc/mounts)"
$busybox mount -o remount,rw /
echo written >/here && $busybox sync && echo 'root: written'
$busybox dmesg | $busybox grep -iE 'error|virtio|vda' | $busybox sed 's/^/root: /'
$busybox mount -o remount,ro /
$busybox poweroff -f
