/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An ioctl of KVM that a signal may interrupt before it has done anything.
 */
#ifndef KVM_IOCTL_H
#define KVM_IOCTL_H

#include <errno.h>
#include <sys/ioctl.h>

/* Interruptions in a row after which somebody sends signals without end. */
#define KVM_INTERRUPTIONS_MAX 1000u

/*
 * Make the call with `call`, which tests replace, again when a signal interrupted it.
 * Returns what it did, 0 or more, or -errno; -EINTR after KVM_INTERRUPTIONS_MAX interruptions.
 */
static inline int
kvm_ioctl_by(int (*call)(int fd, unsigned long request, void *argument), int fd,
             unsigned long request, void *argument)
{
    int result;
    unsigned times = 0;

    do
        result = call(fd, request, argument);
    while (result < 0 && errno == EINTR && ++times < KVM_INTERRUPTIONS_MAX);
    return result < 0 ? -errno : result;
}

static inline int
kvm_ioctl_call(int fd, unsigned long request, void *argument)
{
    return ioctl(fd, request, argument);
}

/* The same with the kernel's ioctl. */
static inline int
kvm_ioctl(int fd, unsigned long request, void *argument)
{
    return kvm_ioctl_by(kvm_ioctl_call, fd, request, argument);
}

#endif
