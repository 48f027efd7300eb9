#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Check that every source names its licence in its first line (scripts: the
# second, after the interpreter); golden traces are data.  Prints the files that do not.

set -eu

found=$(find Makefile .clang-format .clang-tidy .ci vmm guest tests tools docs -type f \
    ! -name '*.md' ! -name '*.png' ! -name '*.svg' ! -path '*/golden/*' -exec sh -c '
    for file; do
        head -n 2 "$file" | grep -q "SPDX-License-Identifier: BSD-2-Clause" || echo "$file"
    done' sh {} +)
[ -z "$found" ] || {
    echo "no SPDX line: $found"
    exit 1
}
