/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A VM's descriptors: KVM's and its userfaultfd, and what KVM allows it.
 *
 * The userfaultfd is the VM's own, so that its fault threads read nobody else's faults.
 * Locks: none; constant once it is open.
 */
#ifndef KVM_VM_H
#define KVM_VM_H

#include "vmm/kvm/kvm_host.h"

struct kvm_vm {
    const struct kvm_host *host; /* borrowed */
    int fd;                      /* owned: of KVM_CREATE_VM */
    int uffd;                    /* owned, non-blocking, UFFDIO_API done */
    unsigned max_vcpus;
    unsigned max_memslots;
};

/*
 * Make a VM without vCPUs and memory.
 * Returns 0, or -errno with *failure filled: what KVM_CREATE_VM says, or kvm_host_uffd_open.
 */
int kvm_vm_open(struct kvm_vm *kvm, const struct kvm_host *host, struct failure *failure)
    __attribute__((warn_unused_result));

/* KVM frees the VM when its vCPUs are closed too. */
void kvm_vm_close(struct kvm_vm *kvm);

#endif
