/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The default pager: no store behind it, so every page starts as zeros and
 * stays in memory.  And how the engine reaches the swap pager, which is above it.
 */
#include "vmm/vpagetable/vm_pager.h"

#include <errno.h>
#include <string.h>

static bool
default_haspage(struct vm_object *object, vm_pindex_t pindex, unsigned *before, unsigned *after)
{
    (void)object;
    (void)pindex;
    if (before != NULL)
        *before = 0;
    if (after != NULL)
        *after = 0;
    return false;
}

static enum vm_pager_result
default_getpages(struct vm_object *object, struct vm_page **m, unsigned count, unsigned reqpage,
                 bool *done)
{
    (void)object;
    (void)m;
    (void)reqpage;
    memset(done, 0, count * sizeof(*done));
    return VM_PAGER_FAIL;
}

static enum vm_pager_result
default_putpages(struct vm_object *object, struct vm_page **m, unsigned count, bool *done)
{
    (void)object;
    (void)m;
    memset(done, 0, count * sizeof(*done));
    return VM_PAGER_FAIL;
}

const struct vm_pager_ops vm_default_pager = {
    .name = "default",
    .haspage = default_haspage,
    .getpages = default_getpages,
    .putpages = default_putpages,
};

int
vm_pager_error(const struct vm_object *object)
{
    return object->pager->error != NULL ? object->pager->error(object) : 0;
}

int
vm_pager_adopt_swap(struct vm_object *object)
{
    if (object->type == OBJT_SWAP)
        return 0;
    if (object->type != OBJT_DEFAULT || object->sys->swap_pager == NULL)
        return -ENODEV;
    return object->sys->swap_pager->adopt(object);
}

bool
vm_pager_compares(const struct vm_object *object)
{
    return object->type == OBJT_SWAP && object->pager->keeps != NULL &&
           object->pager->keeps(object);
}

void
vm_pager_unswapped(struct vm_object *object, vm_pindex_t pindex)
{
    vm_pager_freespace(object, pindex, 1);
}

void
vm_pager_freespace(struct vm_object *object, vm_pindex_t pindex, uint64_t npages)
{
    if (object->type == OBJT_SWAP)
        object->pager->freespace(object, pindex, npages);
}

int
vm_pager_move_swap(struct vm_object *from, struct vm_object *to, vm_pindex_t offset)
{
    int error;

    if (from->type != OBJT_SWAP)
        return 0;
    error = vm_pager_adopt_swap(to);
    return error != 0 ? error : from->pager->move(from, to, offset);
}
