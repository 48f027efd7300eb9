/* SPDX-License-Identifier: BSD-2-Clause */
/* Pages of bare objects, with and without a virtual page table; pages held for a moment. */
#include "tests/unit/fault_rig.h"
#include "tests/unit/swap_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

static enum vm_result
object_page(struct rig *rig, vm_pindex_t pindex, vm_prot_t access, unsigned flags,
            struct vm_page **mp)
{
    return vm_fault_object_page(&rig->map.meter, rig->ram, NULL, pindex, access, flags, NULL, mp,
                                &rig_info);
}

static enum vm_result
table_page(struct rig *rig, vpte_t root, vm_pindex_t pindex, vm_prot_t access, struct vm_page **mp)
{
    struct vm_fault_table table = { .format = &vpte64_format, .root = root };

    return vm_fault_object_page(&rig->map.meter, rig->ram, &table, pindex, access, 0, NULL, mp,
                                &rig_info);
}

Test(vm_object_page, a_page_of_zeros_is_made_held_and_not_mapped)
{
    struct vm_page *m;
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(eq(int, object_page(&rig, 7, VM_PROT_READ, 0, &m), VM_OK));
    cr_assert(m == rig_page(rig.ram, 7) && m->hold_count == 1 && m->valid);
    cr_assert(vm_page_flag_test(m, VM_PAGE_REFERENCED) && m->queue == PQ_ACTIVE);
    cr_assert(zero(u64, *(uint64_t *)vm_page_address(m)));
    cr_assert(zero(u64, fake_pmap_mapped(&rig.fake)));
    cr_assert(eq(u64, rig_info.gpa.value, PAGE(7)));
    vm_page_unhold(m);
    cr_assert(eq(u64, rig_meter(&rig, v_vm_faults), 1));
    cr_assert(eq(u64, rig_meter(&rig, v_kind_zero_fill), 1));
    rig_fini(&rig);
}

Test(vm_object_page, a_write_or_the_dirty_flag_makes_it_dirty_a_read_does_not)
{
    static const struct {
        vm_prot_t access;
        unsigned flags;
        bool dirty;
    } cases[] = {
        { VM_PROT_READ, 0, false },
        { VM_PROT_EXECUTE, 0, false },
        { VM_PROT_READ, VM_FAULT_DIRTY, true },
        { VM_PROT_READ, VM_FAULT_UNSWAP, true },
        { VM_PROT_WRITE, 0, true },
    };
    struct rig_pager pager;
    struct vm_page *m;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cr_assert(eq(int, object_page(&rig, 100 * i, cases[i].access, cases[i].flags, &m), VM_OK));
        cr_assert(eq(int, m->dirty != 0, cases[i].dirty), "case %u", i);
        cr_assert(eq(u64, *(uint64_t *)vm_page_address(m), 100 * i * 512));
        cr_assert(rig_info.hardfault);
        vm_page_unhold(m);
    }
    rig_fini(&rig);
}

/* Pages of RAM that are in swap only: a read leaves the copy there, UNSWAP frees it. */
Test(vm_object_page, unswap_dirties_the_page_and_frees_its_slot)
{
    struct vm_page *m;
    struct rig rig;

    swap_rig(&rig, 0, 100);
    fill(&rig, 0, 20);
    make_old(&rig, rig.ram, false);
    cr_assert(eq(u64, vm_pageout_scan(&rig.sys, 20), 20));
    cr_assert(eq(int, object_page(&rig, 7, VM_PROT_READ, 0, &m), VM_OK));
    cr_assert(not(m->dirty));
    cr_assert(eq(u64, swap_device_used(rig.sys.swap), 20));
    vm_page_unhold(m);
    for (unsigned p = 7; p < 10; p++) { /* 7 is resident */
        cr_assert(eq(int, object_page(&rig, p, VM_PROT_READ, VM_FAULT_UNSWAP, &m), VM_OK));
        cr_assert(m->dirty);
        cr_assert(eq(u64, *(uint64_t *)vm_page_address(m), p * 3 + 1));
        cr_assert(eq(u64, swap_device_used(rig.sys.swap), 19 - (p - 7)));
        vm_page_unhold(m);
    }
    make_old(&rig, rig.ram, false);
    (void)vm_pageout_scan(&rig.sys, 20);
    cr_assert(eq(u64, swap_device_used(rig.sys.swap), 20));
    check(&rig, 0, 20);
    swap_fini(&rig);
}

Test(vm_object_page, every_failure_has_its_result_and_leaves_nothing)
{
    struct rig_pager pager;
    struct vm_page *m = NULL;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    cr_assert(eq(int, object_page(&rig, RIG_PAGES, VM_PROT_READ, 0, &m), VM_BEYOND_OBJECT));
    cr_assert(eq(int, object_page(&rig, UINT64_MAX, VM_PROT_WRITE, 0, &m), VM_BEYOND_OBJECT));
    pager.result = VM_PAGER_ERROR;
    cr_assert(eq(int, object_page(&rig, 3, VM_PROT_READ, 0, &m), VM_IO_ERROR));
    pager.result = VM_PAGER_OK;
    vm_mutex_lock(&rig.ram->lock);
    rig.ram->flags |= OBJ_DEAD;
    vm_mutex_unlock(&rig.ram->lock);
    cr_assert(eq(int, object_page(&rig, 3, VM_PROT_READ, 0, &m), VM_OBJECT_DEAD));
    rig.ram->flags &= ~(unsigned)OBJ_DEAD;
    rig.sys.ram_budget = 0;
    cr_assert(eq(int, object_page(&rig, 9, VM_PROT_READ, 0, &m), VM_HOST_FAILURE));
    cr_assert(eq(int, rig_info.error, -ENOMEM));
    cr_assert(m == NULL && rig.ram->resident_count == 0);
    cr_assert(eq(u64, rig_meter(&rig, v_kind_failed), 4));
    cr_assert(eq(u64, rig_meter(&rig, v_kind_host), 1));
    rig_fini(&rig);
}

Test(vm_object_page, a_read_returns_the_backing_objects_page_a_write_a_copy_that_readers_see)
{
    struct vm_object *top, *backing;
    struct vm_page *m;
    struct rig rig;

    rig_init_empty(&rig, 0);
    cr_assert(zero(int, vm_object_create_default(&rig.sys, 8, &top)));
    rig_map_ram(&rig, top, VM_PROT_ALL);
    rig_store(&rig, PAGE(2), 22);
    cr_assert(zero(int, vm_map_remove(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(8)))));
    cr_assert(zero(int, vm_object_create_default(&rig.sys, 8, &top)));
    backing = rig.ram;
    rig_shadow(top, backing, 0);
    vm_object_ref(backing);
    rig_map_ram(&rig, top, VM_PROT_ALL);
    cr_assert(eq(u64, rig_load(&rig, PAGE(2)), 22));
    cr_assert(eq(int, object_page(&rig, 2, VM_PROT_READ, 0, &m), VM_OK));
    cr_assert(m->object == backing);
    vm_page_unhold(m);
    cr_assert(eq(int, object_page(&rig, 2, VM_PROT_WRITE, 0, &m), VM_OK));
    cr_assert(m->object == top);
    cr_assert(eq(int, rig_mapped(&rig, PAGE(2)), VM_PROT_NONE));
    *(uint64_t *)vm_page_address(m) = 23;
    vm_page_unhold(m);
    cr_assert(eq(u64, rig_load(&rig, PAGE(2)), 23));
    vm_object_unref(backing);
    rig_fini(&rig);
}

/* --- Through a table ----------------------------------------------------- */

Test(vm_object_page, a_table_leads_to_the_page_and_gets_a_and_m)
{
    struct vm_page *m;
    struct rig rig;
    vpte_t root;

    rig_init(&rig, 0);
    root = rig_tables(&rig, 4, 100, 3, RIG_PASS);
    rig_store(&rig, PAGE(106), 6);
    cr_assert(eq(int, table_page(&rig, root, 2, VM_PROT_READ, &m), VM_OK));
    cr_assert(m == rig_page(rig.ram, 106));
    cr_assert(eq(u64, rig_window_flags(&rig, 2), RIG_PASS | VPTE_A));
    vm_page_unhold(m);
    cr_assert(eq(int, table_page(&rig, root, 2, VM_PROT_WRITE, &m), VM_OK));
    cr_assert(m == rig_page(rig.ram, 106) && m->dirty);
    cr_assert(eq(u64, rig_window_flags(&rig, 2), RIG_PASS | VPTE_A | VPTE_M));
    vm_page_unhold(m);
    cr_assert(eq(u64, rig_meter(&rig, v_walks), 2));
    rig_fini(&rig);
}

Test(vm_object_page, a_table_that_is_not_resident_is_brought_in_first)
{
    struct vm_page *m;
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(
        eq(int, table_page(&rig, rig_pte(1, RIG_PASS), 0, VM_PROT_READ, &m), VM_VPTE_INVALID));
    cr_assert(eq(uint, rig_info.level, 1));
    cr_assert(rig_page(rig.ram, 1) != NULL);
    rig_fini(&rig);
}

Test(vm_object_page, the_walks_failures_are_the_callers)
{
    struct vm_page *m = NULL;
    struct rig rig;
    vpte_t root;

    rig_init(&rig, 0);
    root = rig_tables(&rig, 1, 100, 1, VPTE_V | VPTE_R);
    cr_assert(eq(int, table_page(&rig, 0, 0, VM_PROT_READ, &m), VM_VPTE_INVALID));
    cr_assert(zero(uint, rig_info.level));
    cr_assert(eq(int, table_page(&rig, root, 1, VM_PROT_READ, &m), VM_VPTE_INVALID));
    cr_assert(eq(int, table_page(&rig, root, 0, VM_PROT_WRITE, &m), VM_VPTE_PROTECTION));
    cr_assert(eq(uint, rig_info.level, 4));
    cr_assert(eq(u64, rig_info.vpte, rig_pte(100, VPTE_V | VPTE_R)));
    cr_assert(
        eq(int, table_page(&rig, rig_pte(RIG_PAGES, RIG_PASS), 0, VM_PROT_READ, &m), VM_BAD_FRAME));
    cr_assert(
        eq(int, table_page(&rig, root, (vm_pindex_t)1 << 40, VM_PROT_READ, &m), VM_BAD_FRAME));
    cr_assert(m == NULL);
    rig_fini(&rig);
}

Test(vm_object_page, a_root_with_ps_is_a_linear_map_of_the_object)
{
    struct vm_page *m;
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(
        eq(int, table_page(&rig, rig_pte(10, RIG_PASS | VPTE_PS), 5, VM_PROT_WRITE, &m), VM_OK));
    cr_assert(m == rig_page(rig.ram, 15));
    vm_page_unhold(m);
    rig_fini(&rig);
}

Test(vm_object_page, a_table_in_a_backing_object_is_copied_up_before_it_is_marked)
{
    struct vm_object *top, *backing;
    struct vm_page *m;
    struct rig rig;
    vpte_t root;

    rig_init(&rig, 0);
    root = rig_tables(&rig, 1, 100, 1, RIG_PASS);
    rig_store(&rig, PAGE(100), 1);
    backing = rig.ram;
    cr_assert(zero(int, vm_map_remove(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)))));
    cr_assert(zero(int, vm_object_create_default(&rig.sys, RIG_PAGES, &top)));
    vm_object_ref(backing);
    rig_shadow(top, backing, 0);
    rig.ram = top;
    cr_assert(eq(int, table_page(&rig, root, 0, VM_PROT_READ, &m), VM_OK));
    cr_assert(m->object == backing);
    vm_page_unhold(m);
    cr_assert(eq(u64, rig_window_flags(&rig, 0), RIG_PASS | VPTE_A));
    cr_assert(eq(u64, *(uint64_t *)vm_page_address(rig_page(backing, 4)), rig_pte(100, RIG_PASS)));
    vm_object_unref(backing);
    rig_fini(&rig);
}

/* --- Quick --------------------------------------------------------------- */

Test(vm_object_page, vm_fault_page_quick_holds_the_page_at_an_address)
{
    struct vm_page *m;
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(eq(int, vm_fault_page_quick(&rig.map, gpa_from_u64(PAGE(3) + 5), VM_PROT_WRITE, &m),
                 VM_OK));
    cr_assert(m == rig_page(rig.ram, 3) && m->hold_count == 1 && m->dirty);
    vm_page_unhold(m);
    cr_assert(eq(int,
                 vm_fault_page_quick(&rig.map, gpa_from_u64(PAGE(RIG_PAGES)), VM_PROT_READ, &m),
                 VM_INVALID_ADDRESS));
    rig_fini(&rig);
}
