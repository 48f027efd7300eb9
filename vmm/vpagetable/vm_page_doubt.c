/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages that may have been written to, unseen.
 *
 * To see the first write to a clean page costs the guest a fault.  Where nothing but page-out asks
 * whether a page is dirty, it is cheaper to compare it with what swap has, once, when it is to
 * leave: by the checksum of its slot (swap_sums.h), so that nothing is read.  A comparison is
 * right whatever became of the page and its slot meanwhile: bytes that swap has need not be
 * written.
 */
#include "vmm/vpagetable/vm_page.h"

#include "vmm/vpagetable/vm_pager.h"

void
vm_page_may_be_modified(struct vm_page *m) VM_NO_LOCK_ANALYSIS
{
    assert(vm_page_flag_test(m, VM_PAGE_BUSY));
    if (atomic_load_explicit(&m->dirty, memory_order_relaxed) != 0)
        return;
    if (!vm_pager_compares(m->object)) {
        vm_page_modified(m);
        return;
    }
    atomic_store_explicit(&m->dirty, 1, memory_order_relaxed);
    vm_page_flag_set(m, VM_PAGE_DOUBT);
}

bool
vm_page_prove_clean(struct vm_page *m)
{
    assert(vm_page_flag_test(m, VM_PAGE_BUSY) && m->hold_count == 0);
    if (!vm_page_flag_test(m, VM_PAGE_DOUBT))
        return false;
    vm_page_flag_clear(m, VM_PAGE_DOUBT);
    if (!m->object->pager->same(m->object, vm_page_pindex(m), vm_page_address(m)))
        return false;
    atomic_store_explicit(&m->dirty, 0, memory_order_relaxed);
    vm_meter_add(&m->object->sys->meter, v_dsame, 1);
    return true;
}
