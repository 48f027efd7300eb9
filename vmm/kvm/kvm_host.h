/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The host's KVM and userfaultfd: opening them, and what they can do.
 *
 * Every way this can fail for a user fills a struct failure.
 */
#ifndef KVM_HOST_H
#define KVM_HOST_H

#include "vmm/base/failure.h"

#include <stdbool.h>
#include <stdint.h>

struct kvm_host {
    int kvm_fd;             /* owned: /dev/kvm */
    int vm_fd;              /* owned */
    int uffd;               /* owned, non-blocking, UFFDIO_API done */
    uint64_t uffd_features; /* what the kernel granted, UFFD_FEATURE_* */
    bool uffd_continue_wp;  /* UFFDIO_CONTINUE can install write-protected (Linux 6.4) */
    bool sync_regs;         /* KVM_CAP_SYNC_REGS covers regs, sregs, events */
    bool immediate_exit;    /* KVM_CAP_IMMEDIATE_EXIT */
    bool memory_fault_info; /* KVM_EXIT_MEMORY_FAULT may be filled */
    unsigned max_vcpus;
    unsigned max_memslots;
    unsigned vcpu_mmap_size; /* bytes of struct kvm_run */
};

/*
 * Open /dev/kvm, create a VM, open a userfaultfd (system call first, then
 * /dev/userfaultfd) with MISSING_SHMEM, MINOR_SHMEM, WP on shmem and THREAD_ID.
 * Returns 0, or -errno with *error filled: device absent (-ENOENT), forbidden
 * (-EACCES, -EPERM), API or capability missing (-ENOTSUP), or what the host says.
 */
int kvm_host_open(struct kvm_host *host, struct failure *error) __attribute__((warn_unused_result));
void kvm_host_close(struct kvm_host *host);

#endif
