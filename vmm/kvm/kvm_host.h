/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The host's KVM and userfaultfd: opening them, and what they can do.
 *
 * Every way this can fail for a user is a `struct host_error`: one line that
 * names the cause and the remedy.
 */
#ifndef KVM_HOST_H
#define KVM_HOST_H

#include <stdbool.h>
#include <stdint.h>

struct host_error {
    int error;         /* negative errno, 0 = none */
    char message[256]; /* cause and remedy, no newline */
};

/* Fill *error and return its code, so that `return host_error_set(...)` works. */
int host_error_set(struct host_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

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
int kvm_host_open(struct kvm_host *host, struct host_error *error)
    __attribute__((warn_unused_result));
void kvm_host_close(struct kvm_host *host);

#endif
