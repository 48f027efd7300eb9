/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The default pager: no store behind it, so every page starts as zeros and
 * stays in memory.
 */
#include "vmm/vpagetable/vm_pager.h"

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
