/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's calls in the VM's trace: those that change what its addresses show.
 */
#ifndef DOORBELL_TRACE_H
#define DOORBELL_TRACE_H

#include "vmm/doorbell/call.h"
#include "vmm/vm/vm.h"

/*
 * vCPU `cpu` has made a call, which began at `begun` (ns of clock_now_ns) and returned `result`.
 * By its thread.
 */
void doorbell_trace_call(struct vm *vm, unsigned cpu, uint64_t number, const union call *call,
                         uint64_t begun, int64_t result);

#endif
