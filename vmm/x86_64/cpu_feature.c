/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of features.
 */
#include "vmm/x86_64/cpu_feature.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <string.h>

enum reg {
    EAX,
    EBX,
    ECX,
    EDX
};

static const struct feature {
    const char *name;
    uint32_t leaf;
    uint32_t index;
    enum reg reg;
    unsigned bit;
} features_table[] = {
    { "pse", 1, 0, EDX, 3 },
    { "tsc", 1, 0, EDX, 4 },
    { "pae", 1, 0, EDX, 6 },
    { "mce", 1, 0, EDX, 7 },
    { "apic", 1, 0, EDX, 9 },
    { "sep", 1, 0, EDX, 11 },
    { "mtrr", 1, 0, EDX, 12 },
    { "pge", 1, 0, EDX, 13 },
    { "mca", 1, 0, EDX, 14 },
    { "pat", 1, 0, EDX, 16 },
    { "pse36", 1, 0, EDX, 17 },
    { "clflush", 1, 0, EDX, 19 },
    { "pni", 1, 0, ECX, 0 },
    { "pclmulqdq", 1, 0, ECX, 1 },
    { "monitor", 1, 0, ECX, 3 },
    { "vmx", 1, 0, ECX, 5 },
    { "ssse3", 1, 0, ECX, 9 },
    { "fma", 1, 0, ECX, 12 },
    { "cx16", 1, 0, ECX, 13 },
    { "pcid", 1, 0, ECX, 17 },
    { "sse4_1", 1, 0, ECX, 19 },
    { "sse4_2", 1, 0, ECX, 20 },
    { "x2apic", 1, 0, ECX, 21 },
    { "movbe", 1, 0, ECX, 22 },
    { "popcnt", 1, 0, ECX, 23 },
    { "tsc_deadline_timer", 1, 0, ECX, 24 },
    { "aes", 1, 0, ECX, 25 },
    { "xsave", 1, 0, ECX, 26 },
    { "avx", 1, 0, ECX, 28 },
    { "f16c", 1, 0, ECX, 29 },
    { "rdrand", 1, 0, ECX, 30 },
    { "hypervisor", 1, 0, ECX, 31 },
    { "fsgsbase", 7, 0, EBX, 0 },
    { "tsc_adjust", 7, 0, EBX, 1 },
    { "bmi1", 7, 0, EBX, 3 },
    { "hle", 7, 0, EBX, 4 },
    { "avx2", 7, 0, EBX, 5 },
    { "smep", 7, 0, EBX, 7 },
    { "bmi2", 7, 0, EBX, 8 },
    { "erms", 7, 0, EBX, 9 },
    { "invpcid", 7, 0, EBX, 10 },
    { "rtm", 7, 0, EBX, 11 },
    { "avx512f", 7, 0, EBX, 16 },
    { "rdseed", 7, 0, EBX, 18 },
    { "adx", 7, 0, EBX, 19 },
    { "smap", 7, 0, EBX, 20 },
    { "clflushopt", 7, 0, EBX, 23 },
    { "sha_ni", 7, 0, EBX, 29 },
    { "umip", 7, 0, ECX, 2 },
    { "pku", 7, 0, ECX, 3 },
    { "waitpkg", 7, 0, ECX, 5 },
    { "shstk", 7, 0, ECX, 7 },
    { "la57", 7, 0, ECX, 16 },
    { "rdpid", 7, 0, ECX, 22 },
    { "pks", 7, 0, ECX, 31 },
    { "fsrm", 7, 0, EDX, 4 },
    { "ibt", 7, 0, EDX, 20 },
    { "spec_ctrl", 7, 0, EDX, 26 },
    { "arch_capabilities", 7, 0, EDX, 29 },
    { "ssbd", 7, 0, EDX, 31 },
    { "lam", 7, 1, EAX, 26 },
    { "xsaveopt", 0xD, 1, EAX, 0 },
    { "xsavec", 0xD, 1, EAX, 1 },
    { "xgetbv1", 0xD, 1, EAX, 2 },
    { "xsaves", 0xD, 1, EAX, 3 },
    { "kvmclock", 0x40000001, 0, EAX, 3 },
    { "asyncpf", 0x40000001, 0, EAX, 4 },
    { "steal_time", 0x40000001, 0, EAX, 5 },
    { "pv_eoi", 0x40000001, 0, EAX, 6 },
    { "pv_unhalt", 0x40000001, 0, EAX, 7 },
    { "pv_ipi", 0x40000001, 0, EAX, 11 },
    { "asyncpf_int", 0x40000001, 0, EAX, 14 },
    { "kvmclock_stable", 0x40000001, 0, EAX, 24 },
    { "syscall", 0x80000001, 0, EDX, 11 },
    { "nx", 0x80000001, 0, EDX, 20 },
    { "pdpe1gb", 0x80000001, 0, EDX, 26 },
    { "rdtscp", 0x80000001, 0, EDX, 27 },
    { "lm", 0x80000001, 0, EDX, 29 },
    { "lahf_lm", 0x80000001, 0, ECX, 0 },
    { "svm", 0x80000001, 0, ECX, 2 },
    { "abm", 0x80000001, 0, ECX, 5 },
    { "sse4a", 0x80000001, 0, ECX, 6 },
    { "constant_tsc", 0x80000007, 0, EDX, 8 },
    { "clzero", 0x80000008, 0, EBX, 0 },
    { "rdpru", 0x80000008, 0, EBX, 4 },
    { "wbnoinvd", 0x80000008, 0, EBX, 9 },
    { "npt", 0x8000000A, 0, EDX, 0 },
};
#define FEATURES (sizeof(features_table) / sizeof(features_table[0]))

int
cpu_feature_find(const char *name, size_t size)
{
    for (size_t i = 0; i < FEATURES; i++) {
        if (strlen(features_table[i].name) == size &&
            memcmp(features_table[i].name, name, size) == 0)
            return (int)i;
    }
    return -ENOENT;
}

const char *
cpu_feature_name(unsigned feature)
{
    return features_table[feature].name;
}

int
cpu_features_add(struct cpu_features *features, const char *text)
{
    const char *equals = strchr(text, '=');
    int feature;

    if (equals == NULL || (strcmp(equals, "=on") != 0 && strcmp(equals, "=off") != 0))
        return -EINVAL;
    feature = cpu_feature_find(text, (size_t)(equals - text));
    if (feature < 0)
        return -ENOENT;
    if (features->n == CPU_FEATURE_CHOICES)
        return -ENOSPC;
    features->choices[features->n].feature = (unsigned)feature;
    features->choices[features->n++].on = strcmp(equals, "=on") == 0;
    return 0;
}

static uint32_t *
register_of(struct kvm_cpuid_entry2 *entry, enum reg reg)
{
    uint32_t *const registers[] = { &entry->eax, &entry->ebx, &entry->ecx, &entry->edx };

    return registers[reg];
}

static bool
is_at(const struct kvm_cpuid_entry2 *entry, const struct feature *feature)
{
    return entry->function == feature->leaf && entry->index == feature->index;
}

static bool
is_there(const struct kvm_cpuid2 *cpuid, const struct feature *feature)
{
    for (unsigned i = 0; i < cpuid->nent; i++) {
        struct kvm_cpuid_entry2 entry = cpuid->entries[i];

        if (is_at(&entry, feature))
            return (*register_of(&entry, feature->reg) >> feature->bit & 1) != 0;
    }
    return false;
}

/* Does a later choice say something else of the same feature? */
static bool
is_overruled(const struct cpu_features *features, unsigned which)
{
    for (unsigned i = which + 1; i < features->n; i++) {
        if (features->choices[i].feature == features->choices[which].feature)
            return true;
    }
    return false;
}

int
cpu_features_check(const struct cpu_features *features, const struct kvm_cpuid2 *cpuid,
                   struct failure *failure)
{
    for (unsigned i = 0; i < features->n; i++) {
        const struct feature *feature = &features_table[features->choices[i].feature];

        if (features->choices[i].on && !is_overruled(features, i) && !is_there(cpuid, feature))
            return failure_set(failure, -ENOTSUP,
                               "KVM does not offer the processor feature %s here: leave it out, or "
                               "use another host",
                               feature->name);
    }
    return 0;
}

static void
take_away(struct kvm_cpuid2 *cpuid, const struct feature *feature)
{
    for (unsigned i = 0; i < cpuid->nent; i++) {
        if (is_at(&cpuid->entries[i], feature))
            *register_of(&cpuid->entries[i], feature->reg) &= ~(UINT32_C(1) << feature->bit);
    }
}

void
cpu_features_apply(const struct cpu_features *features, struct kvm_cpuid2 *cpuid)
{
    for (unsigned i = 0; i < features->n; i++) {
        if (!features->choices[i].on && !is_overruled(features, i))
            take_away(cpuid, &features_table[features->choices[i].feature]);
    }
}
