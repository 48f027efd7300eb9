/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * KVM and userfaultfd constants newer than Linux 6.1, whose headers are the
 * base.  Having a constant says nothing about the running kernel: every use is
 * asked for at run time.
 */
#ifndef KVM_COMPAT_H
#define KVM_COMPAT_H

#include <linux/kvm.h>
#include <linux/userfaultfd.h>

/* Linux 6.4: install the page write-protected. */
#ifndef UFFDIO_CONTINUE_MODE_WP
#define UFFDIO_CONTINUE_MODE_WP ((__u64)1 << 1)
#endif

/* Linux 6.1: a userfaultfd from /dev/userfaultfd. */
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

/* Linux 6.8: KVM_RUN that returns EFAULT may say where. */
#ifndef KVM_CAP_MEMORY_FAULT_INFO
#define KVM_CAP_MEMORY_FAULT_INFO 232
#endif
#ifndef KVM_EXIT_MEMORY_FAULT
#define KVM_EXIT_MEMORY_FAULT 39
#endif

struct kvm_compat_memory_fault {
    __u64 flags;
    __u64 gpa;
    __u64 size;
};

/* The exit's details; only when exit_reason is KVM_EXIT_MEMORY_FAULT. */
static inline const struct kvm_compat_memory_fault *
kvm_compat_memory_fault(const struct kvm_run *run)
{
    return (const struct kvm_compat_memory_fault *)&run->hw; /* start of the exit union */
}

#endif
