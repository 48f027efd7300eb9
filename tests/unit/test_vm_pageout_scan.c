/* SPDX-License-Identifier: BSD-2-Clause */
/* Page-out: how much of memory a scan looks at, and that it looks at all pages alike. */
#include "vmm/vpagetable/vm_pageout.h"

#include "tests/unit/swap_rig.h"

TestSuite(vm_pageout_scan, .timeout = 120);

/* Pages in use, in the order in which they are looked at; PQ_INACTIVE is to be a quarter of them. */
static void
used_rig(struct rig *rig, unsigned npages)
{
    swap_rig(rig, 0, 4096);
    rig->sys.budget.inactive_target = npages / 4;
    fill(rig, 0, npages);
}

/* How many pages from the first on have been looked at: these are not mapped. */
static unsigned
looked_at(struct rig *rig, unsigned npages)
{
    unsigned count = 0;

    while (count < npages && rig_mapped(rig, PAGE(count)) == VM_PROT_NONE)
        count++;
    return count;
}

Test(vm_pageout_scan, a_scan_looks_at_pages_in_proportion_to_its_target_and_not_to_memory)
{
    struct rig rig;

    used_rig(&rig, 3000);
    cr_expect(eq(u64, vm_pageout_scan(&rig.sys, 8), 8));
    cr_expect(lt(u64, rig_system_meter(&rig, v_pdpages), 300), "%lu",
              (unsigned long)rig_system_meter(&rig, v_pdpages));
    cr_expect(gt(u64, pmap_mapped_pages(&rig.pmap), 2700));
    swap_fini(&rig);
}

Test(vm_pageout_scan, every_active_page_is_looked_at_before_one_is_looked_at_again)
{
    unsigned before = 0;
    struct rig rig;

    used_rig(&rig, 1000);
    while (before < 1000) {
        unsigned seen;

        cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 1), 1));
        seen = looked_at(&rig, 1000);
        cr_assert(gt(uint, seen, before));
        cr_assert(eq(u64, pmap_mapped_pages(&rig.pmap), 1000 - seen));
        for (unsigned p = 0; p < 1000; p++) {
            const struct vm_page *m = rig_page(rig.ram, p);

            if (m != NULL && m->queue == PQ_ACTIVE && seen < 900)
                cr_assert(eq(uint, m->act_count, p < seen ? ACT_INIT + ACT_ADVANCE : ACT_INIT));
        }
        before = seen;
    }
    swap_fini(&rig);
}

Test(vm_pageout_scan, a_page_declines_in_whichever_pass_it_is_looked_at_first)
{
    struct rig rig;
    unsigned count = 0;

    used_rig(&rig, 1000);
    make_old(&rig, rig.ram, true);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 1), 1));
    for (unsigned p = 0; p < 1000; p++) {
        const struct vm_page *m = rig_page(rig.ram, p);

        count += m != NULL && m->queue == PQ_ACTIVE && m->act_count == ACT_INIT - ACT_DECLINE;
    }
    /* Three passes looked at 64 each; two pages went. */
    cr_expect(eq(uint, count, 190), "%u", count);
    swap_fini(&rig);
}

Test(vm_pageout_scan, pages_that_cannot_leave_do_not_hide_those_behind_them)
{
    struct rig rig;

    used_rig(&rig, 1010);
    vm_mutex_lock(&rig.ram->lock);
    for (unsigned p = 0; p < 1000; p++)
        vm_page_hold(vm_page_lookup(rig.ram, p));
    vm_mutex_unlock(&rig.ram->lock);
    cr_expect(eq(u64, vm_pageout_scan(&rig.sys, 2), 2));
    for (unsigned p = 0; p < 1000; p++)
        vm_page_unhold(rig_page(rig.ram, p));
    swap_fini(&rig);
}
