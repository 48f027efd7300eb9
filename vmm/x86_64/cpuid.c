/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Setting a vCPU's CPUID.
 */
#include "vmm/x86_64/cpuid.h"

#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* Bits of the host's own CPUID: leaf 1 and 0x80000001. */
#define CPUID1_ECX_VMX (1u << 5)
#define CPUID_EXTENDED_ECX_SVM (1u << 2)

bool
arch_kvm_is_software(void)
{
    unsigned a, b, c, d;

    if (__get_cpuid(1, &a, &b, &c, &d) != 0 && (c & CPUID1_ECX_VMX) != 0)
        return false;
    return __get_cpuid(0x80000001, &a, &b, &c, &d) == 0 || (c & CPUID_EXTENDED_ECX_SVM) == 0;
}

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
    bool tsc_deadline =
        ioctl(vcpu->host->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
    const struct kvm_cpuid2 *offered = vcpu->host->cpuid;
    const size_t size = sizeof(*offered) + offered->nent * sizeof(offered->entries[0]);
    struct kvm_cpuid2 *cpuid = calloc(1, size + CPUID_ADDED * sizeof(offered->entries[0]));
    int error;

    if (cpuid == NULL)
        return -ENOMEM;
    memcpy(cpuid, offered, size);
    cpuid_adjust(cpuid, vcpu->cpus, vcpu->index, tsc_deadline);
    error = ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid) < 0 ? -errno : 0;
    free(cpuid);
    return error;
}
