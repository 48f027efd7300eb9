/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registers of a vCPU at its start, for each protocol (arch.h).  Pure: no ioctl.
 */
#ifndef START_H
#define START_H

#include "vmm/x86_64/arch.h"

#include <linux/kvm.h>

/* Does this vCPU get registers, or does another start it? */
bool start_has(const struct arch_start *start, unsigned index);

/* Segments, control registers and descriptor tables; all else of *sregs stays as KVM made it. */
void start_sregs(const struct arch_start *start, struct kvm_sregs *sregs);

/* All general registers. */
void start_regs(const struct arch_start *start, unsigned index, struct kvm_regs *regs);

#endif
