/* SPDX-License-Identifier: BSD-2-Clause */
/* For tests that stand in for a fault: pages of an object that are busy, and stay it. */
#ifndef BUSY_PAGES_H
#define BUSY_PAGES_H

#include "vmm/vpagetable/vm_object.h"
#include "vmm/vpagetable/vm_page.h"

#include <criterion/criterion.h>

/* The object's page i, busy and valid. */
static inline struct vm_page *
busy_page(struct vm_object *o, vm_pindex_t i)
{
    struct vm_page *m;

    vm_mutex_lock(&o->lock);
    m = vm_page_lookup(o, i);
    if (m == NULL) {
        m = vm_page_alloc(o, i);
        cr_assert(m != NULL);
        m->valid = 1;
    }
    vm_mutex_unlock(&o->lock);
    return m;
}

/* End the busy state of those that still have it. */
static inline void
busy_pages_wakeup(struct vm_object *o)
{
    vm_mutex_lock(&o->lock);
    for (vm_pindex_t i = 0; (i = vm_object_next_resident(o, i)) < o->size; i++) {
        struct vm_page *m = vm_page_lookup(o, i);

        if (vm_page_flag_test(m, VM_PAGE_BUSY))
            vm_page_wakeup(m);
    }
    vm_mutex_unlock(&o->lock);
}

#endif
