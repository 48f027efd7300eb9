/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Can vkvm run guests on this host?  Exit status 0: yes.  1: no, and one line
 * on standard output says why.  It asks what vkvm itself asks, by the same code.
 */
#include "vmm/kvm/kvm_vm.h"

#include <stdio.h>

int
main(void)
{
    struct kvm_host host;
    struct kvm_vm kvm;
    struct failure failure;

    if (kvm_host_open(&host, &failure) != 0 || kvm_vm_open(&kvm, &host, &failure) != 0) {
        puts(failure.message);
        return 1;
    }
    kvm_vm_close(&kvm);
    kvm_host_close(&host);
    return 0;
}
