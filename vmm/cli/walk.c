/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One access through page tables of any format.
 *
 * What an entry became is read back when the walk is over: a later step may set
 * M in an upper entry (vpte.h, W7), and a table may be part of itself.
 */
#include "vmm/cli/walk.h"

#include <errno.h>
#include <string.h>

/* Where each level's entry is, while a walk goes on. */
struct trace {
    const struct walk_memory *memory; /* borrowed */
    struct walk_outcome *outcome;     /* borrowed */
    unsigned count;
    const uint8_t *page[WALK_MAX_LEVELS];
    vm_pindex_t table[WALK_MAX_LEVELS];
};

const char *
walk_result_name(enum walk_result result)
{
    static const char *const names[WALK_RESULT_COUNT] = {
        [WALK_OK] = "ok",
        [WALK_INVALID] = "invalid",
        [WALK_PROTECTION] = "protection",
        [WALK_BAD_FRAME] = "bad_frame",
        [WALK_RESERVED] = "reserved",
    };

    return names[result];
}

bool
walk_format_find(const char *name, struct walk_format *format)
{
    format->vpte = vpte_format_find(name);
    format->x86 = format->vpte == NULL ? x86_walk_format_find(name) : NULL;
    return format->vpte != NULL || format->x86 != NULL;
}

bool
walk_address_fits(const struct walk_tables *tables, uint64_t address, uint64_t *remedy)
{
    const struct vpte_format *vpte = tables->format.vpte;
    const struct x86_walk_format *x86 = tables->format.x86;
    unsigned bits = vpte != NULL ? vpte->frame_end : x86_walk_address_bits(x86, tables->root);
    uint64_t limit = (uint64_t)1 << bits;
    bool extends = x86 != NULL && !x86->ept; /* canonical: the highest bit is repeated */

    if (address < (extends ? limit / 2 : limit) || (extends && address >= -(limit / 2)))
        return true;
    *remedy = extends && address < limit ? address | -limit : extends ? limit / 2 : limit;
    return false;
}

bool
walk_root_fits(const struct walk_tables *tables)
{
    const struct vpte_format *vpte = tables->format.vpte;

    return vpte == NULL || vpte->entry_size == sizeof(uint64_t) || tables->root <= UINT32_MAX;
}

/* The table page of the next level. */
static int
trace_page(struct trace *trace, vm_pindex_t table, void **page)
{
    unsigned i = trace->count;
    int error = trace->memory->page(trace->memory->context, table, page);

    if (error != 0)
        return error;
    trace->page[i] = *page;
    trace->table[i] = table;
    return 0;
}

/* The entry in it that was read. */
static void
trace_entry(struct trace *trace, const void *entry, uint64_t before)
{
    unsigned i = trace->count++;

    trace->outcome->entries[i] = (struct walk_entry){
        .level = i + 1,
        .at = (trace->table[i] << PAGE_SHIFT) + (uint64_t)((const uint8_t *)entry - trace->page[i]),
        .value = before,
    };
}

static void
trace_finish(const struct trace *trace, size_t entry_size)
{
    for (unsigned i = 0; i < trace->count; i++) {
        struct walk_entry *entry = &trace->outcome->entries[i];

        entry->after = 0;
        memcpy(&entry->after, trace->page[i] + (entry->at & PAGE_MASK), entry_size);
    }
    trace->outcome->nentries = trace->count;
    trace->outcome->level = trace->count;
}

/* Returns 0 with the outcome's result, or a negative errno: VM_RETRY is -EAGAIN. */
static int
vpte_outcome(enum vm_result result, enum walk_result *outcome)
{
    switch (result) {
    case VM_OK:
        *outcome = WALK_OK;
        return 0;
    case VM_VPTE_INVALID:
        *outcome = WALK_INVALID;
        return 0;
    case VM_VPTE_PROTECTION:
        *outcome = WALK_PROTECTION;
        return 0;
    case VM_BAD_FRAME:
        *outcome = WALK_BAD_FRAME;
        return 0;
    default:
        return -EAGAIN;
    }
}

static int
vpte_next(struct trace *trace, struct vpte_walk *walk, enum vm_result *result)
{
    vm_pindex_t table;
    void *page;
    int error;

    *result = vpte_walk_table(walk, &table);
    if (*result != VM_OK)
        return 0;
    error = trace_page(trace, table, &page);
    if (error != 0)
        return error;
    *result = vpte_walk_step(walk, page);
    trace_entry(trace, walk->steps[walk->level].entry, walk->steps[walk->level].before);
    return 0;
}

static int
vpte_translate(const struct walk_tables *tables, struct trace *trace, uint64_t address,
               vm_prot_t access)
{
    struct walk_outcome *outcome = trace->outcome;
    vm_pindex_t pindex = 0;
    struct vpte_walk walk;
    enum vm_result result = vpte_walk_start(&walk, tables->format.vpte, tables->root,
                                            address >> PAGE_SHIFT, access, tables->object_pages);
    int error = 0;

    while (error == 0 && result == VM_OK && !vpte_walk_done(&walk))
        error = vpte_next(trace, &walk, &result);
    if (error != 0)
        return error;
    if (result == VM_OK)
        result = vpte_walk_result(&walk, &pindex);
    outcome->pindex = pindex;
    outcome->phys = (pindex << PAGE_SHIFT) + (address & PAGE_MASK);
    return vpte_outcome(result, &outcome->result);
}

static enum walk_result
x86_outcome(enum x86_walk_result result)
{
    static const enum walk_result results[] = {
        [X86_WALK_OK] = WALK_OK,
        [X86_WALK_INVALID] = WALK_INVALID,
        [X86_WALK_PROTECTION] = WALK_PROTECTION,
        [X86_WALK_BAD_FRAME] = WALK_BAD_FRAME,
        [X86_WALK_RESERVED] = WALK_RESERVED,
    };

    return results[result];
}

static int
x86_next(struct trace *trace, struct x86_walk *walk, enum x86_walk_result *result)
{
    vm_pindex_t table;
    void *page;
    int error;

    *result = x86_walk_table(walk, &table);
    if (*result != X86_WALK_OK)
        return 0;
    error = trace_page(trace, table, &page);
    if (error != 0)
        return error;
    *result = x86_walk_step(walk, page);
    trace_entry(trace, walk->steps[walk->level].entry, walk->steps[walk->level].before);
    return 0;
}

static int
x86_translate(const struct walk_tables *tables, struct trace *trace, uint64_t address,
              vm_prot_t access)
{
    const struct x86_walk_tables x86 = {
        .format = tables->format.x86,
        .root = tables->root,
        .object_pages = tables->object_pages,
        .maxphyaddr = tables->maxphyaddr,
        .user = tables->user,
    };
    struct walk_outcome *outcome = trace->outcome;
    struct x86_walk walk;
    uint64_t phys = 0;
    enum x86_walk_result result = x86_walk_start(&walk, &x86, address, access);
    int error = 0;

    while (error == 0 && result == X86_WALK_OK && !x86_walk_done(&walk))
        error = x86_next(trace, &walk, &result);
    if (error != 0)
        return error;
    if (result == X86_WALK_OK)
        result = x86_walk_result(&walk, &phys);
    outcome->pindex = phys >> PAGE_SHIFT;
    outcome->phys = phys;
    outcome->result = x86_outcome(result);
    return 0;
}

int
walk_translate(const struct walk_tables *tables, const struct walk_memory *memory, uint64_t address,
               vm_prot_t access, struct walk_outcome *outcome)
{
    struct trace trace = { .memory = memory, .outcome = outcome };
    const struct vpte_format *vpte = tables->format.vpte;
    int error;

    *outcome = (struct walk_outcome){ .level = 0 };
    if (vpte != NULL)
        error = vpte_translate(tables, &trace, address, access);
    else
        error = x86_translate(tables, &trace, address, access);
    if (error == -ENODATA) { /* a table page that the memory does not have */
        outcome->result = WALK_BAD_FRAME;
        error = 0;
    }
    trace_finish(&trace, vpte != NULL ? vpte->entry_size : sizeof(uint64_t));
    return error;
}
