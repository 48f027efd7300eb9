#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Make an initramfs for guests: busybox, and an init that executes what the console tells, line by line,
# and says "ready" before each.  Where there are modules behind it (kernels.sh), it loads them and goes on with
# its root on the first virtio disk.
#
#   tests/linux/initramfs.sh OUTPUT [ROOT]
#
#   ROOT  a file system with the same to be made, for that disk, compressed by gzip

set -eu

root_size=112M # 80 MiB are written into it
output=$1
root=$output.root
rm -rf "$root"
mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/disk"
cp /bin/busybox "$root/bin/busybox"
cat >"$root/init" <<'INIT'
#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
if [ -d /modules ]; then
    for module in /modules/*; do
        insmod "$module"
    done
    mount -t ext4 /dev/vda /disk && exec switch_root /disk /init
fi
mount -t tmpfs -o size=90% tmp /tmp
echo "root: $(sed -n 's,^\([^ ]*\) / ,\1 ,p' /proc/mounts | tail -n 1)"
echo "shell: $(uname -r), $(nproc) processors"
while echo ready && read -r line; do
    eval "$line"
done
INIT
chmod 755 "$root/init"
(cd "$root" && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet) >"$output.new"
if [ -n "${2:-}" ]; then
    rm -f "$output.root.new"
    mke2fs -q -t ext4 -d "$root" "$output.root.new" "$root_size" >/dev/null
    gzip -1 <"$output.root.new" >"$2.new"
    rm -f "$output.root.new"
    mv "$2.new" "$2"
fi
rm -rf "$root"
mv "$output.new" "$output"
