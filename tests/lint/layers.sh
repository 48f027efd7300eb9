#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Check that the layers' arrows point down: which directory may include what,
# who may see KVM, and what the engine must not call.  Prints what offends.

set -eu

result=0

offend() {
    echo "$1"
    result=1
}

# only DIRECTORY PATTERN: project headers its files may include, as grep -E.
only() {
    found=$(grep -rnE '^#[[:space:]]*include "' "$1" --include='*.[chS]' | grep -vE "include \"($2)\"") || :
    [ -z "$found" ] || offend "$1 may include $2 only:
$found"
}

# never DIRECTORY PATTERN REASON
never() {
    found=$(grep -rnE "$2" "$1" --include='*.[chS]') || :
    [ -z "$found" ] || offend "$1: $3:
$found"
}

engine='vmm/vpagetable/[a-z0-9_]+\.h'
base='vmm/base/[a-z0-9_]+\.h'
abi='guest/include/vkvm_abi\.h'

only vmm/vpagetable "$engine"
only vmm/pager "$engine|vmm/pager/.*"
only vmm/kvm "$engine|vmm/kvm/.*|$base|vmm/x86_64/arch\.h|$abi"
only vmm/x86_64 "$engine|vmm/kvm/kvm_host\.h|vmm/x86_64/.*|$abi"
only guest 'guest/.*'

never vmm/vpagetable '#[[:space:]]*include <(linux|asm|sys/ioctl|sys/kvm)' 'the engine sees no kernel header'
never vmm/vpagetable '\<(ioctl|pthread_create|clone|fork)[[:space:]]*\(' 'the engine makes no ioctl and no thread'
never vmm/pager '<linux/kvm\.h>|\<(ioctl|pthread_create)[[:space:]]*\(' 'a pager knows no KVM and makes no thread'
for directory in $(find vmm -mindepth 1 -maxdepth 1 -type d | sort) vmm/*.[ch]; do
    case $directory in
    vmm/kvm | vmm/x86_64) ;;
    *) never "$directory" '<linux/kvm\.h>' 'only vmm/kvm and vmm/x86_64 include <linux/kvm.h>' ;;
    esac
done
exit "$result"
