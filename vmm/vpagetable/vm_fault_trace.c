/* SPDX-License-Identifier: BSD-2-Clause */
/* From a fault's state to its record. */
#include "vmm/vpagetable/vm_fault_state.h"

void
vm_fault_trace_set(struct vm_map *map, const struct vm_fault_trace *trace)
{
    atomic_store(&map->trace, trace);
}

/* A page's place in the frame store.  The page may be somebody else's by now. */
static uint64_t
page_slot(const struct vm_system *sys, const struct vm_page *m)
{
    return (uint64_t)(m - sys->pages);
}

void
vm_fault_trace_end(const struct faultstate *fs)
{
    const struct vm_system *sys = fs->errand.sys;
    struct vm_fault_record record = {
        .begun = fs->begun,
        .origin = fs->origin,
        .info = fs->info,
        .flags = fs->flags,
        .step = fs->step,
        .waited = fs->errand.waited,
    };

    if (fs->step >= FAULT_STEP_WALK)
        record.walk = fs->walked ? &fs->walk : NULL;
    if (fs->step >= FAULT_STEP_OBJECT) {
        record.object = fs->object_number;
        record.pindex = fs->pindex;
        record.depth = fs->depth;
    }
    if (fs->step == FAULT_STEP_PAGE) {
        record.kind = fs->kind;
        record.from_file = fs->kind == FAULT_PAGE_IN && fs->from_file;
        record.slot = page_slot(sys, fs->m);
        record.source = fs->source != NULL ? page_slot(sys, fs->source) : record.slot;
    }
    fs->trace->end(fs->trace->context, &record);
}
