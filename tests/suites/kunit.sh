#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Give our KTAP to the kernel's own reader, kunit.py of Debian's kernel source, which must count what
# went in.
#
#   tests/suites/kunit.sh [-b BUILD_DIRECTORY]
#
# The source package is fetched once and not installed.

set -eu

build=build
while getopts b: option; do
    case $option in
    b) build=$OPTARG ;;
    *)
        echo 'usage: kunit.sh [-b BUILD_DIRECTORY]' >&2
        exit 2
        ;;
    esac
done

build=$(cd "$build" && pwd) # kunit.py goes elsewhere
tools=$build/linux-source/linux-source-6.1/tools/testing/kunit
if [ ! -f "$tools/kunit.py" ]; then
    mkdir -p "$build/linux-source"
    (
        cd "$build/linux-source"
        apt-get -q download linux-source-6.1
        dpkg-deb --fsys-tarfile linux-source-6.1_*.deb | tar -xO ./usr/src/linux-source-6.1.tar.xz |
            tar -xJ --wildcards 'linux-source-6.1/tools/testing/kunit/*'
        rm -f linux-source-6.1_*.deb
    )
fi

passed=0
failed=0
for variant in whole cut skipped; do
    "$build/tests/report_file" ktap "$variant" >"$build/linux-source/report"
    # kunit.py knows no errors: they are failures.
    wanted=$("$build/tests/report_file" counts "$variant" | awk '{
        if ($1) text = text ", passed: " $1
        if ($2 + $3) text = text ", failed: " $2 + $3
        if ($4) text = text ", skipped: " $4
        printf "Ran %d tests: %s\n", $1 + $2 + $3 + $4, substr(text, 3)
    }')
    came=$(python3 "$tools/kunit.py" parse "$build/linux-source/report" | sed -n 's/.*Testing complete\. //p')
    if [ "$came" = "$wanted" ]; then
        echo "PASS kunit.py counts in KTAP what went in ($variant)"
        passed=$((passed + 1))
    else
        echo "FAIL kunit.py counts in KTAP what went in ($variant): $came, not $wanted"
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
