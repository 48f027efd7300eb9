/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which call makes which record.
 */
#include "vmm/doorbell/doorbell_trace.h"

#include "guest/include/vkvm_abi.h"
#include "vmm/base/clock.h"
#include "vmm/vm/vm_internal.h"
#include "vmm/vm/vm_trace.h"

static struct trace_range
range_of(const struct call_range *range)
{
    return (struct trace_range){ .gpa = gpa_to_u64(range->start),
                                 .to = gpa_to_u64(range->start),
                                 .size = call_range_size(range) };
}

static enum trace_kind
fill_range(uint64_t number, const union call *call, struct trace_range *to)
{
    switch (number) {
    case VKVM_CALL_INVAL:
        *to = range_of(&call->range);
        return TRACE_INVAL;
    case VKVM_CALL_SETMAP:
        *to = range_of(&call->setmap.range);
        to->root = call->setmap.root;
        return TRACE_SETMAP;
    case VKVM_CALL_COPY:
        *to = range_of(&call->copy.from);
        to->to = gpa_to_u64(call->copy.to.start);
        return TRACE_COPY;
    default:
        return TRACE_KINDS;
    }
}

/* Returns false for calls that are not recorded. */
static bool
find_vmspace(uint64_t number, const union call *call, uint64_t *id)
{
    switch (number) {
    case VKVM_CALL_VMSPACE_CREATE:
    case VKVM_CALL_VMSPACE_DESTROY:
        *id = call->vmspace.id;
        return true;
    case VKVM_CALL_VMSPACE_MAP:
        *id = call->vmspace_map.id;
        return true;
    case VKVM_CALL_VMSPACE_UNMAP:
        *id = call->vmspace_unmap.id;
        return true;
    case VKVM_CALL_REGION_MAP:
        *id = call->region_map.id;
        return true;
    default:
        return false;
    }
}

void
doorbell_trace_call(struct vm *vm, unsigned cpu, uint64_t number, const union call *call,
                    uint64_t begun, int64_t result)
{
    struct trace_record record = { .time = begun };
    uint64_t duration = clock_now_ns() - begun;
    int status = result < 0 ? (int)result : 0;
    uint64_t id = 0;

    record.kind = fill_range(number, call, &record.range);
    if (record.kind != TRACE_KINDS) {
        record.range.duration = duration;
        record.range.status = status;
    } else if (find_vmspace(number, call, &id)) {
        record.kind = TRACE_VMSPACE;
        record.vmspace = (struct trace_vmspace){
            .call = (unsigned)number, .id = id, .duration = duration, .status = status
        };
    } else {
        return;
    }
    vm_trace_put(vm, cpu, &record);
}
