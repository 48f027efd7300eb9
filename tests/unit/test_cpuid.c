/* SPDX-License-Identifier: BSD-2-Clause */
/* What becomes of KVM's CPUID: which processor it is, and what it can do. */
#include "vmm/x86_64/cpu_feature.h"
#include "vmm/x86_64/cpuid.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct kvm_cpuid2 *cpuid;

/* A host of 64 threads, two in a core. */
static void
setup(void)
{
    static const struct kvm_cpuid_entry2 host[] = {
        { .function = 0, .eax = 0xD },
        { .function = 1, .ebx = 0x2A400800, .ecx = 1u << 21 | 1u << 24, .edx = 1u << 9 },
        { .function = 4, .index = 0, .eax = 0x7C004121 },
        { .function = 4, .index = 3, .eax = 0 },
        { .function = 0xB, .index = 0, .eax = 1, .ebx = 2, .ecx = 0x100, .edx = 42 },
        { .function = 0xB, .index = 1, .eax = 6, .ebx = 64, .ecx = 0x201, .edx = 42 },
        { .function = 0x40000001, .eax = 1u << 4 | 1u << 10 | 1u << 14 | 1 },
        { .function = 0x80000008, .eax = 0x3030, .ecx = 0x603F },
    };
    unsigned n = sizeof(host) / sizeof(host[0]);

    cpuid = calloc(1, sizeof(*cpuid) + (n + CPUID_ADDED) * sizeof(host[0]));
    cr_assert(cpuid != NULL);
    cpuid->nent = n;
    for (unsigned i = 0; i < n; i++)
        cpuid->entries[i] = host[i];
}

static void
teardown(void)
{
    free(cpuid);
}

TestSuite(cpuid, .init = setup, .fini = teardown);

static const struct kvm_cpuid_entry2 *
find(uint32_t function, uint32_t index)
{
    for (unsigned i = 0; i < cpuid->nent; i++) {
        if (cpuid->entries[i].function == function && cpuid->entries[i].index == index)
            return &cpuid->entries[i];
    }
    cr_fatal("no leaf 0x%x.%u", function, index);
}

Test(cpuid, without_local_apics_nothing_that_needs_one_is_offered)
{
    const struct arch_cpus cpus = { .n = 2 };

    cpuid_adjust(cpuid, &cpus, 1, true);
    cr_expect(eq(u32, find(1, 0)->ecx, 1u << 31));
    cr_expect(eq(u32, find(1, 0)->edx, 0));
    cr_expect(eq(u32, find(1, 0)->ebx >> 24, 1));
    cr_expect(eq(u32, find(0xB, 1)->edx, 1));
    cr_expect(eq(u32, find(0xB, 1)->ebx, 64));
}

Test(cpuid, a_pc_has_one_package_with_as_many_cores_as_vcpus)
{
    const struct arch_cpus cpus = { .n = 3, .lapic = true };

    cpuid_adjust(cpuid, &cpus, 2, true);
    cr_expect(eq(u32, find(1, 0)->ebx, 0x02030800));
    cr_expect(eq(u32, find(1, 0)->ecx, 1u << 31 | 1u << 24 | 1u << 21));
    cr_expect(eq(u32, find(1, 0)->edx, 1u << 28 | 1u << 9));
    cr_expect(eq(u32, find(4, 0)->eax, 0x08004121));
    cr_expect(eq(u32, find(4, 3)->eax, 0));
    cr_expect(eq(u32, find(0xB, 0)->ebx, 1));
    cr_expect(eq(u32, find(0xB, 0)->ecx, 0x100));
    cr_expect(eq(u32, find(0xB, 1)->eax, 2));
    cr_expect(eq(u32, find(0xB, 1)->ebx, 3));
    cr_expect(eq(u32, find(0xB, 1)->ecx, 0x201));
    cr_expect(eq(u32, find(0xB, 1)->edx, 2));
    cr_expect(eq(u32, find(0xB, 2)->ebx, 0));
    cr_expect(eq(u32, find(0x80000008, 0)->ecx, 0x2002));
    cr_expect(eq(u32, find(0x40000001, 0)->eax, 1u << 4 | 1u << 10 | 1u << 14 | 1));
}

Test(cpuid, the_deadline_timer_is_there_when_kvm_has_it_and_levels_when_there_is_the_leaf)
{
    const struct arch_cpus cpus = { .n = 1, .lapic = true };

    cpuid->entries[0].eax = 7;
    cpuid_adjust(cpuid, &cpus, 0, false);
    cr_expect(eq(u32, find(1, 0)->ecx, 1u << 31 | 1u << 21));
    cr_expect(eq(u32, find(1, 0)->edx, 1u << 9));
    cr_expect(eq(u32, find(0xB, 1)->ebx, 64));
}

Test(cpuid, exact_faults_are_not_told_to_be_asynchronous)
{
    const struct arch_cpus cpus = { .n = 1, .lapic = true, .exact_faults = true };

    cpuid_adjust(cpuid, &cpus, 0, true);
    cr_expect(eq(u32, find(0x40000001, 0)->eax, 1));
}

static void
choose(struct cpu_features *features, const char *name, bool on)
{
    int feature = cpu_feature_find(name, strlen(name));

    cr_assert(feature >= 0, "%s", name);
    features->choices[features->n].feature = (unsigned)feature;
    features->choices[features->n++].on = on;
}

Test(cpuid, a_feature_is_known_by_its_whole_name)
{
    cr_expect(cpu_feature_find("smap", 4) >= 0);
    cr_expect(cpu_feature_find("smap=on", 4) >= 0);
    cr_expect(eq(int, cpu_feature_find("sma", 3), -ENOENT));
    cr_expect(eq(int, cpu_feature_find("smapx", 5), -ENOENT));
    cr_expect(eq(int, cpu_feature_find("", 0), -ENOENT));
}

Test(cpuid, a_feature_is_taken_away_unless_a_later_choice_wants_it)
{
    struct cpu_features features = { 0 };
    struct failure failure;

    choose(&features, "x2apic", false);
    choose(&features, "tsc_deadline_timer", false);
    choose(&features, "x2apic", true);
    choose(&features, "kvmclock", false);
    cr_expect(eq(int, cpu_features_check(&features, cpuid, &failure), 0));
    cpu_features_apply(&features, cpuid);
    cr_expect(eq(u32, find(1, 0)->ecx, 1u << 21));
    cr_expect(eq(u32, find(0x40000001, 0)->eax, 1u << 4 | 1u << 10 | 1u << 14 | 1));
}

Test(cpuid, a_feature_that_kvm_does_not_have_is_refused_by_its_name)
{
    struct cpu_features features = { 0 };
    struct failure failure;

    choose(&features, "smap", true);
    cr_expect(eq(int, cpu_features_check(&features, cpuid, &failure), -ENOTSUP));
    cr_expect(strstr(failure.message, "smap") != NULL, "%s", failure.message);
    choose(&features, "smap", false);
    cr_expect(eq(int, cpu_features_check(&features, cpuid, &failure), 0));
}
