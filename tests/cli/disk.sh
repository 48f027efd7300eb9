# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2154 # part of run.sh
#
# Sourced by run.sh: --disk: which disks are refused, and how.

# Those that are refused without a guest.
test_disk_options() {
    refused '--disk without a name' 2 'has no name: give a file' run --disk= "$work/kernel"
    refused 'a word that no disk knows' 2 "'rw' is unknown: give FILE" \
        run --disk "$work/disk,rw" "$work/kernel"
    refused 'a disk that is only read and discards' 2 'give ro or discard' \
        run --disk "$work/disk,ro,discard" "$work/kernel"
    refused "--disk for an image of vkvm's own" 2 'has no interrupts: map the file' \
        run --disk "$work/disk" "$work/spin"
    refused 'free page reporting that is neither' 2 'give auto, on or off' \
        run --free-page-reporting=yes "$work/kernel"
    refused "free page reporting for an image of vkvm's own" 2 "own kind: leave it out" \
        run --free-page-reporting on "$work/spin"
    refused 'two disks of one file' 2 'named for --disk and for --disk' \
        run --disk "$work/disk" --disk "$work/disk,ro" "$work/flat"
    refused 'a disk that is swap' 2 'named for --swap and for --disk' \
        run --ram 1M --swap "$work/disk" --disk "$work/disk" "$work/flat"
}

# refused_disk NAME REGEX DISK: it is not opened, and the VM not made.
refused_disk() {
    refused "$1" 125 "$2" run --load 0x7c00 --disk "$3" "$work/flat"
}

test_disk_files() {
    refused_disk 'a disk that is not there' 'no such file: make one' "$work/missing"
    refused_disk 'a disk that is a directory' 'is a directory: give a file' "$work"
    refused_disk 'a disk that is a device of another kind' 'neither a file nor a block device' /dev/null
    : >"$work/empty"
    refused_disk 'an empty disk' 'is empty: make it larger' "$work/empty"
    head -c 1000 /dev/zero >"$work/odd"
    refused_disk 'a disk with a part of a sector' '1000 bytes, which are no whole sectors' "$work/odd"
    if [ "$(id -u)" -ne 0 ]; then
        cp "$work/disk" "$work/guarded"
        chmod 444 "$work/guarded"
        refused_disk 'a disk that cannot be written' 'or add ,ro' "$work/guarded"
    fi
    if ! command -v flock >/dev/null; then
        skip 'a disk that somebody else uses' 'no flock here'
        return
    fi
    exec 9<"$work/disk"
    flock -n 9
    refused_disk 'a disk that somebody else uses' 'in use by another process' "$work/disk"
    exec 9<&-
}

# Servers that are no use.  Whether libnbd was built in the message says.
test_disk_servers() {
    run run --load 0x7c00 --disk "nbd+unix:///?socket=$work/missing" "$work/flat"
    if grep -q 'built without libnbd' "$work/err"; then
        judge 'a server, without libnbd' 125 err 'install libnbd-dev and build again'
        return
    fi
    if grep -q 'need libnbd' "$work/err"; then
        judge 'a server, where libnbd is not installed' 125 err 'install it'
        return
    fi
    refused_disk 'a server that is not there' 'is the server there' "nbd+unix:///?socket=$work/missing"
    refused_disk 'a server that refuses' 'is the server there' nbd://127.0.0.1:1/
    if ! command -v nbdkit >/dev/null 2>&1; then
        skip 'disks of a server' 'no nbdkit here'
        return
    fi
    nbdkit -f --exit-with-parent -r -U "$work/nbd" memory 1M &
    server=$!
    while [ ! -S "$work/nbd" ] && kill -0 "$server" 2>/dev/null; do
        sleep 0.1
    done
    refused_disk 'a server whose disk is only read' 'add ,ro' "nbd+unix:///?socket=$work/nbd"
    ends 'a server whose disk is only read, by one that only reads' 11 \
        run --load 0x7c00 --disk "nbd+unix:///?socket=$work/nbd,ro" "$work/flat"
    kill "$server"
    wait "$server" 2>/dev/null
}

test_disk() {
    flat_modes
    bzimage kernel
    head -c 65536 /dev/zero >"$work/disk"
    test_disk_options
}

test_disk_guests() {
    test_disk_files
    test_disk_servers
    cp "$work/disk" "$work/disk2"
    ends 'a guest with two disks' 11 \
        run --load 0x7c00 --disk "$work/disk" --disk "$work/disk2,ro" "$work/flat"
}
