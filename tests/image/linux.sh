#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Boot Debian's kernel to a shell under vkvm, here or in the NPT lane, and end with the fault report.
#
#   tests/image/linux.sh -b BUILD_DIRECTORY -d LANE_DIRECTORY [-l LANE_OPTIONS] [-c COMMAND] [VKVM_OPTION...]
#
# COMMAND as in run.sh.
#
# With a terminal on standard input the shell is yours.  Otherwise it runs COMMANDS from the
# environment, or what standard input says, or a few of its own, and the machine is switched off.

set -eu

[ -e /proc/self/fd/0 ] || exec </dev/null
arguments='[VKVM_OPTION...]'
# shellcheck source=tests/image/options.sh
. "$(dirname "$0")/options.sh"

"$here/../deps.sh" cpio busybox-static
[ -f "$dir/kernel/version" ] || "$here/../npt/kernel.sh" "$dir/kernel"
mkdir -p "$build/image"
root=$build/image/root
rm -rf "$root"
for d in bin dev proc sys tmp; do
    mkdir -p "$root/$d"
done
cp /bin/busybox "$root/bin/busybox"
ln -s busybox "$root/bin/sh"
cp "$here/init" "$root/init"

if [ -n "${COMMANDS:-}" ]; then
    printf '%s\n' "$COMMANDS" >"$root/commands"
elif [ ! -t 0 ]; then
    "$here/input.sh" >"$root/commands"
    [ -s "$root/commands" ] || cat "$here/commands" >"$root/commands"
fi
[ ! -f "$root/commands" ] || exec </dev/null
(cd "$root" && find . | cpio -o -H newc -R 0:0 --quiet) >"$build/image/initramfs"

echo "vkvm: booting $(sed -n 's/^Package: //p' "$dir/kernel/version")" >&2
exec "$here/run.sh" -b "$build" -d "$dir" -l "$lane_options" -c "$command" "$dir/kernel/vmlinuz" \
    --memory 256M --initrd "$build/image/initramfs" --append 'console=ttyS0 quiet panic=-1' \
    --stats "$@"
