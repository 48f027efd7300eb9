#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Check that the layers' arrows point down: which folder may include what, who may see
# KVM, and what the engine must not call.  Prints what offends.

set -eu

result=0

offend() {
    echo "$1"
    result=1
}

# A folder and what its files may include besides itself, base's headers and the engine's: a
# folder, or single headers.
table='
base
vpagetable
pager
device
trace
kvm
x86_64      kvm/kvm_host.h abi
vm          kvm x86_64 pager device trace abi
boot        x86_64 vm/guest_memory.h vm/machine.h abi
doorbell    vm x86_64 trace abi
gdb         vm x86_64 trace
trace_tool  trace cli/cli.h cli/value.h
test_tool   trace trace_tool cli/cli.h cli/value.h cli/beside.h x86_64/cpu_feature.h
cli         boot doorbell gdb vm x86_64 kvm pager device trace abi
'

# The row of a folder as one pattern for grep -E.
pattern() {
    case $1 in
    base | vpagetable) allowed="vmm/$1/" ;; # nothing of the others
    *) allowed="vmm/$1/|vmm/base/|vmm/vpagetable/" ;;
    esac
    for word in $2; do
        case $word in
        abi) allowed="$allowed|guest/include/vkvm_abi\.h\"" ;;
        *.h) allowed="$allowed|vmm/$word\"" ;;
        *) allowed="$allowed|vmm/$word/" ;;
        esac
    done
    echo "include \"($allowed)"
}

# only FOLDER PATTERN: what its files include, in quotes
only() {
    found=$(grep -rnE '^#[[:space:]]*include "' "$1" --include='*.[chS]' | grep -vE "$2") || :
    [ -z "$found" ] || offend "$1 includes what docs/architecture.md, Layers, does not allow it:
$found"
}

# never FOLDER PATTERN REASON
never() {
    found=$(grep -rnE "$2" "$1" --include='*.[chS]') || :
    [ -z "$found" ] || offend "$1: $3:
$found"
}

for path in vmm/*/; do
    folder=$(basename "$path")
    if row=$(echo "$table" | grep -E "^$folder( |\$)"); then
        only "vmm/$folder" "$(pattern "$folder" "${row#"$folder"}")"
    else
        offend "vmm/$folder is in no row of the table of $0"
    fi
    case $folder in
    kvm | x86_64 | vm) ;;
    *) never "vmm/$folder" '<linux/kvm\.h>' 'only vmm/kvm, vmm/x86_64 and the vCPUs include <linux/kvm.h>' ;;
    esac
done
for file in vmm/*.[ch]; do
    [ "$file" = vmm/main.c ] || offend "$file: vmm/ holds folders and main.c"
done
only guest 'include "guest/'

never vmm/vpagetable '#[[:space:]]*include <(linux|asm|sys/ioctl|sys/kvm)' 'the engine sees no kernel header'
never vmm/vpagetable '\<(ioctl|pthread_create|clone|fork)[[:space:]]*\(' 'the engine makes no ioctl and no thread'
never vmm/pager '<linux/kvm\.h>|\<(ioctl|pthread_create)[[:space:]]*\(' 'a pager knows no KVM and makes no thread'
exit "$result"
