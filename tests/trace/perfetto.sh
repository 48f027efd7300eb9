#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# What `vkvm trace dump --format perfetto` writes, decoded by Perfetto's own .proto files, which are no
# part of this project: PERFETTO names the folder of its sources that has protos/perfetto.
#
#   PERFETTO=DIRECTORY tests/trace/perfetto.sh [-b BUILD_DIRECTORY] [TRACE...]
#
# Without traces, one of trace_file's and one of the vkernel are looked at.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=build
if [ "${1:-}" = -b ]; then
    build=$2
    shift 2
fi
if [ ! -f "${PERFETTO:-}/protos/perfetto/trace/trace.proto" ]; then
    echo 'perfetto.sh: give Perfetto'\''s sources: PERFETTO=DIRECTORY, which has protos/perfetto/trace/trace.proto' >&2
    exit 2
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/vkvm-perfetto.XXXXXX")
trap 'rm -rf "$work"' EXIT

# What the .proto files know, and no field that they do not: those have numbers for names.
check() {
    "$build/vkvm" trace dump --format=perfetto --output="$work/packets" "$1"
    protoc -I "$PERFETTO" --decode=perfetto.protos.Trace protos/perfetto/trace/trace.proto \
        <"$work/packets" >"$work/text"
    if grep -E '^ *[0-9]+[:{ ]' "$work/text" >"$work/unknown"; then
        echo "FAIL $1: fields that Perfetto does not know: $(head -n 3 "$work/unknown")"
        return 1
    fi
    awk -f "$here/perfetto.awk" "$work/text"
    python3 "$here/perfetto.py" "$work/packets"
}

if [ $# -eq 0 ]; then
    "$build/tests/trace_file" "$work/whole"
    "$build/vkvm" run --trace="$work/vkernel" --trace-regs "$build/guest/vkernel.elf" >/dev/null
    set -- "$work/whole" "$work/vkernel"
fi
for trace; do
    echo "--- $(basename "$trace")"
    check "$trace"
done
echo 'perfetto.sh: all passed'
