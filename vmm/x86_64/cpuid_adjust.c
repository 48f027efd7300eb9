/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * KVM's CPUID made that of the machine: which processor this is, how many there are, and whether
 * there are local APICs.
 */
#include "vmm/x86_64/cpuid.h"

/* Leaf 1 */
#define EBX_APIC_ID_SHIFT 24
#define EBX_COUNT_SHIFT 16
#define ECX_X2APIC (1u << 21)
#define ECX_TSC_DEADLINE (1u << 24)
#define ECX_HYPERVISOR (1u << 31)
#define EDX_APIC (1u << 9)
#define EDX_HTT (1u << 28)

/* Leaf 4: cores in a package, less one */
#define EAX_CORES_SHIFT 26

/* Leaves 0xB and 0x1F */
#define LEAF_TOPOLOGY 0xBu
#define LEAF_TOPOLOGY2 0x1Fu
#define LEVEL_SMT 1u
#define LEVEL_CORE 2u
#define ECX_LEVEL_SHIFT 8

/* Leaf 0x40000001: asynchronous page faults told to the guest */
#define KVM_ASYNC_FAULTS (1u << 4 | 1u << 10 | 1u << 14)

/* Leaf 0x80000008: physical cores less one, and bits of an APIC id that number them */
#define ECX_CORE_BITS_SHIFT 12

/* Bits that number n processors. */
static unsigned
bits_of(unsigned n)
{
    unsigned bits = 0;

    while ((1u << bits) < n)
        bits++;
    return bits;
}

static bool
is_topology(const struct kvm_cpuid_entry2 *entry)
{
    return entry->function == LEAF_TOPOLOGY || entry->function == LEAF_TOPOLOGY2;
}

/* Without KVM's local APICs what needs one is not there. */
static void
adjust_features(struct kvm_cpuid_entry2 *entry, const struct arch_cpus *cpus, unsigned index,
                bool tsc_deadline)
{
    entry->ebx = (entry->ebx & 0x00FFFFFF) | index << EBX_APIC_ID_SHIFT;
    entry->ecx &= ~ECX_TSC_DEADLINE;
    entry->ecx |= ECX_HYPERVISOR;
    if (!cpus->lapic) {
        entry->ecx &= ~ECX_X2APIC;
        entry->edx &= ~EDX_APIC;
        return;
    }
    entry->ebx = (entry->ebx & 0xFF00FFFF) | cpus->n << EBX_COUNT_SHIFT;
    entry->ecx |= ECX_X2APIC | (tsc_deadline ? ECX_TSC_DEADLINE : 0);
    entry->edx |= EDX_APIC | (cpus->n > 1 ? EDX_HTT : 0);
}

/* The number of the processor, where the leaf's levels are KVM's. */
static void
adjust_number(struct kvm_cpuid2 *cpuid, unsigned index)
{
    for (unsigned i = 0; i < cpuid->nent; i++) {
        if (is_topology(&cpuid->entries[i]))
            cpuid->entries[i].edx = index;
    }
}

static void
remove_topology(struct kvm_cpuid2 *cpuid)
{
    unsigned n = 0;

    for (unsigned i = 0; i < cpuid->nent; i++) {
        if (!is_topology(&cpuid->entries[i]))
            cpuid->entries[n++] = cpuid->entries[i];
    }
    cpuid->nent = n;
}

/*
 * One package of single-threaded cores in leaf 0xB.  KVM's levels are the host's, or none; leaf 0x1F
 * has to say no more.
 */
static void
set_topology(struct kvm_cpuid2 *cpuid, const struct arch_cpus *cpus, unsigned index)
{
    const struct kvm_cpuid_entry2 levels[CPUID_ADDED] = {
        { .ebx = 1, .ecx = LEVEL_SMT << ECX_LEVEL_SHIFT },
        { .eax = bits_of(cpus->n), .ebx = cpus->n, .ecx = LEVEL_CORE << ECX_LEVEL_SHIFT },
        { .ebx = 0 },
    };

    remove_topology(cpuid);
    for (unsigned i = 0; i < CPUID_ADDED; i++) {
        struct kvm_cpuid_entry2 *entry = &cpuid->entries[cpuid->nent++];

        *entry = levels[i];
        entry->function = LEAF_TOPOLOGY;
        entry->index = i;
        entry->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
        entry->ecx |= i;
        entry->edx = index;
    }
}

/* The same to older ways of asking for it. */
static void
adjust_pc(struct kvm_cpuid_entry2 *entry, const struct arch_cpus *cpus)
{
    switch (entry->function) {
    case 4:
        if ((entry->eax & 0x1F) != 0)
            entry->eax = (entry->eax & 0x03FFFFFF) | (cpus->n - 1) << EAX_CORES_SHIFT;
        break;
    case 0x40000001:
        if (cpus->exact_faults)
            entry->eax &= ~KVM_ASYNC_FAULTS;
        break;
    case 0x80000008:
        entry->ecx = (cpus->n - 1) | bits_of(cpus->n) << ECX_CORE_BITS_SHIFT;
        break;
    default:
        break;
    }
}

static bool
has_leaf(const struct kvm_cpuid2 *cpuid, uint32_t leaf)
{
    for (unsigned i = 0; i < cpuid->nent; i++) {
        if (cpuid->entries[i].function == 0)
            return cpuid->entries[i].eax >= leaf;
    }
    return false;
}

void
cpuid_adjust(struct kvm_cpuid2 *cpuid, const struct arch_cpus *cpus, unsigned index,
             bool tsc_deadline)
{
    for (unsigned i = 0; i < cpuid->nent; i++) {
        struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

        if (entry->function == 1)
            adjust_features(entry, cpus, index, tsc_deadline);
        else if (cpus->lapic)
            adjust_pc(entry, cpus);
    }
    if (cpus->lapic && has_leaf(cpuid, LEAF_TOPOLOGY))
        set_topology(cpuid, cpus, index);
    else
        adjust_number(cpuid, index);
}
