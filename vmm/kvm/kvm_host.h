/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the host can do: its KVM and its userfaultfd, asked once per process.  Any number of
 * VMs share it; what each has for itself is in kvm_vm.h.
 *
 * Every way this can fail for a user fills a struct failure.
 * Locks: none; constant once it is open.
 */
#ifndef KVM_HOST_H
#define KVM_HOST_H

#include "vmm/base/failure.h"

#include <stdbool.h>

struct kvm_cpuid2; /* linux/kvm.h */

struct kvm_host {
    int kvm_fd;               /* owned: /dev/kvm */
    bool uffd_continue_wp;    /* UFFDIO_CONTINUE can install write-protected (Linux 6.4) */
    bool sync_regs;           /* KVM_CAP_SYNC_REGS covers regs, sregs, events */
    bool immediate_exit;      /* KVM_CAP_IMMEDIATE_EXIT */
    bool memory_fault_info;   /* KVM_EXIT_MEMORY_FAULT may be filled */
    unsigned vcpu_mmap_size;  /* bytes of struct kvm_run */
    struct kvm_cpuid2 *cpuid; /* owned: what KVM offers (KVM_GET_SUPPORTED_CPUID, which is slow) */
};

/*
 * Open /dev/kvm and see that it and userfaultfd have what is needed.
 * Returns 0, or -errno with *failure filled: device absent (-ENOENT), forbidden
 * (-EACCES, -EPERM), API or capability missing (-ENOTSUP), or what the host says.
 */
int kvm_host_open(struct kvm_host *host, struct failure *failure)
    __attribute__((warn_unused_result));

/* No VM of the host may be left. */
void kvm_host_close(struct kvm_host *host);

/*
 * Open a userfaultfd (system call first, then /dev/userfaultfd), non-blocking, with
 * MISSING_SHMEM, MINOR_SHMEM, WP on shmem and THREAD_ID agreed on.
 * Returns 0 and *fd, the caller's; -EPERM, -ENOTSUP, or what the host says, with *failure filled.
 */
int kvm_host_uffd_open(int *fd, struct failure *failure) __attribute__((warn_unused_result));

#endif
