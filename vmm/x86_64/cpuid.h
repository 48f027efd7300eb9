/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a guest's processors are: KVM's answers to CPUID, changed to what the machine is.
 *
 * Source: Intel SDM vol. 2, CPUID; AMD64 Architecture Programmer's Manual vol. 3, appendix E; Linux
 * Documentation/virt/kvm/x86/cpuid.rst.
 */
#ifndef CPUID_H
#define CPUID_H

#include "vmm/x86_64/arch.h"

#include <linux/kvm.h>

/* Set the CPUID of a new vCPU.  Returns 0 or -errno. */
int cpuid_init(struct arch_vcpu *vcpu) __attribute__((warn_unused_result));

/* Entries that cpuid_adjust adds at most: there must be room. */
#define CPUID_ADDED 3

/*
 * Turn what KVM supports into the answers of processor `index`.  tsc_deadline: KVM's local APIC has
 * that timer.
 */
void cpuid_adjust(struct kvm_cpuid2 *cpuid, const struct arch_cpus *cpus, unsigned index,
                  bool tsc_deadline);

#endif
