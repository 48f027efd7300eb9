/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Features of the guest's processors by their names, those of Linux's /proc/cpuinfo, and where CPUID
 * shows them.
 *
 * Source: Intel SDM vol. 2, CPUID; AMD64 Architecture Programmer's Manual vol. 3, appendix E; Linux
 * Documentation/virt/kvm/x86/cpuid.rst.
 */
#ifndef CPU_FEATURE_H
#define CPU_FEATURE_H

#include "vmm/base/failure.h"

#include <stdbool.h>
#include <stddef.h>

struct kvm_cpuid2;

#define CPU_FEATURE_CHOICES 32u

/* Features that are to be there, or not to be, whatever KVM offers. */
struct cpu_features {
    unsigned n;
    struct {
        unsigned feature; /* cpu_feature_find's */
        bool on;
    } choices[CPU_FEATURE_CHOICES]; /* the last one for a feature counts */
};

/* The feature of that name.  Returns its number, or -ENOENT. */
int cpu_feature_find(const char *name, size_t size) __attribute__((warn_unused_result));

/* Its name. */
const char *cpu_feature_name(unsigned feature);

/*
 * Add the choice of a text FEATURE=on or FEATURE=off.
 * Returns 0; -EINVAL (it says neither), -ENOENT (unknown feature), -ENOSPC (CPU_FEATURE_CHOICES are
 * there); *features is then unchanged.
 */
int cpu_features_add(struct cpu_features *features, const char *text)
    __attribute__((warn_unused_result));

/*
 * Is every feature that is to be there in this CPUID?
 * Returns 0; -ENOTSUP with *failure filled, which names the first one that is not.
 */
int cpu_features_check(const struct cpu_features *features, const struct kvm_cpuid2 *cpuid,
                       struct failure *failure) __attribute__((warn_unused_result));

/* Take away what is not to be there. */
void cpu_features_apply(const struct cpu_features *features, struct kvm_cpuid2 *cpuid);

#endif
