/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The trace of a VM: what is recorded, from the engine's hooks and the VM's own events.
 *
 * It is made with the VM, so that also what a loader writes is in it, and finished when vm_run is
 * over.  While it is switched off the hooks are not there.
 */
#ifndef VM_TRACE_H
#define VM_TRACE_H

#include "vmm/trace/trace_record.h"
#include "vmm/trace/trace_writer.h"
#include "vmm/vm/vm.h"

struct vcpu; /* vcpu.h */

/* What page-out's hook needs.  Before the first VM is made. */
void vm_trace_host_init(struct vm_host *host);
void vm_trace_host_fini(struct vm_host *host);

/*
 * A part of the VM (vm_parts.c), the last one; recording begins, unless the configuration says that it
 * is switched off.
 */
int vm_trace_make(struct vm *vm, struct failure *failure);
void vm_trace_unmake(struct vm *vm);

/* vm_run is over: write what there is, and `--stats` in numbers. */
void vm_trace_finish(struct vm *vm);

/* Is there a trace that is switched on? */
bool vm_trace_is_on(struct vm *vm);

/*
 * Record something that vCPU `cpu`'s thread did: kind, time and the kind's own member are set.
 * Without a trace, or while it is switched off, nothing.
 */
void vm_trace_put(struct vm *vm, unsigned cpu, struct trace_record *record);

/* fault_service_config.lane; `context` is the VM here and below. */
void *vm_trace_fault_lane(void *context, unsigned thread);

/* fault_service_config.asked, answered: the vCPU's registers are wanted. */
void vm_trace_asked(void *context, unsigned cpu, gpa_t gpa, vm_prot_t access);
void vm_trace_answered(void *context, unsigned cpu, uint64_t record);

/* vcpu_ops.injected, located */
void vm_trace_located(void *context, struct vcpu *vcpu, const struct arch_location *location,
                      uint64_t fault);
void vm_trace_injected(void *context, const struct vcpu *vcpu, const struct vm_fault_info *info);

#endif
