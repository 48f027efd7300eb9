/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Faults that hold the page for the monitor instead of mapping it.
 *
 * Locks: none held by the callers; the page is held on return.
 *
 * Source: DragonFly vm_fault_page, vm_fault_page_quick, vm_fault_object_page.
 */
#include "vmm/vpagetable/vm_fault_state.h"

enum vm_result
vm_fault_page(struct vm_map *map, gpa_t gpa, vm_prot_t access, unsigned flags, struct vm_page **mp,
              struct vm_fault_info *info)
{
    struct faultstate fs;

    vm_fault_init(&fs, map->sys, &map->meter, map->stop, access, flags, info);
    fs.held = mp;
    return vm_fault_run_map(&fs, map, gpa, NULL);
}

enum vm_result
vm_fault_page_quick(struct vm_map *map, gpa_t gpa, vm_prot_t access, struct vm_page **mp)
{
    struct vm_fault_info info;

    return vm_fault_page(map, gpa, access, VM_FAULT_NORMAL, mp, &info);
}

/* The object is resolved as if an entry mapped all of it, through the table if there is one. */
enum vm_result
vm_fault_object_page(struct vm_map_meter *meter, struct vm_object *object,
                     const struct vm_fault_table *table, vm_pindex_t pindex, vm_prot_t access,
                     unsigned flags, const _Atomic bool *stop, struct vm_page **mp,
                     struct vm_fault_info *info)
{
    struct vm_map_entry entry = { .object = object, .protection = access };
    struct faultstate fs;

    assert((flags & (VM_FAULT_WIRE_MASK | VM_FAULT_BURST | VM_FAULT_OVERRIDE)) == 0);
    if (table != NULL) {
        entry.maptype = VM_MAPTYPE_VPAGETABLE;
        entry.format = table->format;
        entry.root = table->root;
    }
    *info = (struct vm_fault_info){ .gpa = gpa_from_u64(pindex << PAGE_SHIFT),
                                    .access = access,
                                    .entry_prot = access };
    vm_fault_init(&fs, object->sys, meter, stop, access, flags, info);
    fs.held = mp;
    fs.map = NULL;
    fs.trace = NULL;
    fs.gpa = info->gpa;
    fs.first_object = object;
    fs.lookup = (struct vm_map_lookup){
        .entry = &entry, .object = object, .pindex = pindex, .access = access, .prot = access
    };
    return vm_fault_run(&fs, vm_fault_resolve);
}
