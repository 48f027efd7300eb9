/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Setting a vCPU's CPUID.
 */
#include "vmm/x86_64/cpuid.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

unsigned
arch_physical_bits(const struct kvm_host *host)
{
    const struct kvm_cpuid2 *cpuid = host->cpuid;
    unsigned bits = 36; /* SDM vol. 3, 4.1.4 */

    for (unsigned i = 0; i < cpuid->nent; i++) {
        if (cpuid->entries[i].function == 0x80000008 && (cpuid->entries[i].eax & 0xFF) != 0)
            bits = cpuid->entries[i].eax & 0xFF;
    }
    return bits;
}

int
cpuid_init(struct arch_vcpu *vcpu)
{
    const struct kvm_cpuid2 *offered = vcpu->host->cpuid;
    const size_t size = sizeof(*offered) + offered->nent * sizeof(offered->entries[0]);
    bool tsc_deadline =
        ioctl(vcpu->host->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
    struct kvm_cpuid2 *cpuid = malloc(size + CPUID_ADDED * sizeof(offered->entries[0]));
    int error;

    if (cpuid == NULL)
        return -ENOMEM;
    memcpy(cpuid, offered, size);
    cpuid_adjust(cpuid, vcpu->cpus, vcpu->index, tsc_deadline);
    error = ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid) < 0 ? -errno : 0;
    free(cpuid);
    return error;
}
