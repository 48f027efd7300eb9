/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Asking KVM what it supports, and setting a vCPU's CPUID.
 */
#include "vmm/x86_64/cpuid.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#define CPUID_MAX_ENTRIES 256u

/* What KVM supports, with room for what is added; the caller frees it. */
static int
get_supported(const struct kvm_host *host, struct kvm_cpuid2 **cpuidp)
{
    struct kvm_cpuid2 *cpuid;
    int error;

    cpuid =
        calloc(1, sizeof(*cpuid) + (CPUID_MAX_ENTRIES + CPUID_ADDED) * sizeof(cpuid->entries[0]));
    if (cpuid == NULL)
        return -ENOMEM;
    cpuid->nent = CPUID_MAX_ENTRIES;
    error = ioctl(host->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) < 0 ? -errno : 0;
    if (error != 0) {
        free(cpuid);
        return error;
    }
    *cpuidp = cpuid;
    return 0;
}

int
arch_physical_bits(const struct kvm_host *host, unsigned *bits)
{
    struct kvm_cpuid2 *cpuid;
    int error = get_supported(host, &cpuid);

    if (error != 0)
        return error;
    *bits = 36; /* SDM vol. 3, 4.1.4 */
    for (unsigned i = 0; i < cpuid->nent; i++) {
        if (cpuid->entries[i].function == 0x80000008 && (cpuid->entries[i].eax & 0xFF) != 0)
            *bits = cpuid->entries[i].eax & 0xFF;
    }
    free(cpuid);
    return 0;
}

int
cpuid_init(struct arch_vcpu *vcpu)
{
    bool tsc_deadline =
        ioctl(vcpu->host->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
    struct kvm_cpuid2 *cpuid;
    int error = get_supported(vcpu->host, &cpuid);

    if (error != 0)
        return error;
    cpuid_adjust(cpuid, vcpu->cpus, vcpu->index, tsc_deadline);
    error = ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid) < 0 ? -errno : 0;
    free(cpuid);
    return error;
}
