/* SPDX-License-Identifier: BSD-2-Clause */
/* The audits of pmap and of the fake machine half see what they are for. */
#include "vmm/vpagetable/pmap.h"
#include "vmm/vpagetable/pv.h"

#include "tests/unit/pmap_rig.h"
#include "vmm/vpagetable/pmap_window.h"

#include <criterion/criterion.h>
#include <signal.h>

CHECKED_TEST(pmap, the_audit_sees_a_lost_reverse_link, .signal = SIGABRT)
{
    cr_assert(enter(natural_at(1), page(1), VM_PROT_RW) == 0);
    page(1)->pv.first = 0;
    pmap_audit(&pmap);
}

CHECKED_TEST(pmap, the_audit_sees_a_stale_reverse_link, .signal = SIGABRT)
{
    cr_assert(enter(natural_at(1), page(1), VM_PROT_RW) == 0);
    pmap_window_at(&pmap, 0)->chunks[0] = NULL;
    vm_meter_add(&pmap.mapped, pages, -(uint64_t)1);
    pmap_audit(&pmap);
}

CHECKED_TEST(pmap, the_audit_sees_a_wrong_count, .signal = SIGABRT)
{
    vm_meter_add(&pmap.mapped, pages, 1);
    pmap_audit(&pmap);
}

CHECKED_TEST(pmap, the_audit_sees_a_mapped_hole, .signal = SIGABRT)
{
    cr_assert(enter(natural_at(1), page(1), VM_PROT_RW) == 0);
    cr_assert(vm_frame_punch(&sys, vm_page_frame(page(1))) == 0);
    fake_pmap_audit(&fake);
}

CHECKED_TEST(pmap, the_audit_sees_a_mapping_the_machine_has_alone, .signal = SIGABRT)
{
    struct pmap_frame frame = { .frame = vm_page_frame(page(1)),
                                .prot = VM_PROT_READ,
                                .fill = true };
    unsigned entered;

    cr_assert(fake_pmap_ops.enter(&fake, pmap_window_at(&pmap, 0), 1, 1, &frame, &entered) == 0);
    fake_pmap_audit(&fake);
}
