/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The walk of a virtual page table for a fault: vpte.h's steps, with the table pages found,
 * or brought in, for them.
 *
 * Locks: O of the first object from the root to the result (vm_fault.c, invariant 3).
 *
 * Source: DragonFly vm_fault_vpagetable.
 */
#include "vmm/vpagetable/vm_fault_state.h"

/*
 * The table page at pindex, resident and not busy, of the first object, because a
 * walk writes to it.  VM_RETRY: it must be brought in first.
 */
static enum vm_result
fault_table(struct faultstate *fs, vm_pindex_t pindex, struct vm_page **mp)
    VM_REQUIRES(fs->first_object->lock)
{
    struct vm_page *m = vm_page_lookup(fs->first_object, pindex);
    enum vm_result result;

    if (m != NULL && !vm_page_flag_test(m, VM_PAGE_BUSY)) {
        if (!vm_page_flag_test(m, VM_PAGE_REFERENCED))
            vm_page_flag_set(m, VM_PAGE_REFERENCED);
        if (m->queue == PQ_CACHE) /* it may become dirty */
            vm_page_deactivate(m);
        *mp = m;
        return VM_OK;
    }
    result = vm_fault_object(fs, pindex, true);
    if (result != VM_OK)
        return result;
    fs->unread_table = true;
    return VM_RETRY;
}

/* From the root to the last entry, setting A and M; tables[l] holds the entry of level l. */
static enum vm_result
fault_walk(struct faultstate *fs, struct vm_page **tables) VM_REQUIRES(fs->first_object->lock)
{
    struct vm_map_entry *entry = fs->lookup.entry;
    struct vpte_walk *walk = &fs->walk;
    enum vm_result result;

    result = vpte_walk_start(walk, entry->format, atomic_load(&entry->root), fs->lookup.pindex,
                             fs->access, fs->first_object->size);
    while (result == VM_OK && !vpte_walk_done(walk)) {
        struct vm_page *m;
        vm_pindex_t table;

        result = vpte_walk_table(walk, &table);
        if (result == VM_OK)
            result = fault_table(fs, table, &m);
        if (result == VM_OK) {
            tables[walk->level + 1] = m;
            result = vpte_walk_step(walk, vm_page_address(m));
        }
    }
    return result;
}

void
vm_fault_walk_settle(struct faultstate *fs, struct vm_page *const *tables)
    VM_REQUIRES(fs->first_object->lock)
{
    struct vm_map_meter *meter = fs->meter;
    const struct vpte_walk *walk = &fs->walk;

    if (walk->dirtied == 0)
        return;
    for (unsigned level = 1; level <= walk->level; level++) {
        if ((walk->dirtied & 1u << level) != 0)
            vm_page_modified(tables[level]);
    }
    vm_meter_add(meter, v_vpte_a, walk->a_set);
    if (walk->m_set != 0)
        vm_meter_add(meter, v_vpte_m, walk->m_set);
    if (walk->dir_m_set != 0)
        vm_meter_add(meter, v_vpte_dir_m, walk->dir_m_set);
}

/* Why a walk failed, for the exception. */
static void
fault_walk_failed(struct faultstate *fs)
{
    fs->info->level = fs->walk.level;
    fs->info->vpte = fs->walk.steps[fs->walk.level].value;
    vm_meter_add(fs->meter, v_walk_failed, 1);
}

enum vm_result
vm_fault_vpagetable(struct faultstate *fs, struct vm_page **tables, vm_pindex_t *pindex)
    VM_REQUIRES(fs->first_object->lock)
{
    enum vm_result result;

    fs->step = FAULT_STEP_WALK;
    result = fault_walk(fs, tables);
    if (result == VM_OK)
        result = vpte_walk_result(&fs->walk, pindex);
    if (result == VM_OK || result == VM_BAD_FRAME || result == VM_VPTE_INVALID ||
        result == VM_VPTE_PROTECTION)
        vm_meter_add(fs->meter, v_walks, 1);
    if (result == VM_BAD_FRAME || result == VM_VPTE_INVALID || result == VM_VPTE_PROTECTION)
        fault_walk_failed(fs);
    return result;
}
