/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Can vkvm run guests on this host?  Exit status 0: yes.  1: no, and one line
 * on standard output says why.  It asks what vkvm itself asks, by the same code.
 *
 * With the argument "hold" a VM with one vCPU exists when it returns, and a
 * process that keeps it; tests/npt/init says what for.
 */
#include "vmm/kvm/kvm_vm.h"

#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int
main(int argc, char **argv)
{
    struct kvm_host host;
    struct kvm_vm kvm;
    struct failure failure;

    if (kvm_host_open(&host, &failure) != 0 || kvm_vm_open(&kvm, &host, &failure) != 0) {
        puts(failure.message);
        return 1;
    }
    if (argc > 1 && strcmp(argv[1], "hold") == 0) {
        if (ioctl(kvm.fd, KVM_CREATE_VCPU, 0ul) < 0 || daemon(1, 1) < 0) {
            perror("host_check");
            return 1;
        }
        pause();
    }
    kvm_vm_close(&kvm);
    kvm_host_close(&host);
    return 0;
}
