/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Wiring by simulated faults, and copying by faults without mapping.
 */
#include "vmm/vpagetable/vm_fault_wire.h"

#include "vmm/vpagetable/vm_map_entry.h"
#include "vmm/vpagetable/vm_pager.h"

#include <errno.h>
#include <string.h>

static int
fault_errno(enum vm_result result, const struct vm_fault_info *info)
{
    switch (result) {
    case VM_OK:
        return 0;
    case VM_HOST_FAILURE:
        return info->error;
    case VM_PROTECTION:
        return -EACCES;
    case VM_IO_ERROR:
        return -EIO;
    default:
        return -EFAULT;
    }
}

/* What a user wires need not be readable: such a page is not mapped. */
static int
wire_unreadable(struct vm_map *map, gpa_t gpa)
{
    struct vm_fault_info info;
    struct vm_page *m;
    enum vm_result result =
        vm_fault_page(map, gpa, VM_PROT_READ, VM_FAULT_USER_WIRE | VM_FAULT_OVERRIDE, &m, &info);

    if (result == VM_OK)
        vm_page_unhold(m);
    return fault_errno(result, &info);
}

static int
wire_page(struct vm_map *map, const struct vm_map_entry *entry, gpa_t gpa, bool user)
{
    struct vm_fault_info info;
    enum vm_result result;

    if (!user)
        result = vm_fault(map, gpa, VM_PROT_WRITE, VM_FAULT_CHANGE_WIRING, &info);
    else if ((entry->protection & VM_PROT_READ) != 0)
        result = vm_fault(map, gpa, VM_PROT_READ, VM_FAULT_USER_WIRE, &info);
    else
        return wire_unreadable(map, gpa);
    return fault_errno(result, &info);
}

int
vm_fault_wire(struct vm_map *map, struct vm_map_entry *entry, bool user)
{
    int error = 0;

    assert(entry->maptype == VM_MAPTYPE_NORMAL && entry->wired_count != 0);
    while (entry->wired_end.value != entry->end.value && error == 0) {
        error = vm_stopped(map->stop) ? -ECANCELED : wire_page(map, entry, entry->wired_end, user);
        if (error == 0)
            entry->wired_end = gpa_add(entry->wired_end, PAGE_SIZE);
    }
    return error;
}

/* --- Copying ------------------------------------------------------------- */

/* Does the page exist, resident or in a pager, in the object? */
static bool
object_has_page(struct vm_object *object, vm_pindex_t pindex) VM_REQUIRES(object->lock)
{
    if (pindex >= object->size)
        return false;
    return vm_page_lookup(object, pindex) != NULL ||
           (object->type != OBJT_DEFAULT && object->pager->haspage(object, pindex, NULL, NULL));
}

/* ... or in the chain behind it?  O is taken hand over hand, which lock analysis cannot express. */
static bool
chain_has_page(struct vm_object *object, vm_pindex_t pindex) VM_NO_LOCK_ANALYSIS
{
    struct vm_object *next;
    bool has;

    vm_mutex_lock(&object->lock);
    while (!(has = object_has_page(object, pindex)) && object->backing_object != NULL) {
        next = object->backing_object;
        pindex += object->backing_object_offset;
        vm_mutex_lock(&next->lock);
        vm_mutex_unlock(&object->lock);
        object = next;
    }
    vm_mutex_unlock(&object->lock);
    return has;
}

/* Is there a page at gpa that is not just zeros nobody asked for yet? */
static bool
map_has_page(struct vm_map *map, gpa_t gpa)
{
    struct vm_map_lookup lookup;
    bool has;

    if (vm_map_lookup(map, gpa, VM_PROT_READ | VM_PROT_OVERRIDE, &lookup) != VM_OK)
        return true; /* let the fault say why */
    has = chain_has_page(lookup.object, lookup.pindex);
    vm_map_lookup_done(map);
    return has;
}

/* Give the object a copy of a held page. */
static int
object_add_copy(struct vm_map *map, struct vm_object *object, vm_pindex_t pindex,
                const struct vm_page *source)
{
    struct vm_fault_info info;
    struct vm_page *m;
    enum vm_result result = vm_fault_object_page(&map->meter, object, NULL, pindex, VM_PROT_WRITE,
                                                 VM_FAULT_HOLDER, map->stop, &m, &info);

    if (result != VM_OK)
        return fault_errno(result, &info);
    memcpy(vm_page_address(m), vm_page_address(source), PAGE_SIZE);
    vm_page_unhold(m);
    return 0;
}

static int
copy_one(struct vm_map *map, gpa_t gpa, struct vm_object *object, vm_pindex_t pindex)
{
    struct vm_fault_info info;
    struct vm_page *m;
    enum vm_result result;
    int error;

    if (!map_has_page(map, gpa))
        return 0;
    result = vm_fault_page(map, gpa, VM_PROT_READ, VM_FAULT_OVERRIDE, &m, &info);
    if (result != VM_OK)
        return fault_errno(result, &info);
    error = object_add_copy(map, object, pindex, m);
    vm_page_unhold(m);
    return error;
}

int
vm_fault_copy_entry(struct vm_map *map, gpa_t gpa, uint64_t npages, struct vm_object *object,
                    vm_pindex_t first)
{
    int error = 0;

    for (uint64_t i = 0; i < npages && error == 0; i++)
        error = vm_stopped(map->stop)
                    ? -ECANCELED
                    : copy_one(map, gpa_add(gpa, i << PAGE_SHIFT), object, first + i);
    return error;
}
