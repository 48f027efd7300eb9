#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# A Debian kernel with disks, in the NPT lane (archive.sh makes the archive):
#
#   tests/npt/lane.sh -m 3000 -t 300 -a ARCHIVE.cpio -- sh linux/disk.sh
#
# Its own initrd finds its root file system on a disk; an initramfs of busybox reads, writes, flushes
# and trims, on 1 and 2 vCPUs, with all of memory and with half of it and swap.

set -u

cd "$(dirname "$0")" || exit 2
vkvm=../build/vkvm
result=0

# linux NAME OPTION...
linux() {
    name=$1
    shift
    status=0
    "$vkvm" run --timeout 200 "$@" vmlinuz >out 2>err </dev/null || status=$?
    tr -d '\r' <out | grep -aE '^(PASS|FAIL|SUM|root:)'
    grep -v '^$' err
    if [ "$status" -ne 0 ] || tr -d '\r' <out | grep -qaE '^FAIL|Kernel panic' ||
        ! grep -qaE "$expect" out; then
        echo "FAIL $name: exit status $status"
        tail -n 30 out
        result=1
    else
        echo "PASS $name"
    fi
}

# What the guest wrote is in the file, and what it trimmed is a hole.
small() {
    name=$1
    shift
    cp data.img work.img
    expect='PASS the kernel saw no error'
    linux "$name" --initrd small.gz --disk root.img,ro --disk work.img,discard \
        --append "console=ttyS0 quiet sum=$sum" "$@"
    echo "work.img: $(du -k work.img | cut -f 1) KiB on the host"
}

case ${1:-all} in
all | root)
    cp root.img root2.img
    expect='root: written'
    linux "Debian's own initrd finds its root on a disk" --memory 256M --initrd initrd.img \
        --disk root2.img --append 'console=ttyS0 quiet root=/dev/vda ro'
    ;;
esac
sum=$(sha256sum root.img | cut -d ' ' -f 1)
case ${1:-all} in
all | small)
    small 'disks on 1 vCPU' --memory 192M
    small 'disks on 2 vCPUs, half of memory and swap' --memory 192M --cpus 2 --ram 96M --swap swap.img
    ;;
esac
exit $result
