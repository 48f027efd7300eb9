/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Why a process came back to the kernel: a fault vkvm delivered, a system call, or
 * something it must not do.
 */
#ifndef VKERNEL_TRAP_H
#define VKERNEL_TRAP_H

#include "guest/vkernel/proc.h"

/* This vCPU gets its faults as kernel_options.delivery says.  Once per vCPU. */
void trap_choose_delivery(void);

/*
 * Deal with the trap in proc->context.frame.  Afterwards the process can go on
 * (RUNNING), waits its turn (READY), waits for a child, or has ended.
 */
void trap_handle(struct proc *proc);

#endif
