#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Make an initramfs for guests: busybox, and an init that executes what the console tells, line by line,
# and says "ready" before each.
#
#   tests/linux/initramfs.sh OUTPUT

set -eu

output=$1
root=$output.root
rm -rf "$root"
mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/tmp"
cp /bin/busybox "$root/bin/busybox"
cat >"$root/init" <<'INIT'
#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs -o size=90% tmp /tmp
echo "shell: $(uname -r), $(nproc) processors"
while echo ready && read -r line; do
    eval "$line"
done
INIT
chmod 755 "$root/init"
(cd "$root" && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet) >"$output.new"
rm -rf "$root"
mv "$output.new" "$output"
