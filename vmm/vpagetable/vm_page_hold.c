/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Holding pages.  Apart from vm_page.c because the last hold may end the object, which is above
 * pages.
 */
#include "vmm/vpagetable/vm_page.h"

void
vm_page_hold(struct vm_page *m)
{
    assert(!vm_page_flag_test(m, VM_PAGE_FREEING));
    assert(m->hold_count < UINT16_MAX);
    m->hold_count++;
    vm_page_assert_state(m);
}

void
vm_page_hold_object(struct vm_page *m)
{
    vm_page_hold(m);
    m->hold_refs++;
    m->object->ref_count++;
}

void
vm_page_unhold(struct vm_page *m)
{
    struct vm_object *object = m->object;
    unsigned refs = 0;

    vm_mutex_lock(&object->lock);
    assert(m->hold_count > 0);
    if (--m->hold_count == 0) {
        refs = m->hold_refs;
        m->hold_refs = 0;
        vm_page_hold_ended(m);
    }
    vm_mutex_unlock(&object->lock);
    while (refs-- != 0)
        vm_object_unref(object);
}
