#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Check that a program is linked with what `vkvm run` needs, and nothing else: what one verb needs
# belongs to a program of its own.  Prints what is too much.
#
#   tests/lint/libraries.sh PROGRAM

set -eu

# libz, liblzma, liblz4, libzstd: compressed images; libnbd: disks.  All of these are optional.
allowed='libc libm libelf libfdt libbsd libxxhash libZydis libZycore liblz4 liblzma libzstd libz libnbd'

result=0
for library in $(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\.so.*/\1/p'); do
    case " $allowed " in
    *" $library "*) ;;
    *)
        echo "$1 is linked with $library, which vkvm run does not need"
        result=1
        ;;
    esac
done
exit "$result"
