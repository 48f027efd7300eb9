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
arch_kvm_has_ept(void)
{
    unsigned a, b, c, d;

    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & CPUID1_ECX_VMX) != 0;
}

bool
arch_kvm_is_software(void)
{
    unsigned a, b, c, d;

    if (arch_kvm_has_ept())
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

/* The CPUID of processor `index` with every feature that there can be; the caller frees it. */
static struct kvm_cpuid2 *
make_cpuid(const struct kvm_host *host, const struct arch_cpus *cpus, unsigned index)
{
    const struct kvm_cpuid2 *offered = host->cpuid;
    const size_t size = sizeof(*offered) + offered->nent * sizeof(offered->entries[0]);
    bool tsc_deadline = ioctl(host->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
    struct kvm_cpuid2 *cpuid = malloc(size + CPUID_ADDED * sizeof(offered->entries[0]));

    if (cpuid == NULL)
        return NULL;
    memcpy(cpuid, offered, size);
    cpuid_adjust(cpuid, cpus, index, tsc_deadline);
    return cpuid;
}

int
arch_cpus_check(const struct kvm_host *host, const struct arch_cpus *cpus, struct failure *failure)
{
    struct kvm_cpuid2 *cpuid = make_cpuid(host, cpus, 0);
    int error;

    if (cpuid == NULL)
        return failure_set(failure, -ENOMEM, "cannot make the CPUID: %s", strerror(ENOMEM));
    error = cpu_features_check(&cpus->features, cpuid, failure);
    free(cpuid);
    return error;
}

int
cpuid_init(struct arch_vcpu *vcpu)
{
    struct kvm_cpuid2 *cpuid = make_cpuid(vcpu->host, vcpu->cpus, vcpu->index);
    int error;

    if (cpuid == NULL)
        return -ENOMEM;
    cpu_features_apply(&vcpu->cpus->features, cpuid);
    error = ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid) < 0 ? -errno : 0;
    free(cpuid);
    return error;
}
