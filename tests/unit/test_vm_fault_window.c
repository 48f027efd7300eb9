/* SPDX-License-Identifier: BSD-2-Clause */
/* Faults through virtual page tables: walks, their marks and failures. */
#include "tests/unit/fault_rig.h"
#include "vmm/vpagetable/vm_budget.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <sched.h>

#define PAGE(n) ((uint64_t)(n) << PAGE_SHIFT)
#define W(n) (RIG_WINDOW + PAGE(n))

/* --- Windows ------------------------------------------------------------- */

Test(vm_fault_window, a_read_through_a_virtual_page_table_maps_read_only_and_sets_a)
{
    struct rig rig;

    rig_window_init(&rig, 4, RIG_PASS);
    cr_assert(eq(u64, rig_load(&rig, W(2)), 2));
    cr_assert(eq(int, rig_mapped(&rig, W(2)), VM_PROT_READ));
    cr_assert(eq(u64, rig_window_flags(&rig, 2), RIG_PASS | VPTE_A));
    cr_assert(eq(u64, atomic_load(rig_vpte(&rig, 3, 0)) & 0xfff, RIG_PASS | VPTE_A | VPTE_M));
    cr_assert(eq(u64, rig_meter(&rig, v_walks), 1));
    cr_assert(eq(u64, rig_meter(&rig, v_vpte_a), 4));
    cr_assert(eq(u64, rig_meter(&rig, v_vpte_m), 3));
    cr_assert(eq(u64, rig_meter(&rig, v_vpte_dir_m), 3));
    rig_fini(&rig);
}

Test(vm_fault_window, the_first_write_sets_m_and_makes_the_mapping_writable)
{
    struct rig rig;

    rig_window_init(&rig, 4, RIG_PASS);
    cr_assert(eq(u64, rig_load(&rig, W(2)), 2));
    cr_assert(not(fake_guest_store(&rig.fake, gpa_from_u64(W(2)), 22)));
    cr_assert(eq(u64, rig_window_flags(&rig, 2) & VPTE_M, 0));
    rig_store(&rig, W(2), 22);
    cr_assert(eq(u64, rig_window_flags(&rig, 2), RIG_PASS | VPTE_A | VPTE_M));
    cr_assert(eq(int, rig_mapped(&rig, W(2)), VM_PROT_RW));
    cr_assert(eq(u64, rig_load(&rig, PAGE(106)), 22));
    rig_fini(&rig);
}

Test(vm_fault_window, a_read_maps_writable_where_m_is_set_already)
{
    struct rig rig;

    rig_window_init(&rig, 4, RIG_PASS | VPTE_M);
    cr_assert(eq(u64, rig_load(&rig, W(2)), 2));
    cr_assert(eq(int, rig_mapped(&rig, W(2)), VM_PROT_RW));
    /* But not in an entry that forbids writes, nor without W. */
    cr_assert(zero(int, vm_map_protect(&rig.map, gpa_from_u64(W(0)), gpa_from_u64(W(512)),
                                       VM_PROT_READ)));
    cr_assert(eq(u64, rig_load(&rig, W(1)), 1));
    cr_assert(eq(int, rig_mapped(&rig, W(1)), VM_PROT_READ));
    cr_assert(
        zero(int, vm_map_protect(&rig.map, gpa_from_u64(W(0)), gpa_from_u64(W(512)), VM_PROT_ALL)));
    rig_vpte_set(&rig, 4, 3, rig_pte(109, VPTE_V | VPTE_R | VPTE_M));
    cr_assert(eq(u64, rig_load(&rig, W(3)), 3));
    cr_assert(eq(int, rig_mapped(&rig, W(3)), VM_PROT_READ));
    rig_fini(&rig);
}

Test(vm_fault_window, a_changed_table_page_is_a_dirty_page)
{
    struct rig rig;

    rig_window_init(&rig, 4, RIG_PASS);
    for (unsigned level = 1; level <= 4; level++) {
        atomic_store(&rig_page(rig.ram, level)->dirty, 0);
        vm_page_flag_clear(rig_page(rig.ram, level), VM_PAGE_REFERENCED);
    }
    cr_assert(eq(u64, rig_load(&rig, W(2)), 2));
    for (unsigned level = 1; level <= 4; level++) {
        cr_assert(rig_page(rig.ram, level)->dirty);
        cr_assert(vm_page_flag_test(rig_page(rig.ram, level), VM_PAGE_REFERENCED));
        atomic_store(&rig_page(rig.ram, level)->dirty, 0);
    }
    cr_assert(eq(int, rig_touch(&rig, W(2), VM_PROT_READ), VM_OK));
    for (unsigned level = 1; level <= 4; level++)
        cr_assert(not(rig_page(rig.ram, level)->dirty));
    rig_fini(&rig);
}

Test(vm_fault_window, an_entry_that_forbids_says_at_which_level_and_how)
{
    static const struct {
        vpte_t flags;
        vm_prot_t access;
        enum vm_result result;
    } cases[] = {
        { 0, VM_PROT_READ, VM_VPTE_INVALID },
        { RIG_PASS & ~VPTE_V, VM_PROT_WRITE, VM_VPTE_INVALID },
        { RIG_PASS & ~VPTE_R, VM_PROT_READ, VM_VPTE_PROTECTION },
        { RIG_PASS & ~VPTE_W, VM_PROT_WRITE, VM_VPTE_PROTECTION },
        { RIG_PASS & ~VPTE_X, VM_PROT_EXECUTE, VM_VPTE_PROTECTION },
    };
    struct rig rig;

    rig_window_init(&rig, 1, RIG_PASS);
    for (unsigned i = 0; i < 5; i++) {
        for (unsigned level = 1; level <= 4; level++) {
            vpte_t good = atomic_load(rig_vpte(&rig, level, 0)) & ~(vpte_t)(VPTE_A | VPTE_M);
            vpte_t bad = (good & ~(vpte_t)0xfff) | cases[i].flags;

            atomic_store(rig_vpte(&rig, level, 0), bad);
            rig_expect_failure(&rig, W(0), cases[i].access, cases[i].result);
            cr_assert(eq(uint, rig_info.level, level));
            cr_assert(eq(u64, rig_info.vpte, bad));
            cr_assert(eq(u64, atomic_load(rig_vpte(&rig, level, 0)), bad));
            atomic_store(rig_vpte(&rig, level, 0), good);
        }
        cr_assert(zero(int, vm_map_setmap(&rig.map, gpa_from_u64(W(0)), gpa_from_u64(W(512)),
                                          rig_pte(1, cases[i].flags))));
        rig_expect_failure(&rig, W(0), cases[i].access, cases[i].result);
        cr_assert(zero(uint, rig_info.level));
        cr_assert(eq(u64, rig_info.vpte, rig_pte(1, cases[i].flags)));
        cr_assert(zero(int, vm_map_setmap(&rig.map, gpa_from_u64(W(0)), gpa_from_u64(W(512)),
                                          rig_pte(1, RIG_PASS))));
    }
    cr_assert(eq(u64, rig_meter(&rig, v_walk_failed), 50));
    cr_assert(eq(u64, rig_meter(&rig, v_walks), 50));
    cr_assert(eq(u64, rig_load(&rig, W(0)), 0));
    rig_fini(&rig);
}

Test(vm_fault_window, a_table_or_page_beyond_the_object_is_a_bad_frame)
{
    struct rig rig;

    rig_window_init(&rig, 1, RIG_PASS);
    for (unsigned level = 1; level <= 4; level++) {
        vpte_t good = atomic_load(rig_vpte(&rig, level, 0));

        atomic_store(rig_vpte(&rig, level, 0), rig_pte(RIG_PAGES, RIG_PASS));
        rig_expect_failure(&rig, W(0), VM_PROT_READ, VM_BAD_FRAME);
        cr_assert(eq(uint, rig_info.level, level));
        atomic_store(rig_vpte(&rig, level, 0), good);
    }
    cr_assert(zero(int, vm_map_setmap(&rig.map, gpa_from_u64(W(0)), gpa_from_u64(W(512)),
                                      rig_pte(RIG_PAGES - 2, RIG_PASS | VPTE_PS))));
    rig_expect_failure(&rig, W(2), VM_PROT_READ, VM_BAD_FRAME);
    cr_assert(eq(int, rig_touch(&rig, W(1), VM_PROT_READ), VM_OK));
    rig_fini(&rig);
}

Test(vm_fault_window, a_linear_root_maps_the_object_from_its_frame_on)
{
    struct rig rig;

    rig_init(&rig, 0);
    rig_window(&rig, W(0), 16, VM_PROT_ALL, &vpte64_format, rig_pte(32, RIG_PASS | VPTE_PS));
    rig_store(&rig, PAGE(37), 5);
    cr_assert(eq(u64, rig_load(&rig, W(5)), 5));
    cr_assert(eq(int, rig_mapped(&rig, W(5)), VM_PROT_RW)); /* no M to keep */
    rig_store(&rig, W(6), 6);
    cr_assert(eq(u64, rig_load(&rig, PAGE(38)), 6));
    cr_assert(zero(u64, rig_meter(&rig, v_vpte_a) + rig_meter(&rig, v_vpte_m)));
    rig_fini(&rig);
}

Test(vm_fault_window, large_pages_end_the_walk_at_each_level)
{
    struct rig rig;

    rig_window_init(&rig, 1, RIG_PASS);
    for (unsigned level = 4; level >= 1; level--) {
        atomic_store(rig_vpte(&rig, level, 0), rig_pte(200, RIG_PASS | VPTE_PS));
        cr_assert(zero(int, vm_map_inval(&rig.map, gpa_from_u64(W(0)), gpa_from_u64(W(512)))));
        rig_store(&rig, W(level < 4 ? level : 0), 7 + level);
        cr_assert(eq(u64, rig_load(&rig, PAGE(200 + (level < 4 ? level : 0))), 7 + level));
        cr_assert(eq(u64, atomic_load(rig_vpte(&rig, level, 0)) & 0xfff,
                     RIG_PASS | VPTE_PS | VPTE_A | VPTE_M));
    }
    rig_fini(&rig);
}

Test(vm_fault_window, a_window_of_32_bit_entries_has_two_levels)
{
    uint32_t directory = (uint32_t)rig_pte(2, RIG_PASS), leaf = (uint32_t)rig_pte(9, RIG_PASS);
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(
        eq(int, vm_map_write(&rig.map, gpa_from_u64(PAGE(1)), &directory, 4, &rig_info), VM_OK));
    cr_assert(
        eq(int, vm_map_write(&rig.map, gpa_from_u64(PAGE(2) + 5 * 4), &leaf, 4, &rig_info), VM_OK));
    rig_window(&rig, W(0), 1024, VM_PROT_ALL, &vpte32_format, rig_pte(1, RIG_PASS));
    rig_store(&rig, W(5), 123);
    cr_assert(eq(u64, rig_load(&rig, PAGE(9)), 123));
    cr_assert(
        eq(int, vm_map_read(&rig.map, gpa_from_u64(PAGE(2) + 5 * 4), &leaf, 4, &rig_info), VM_OK));
    cr_assert(eq(u64, leaf, rig_pte(9, RIG_PASS | VPTE_A | VPTE_M)));
    rig_expect_failure(&rig, W(6), VM_PROT_READ, VM_VPTE_INVALID);
    rig_fini(&rig);
}

Test(vm_fault_window, zeros_reached_through_a_window_are_written_before_they_are_mapped)
{
    struct rig rig;

    rig_window_init(&rig, 1, RIG_PASS);
    rig_vpte_set(&rig, 4, 1, rig_pte(3000, RIG_PASS));
    cr_assert(eq(int, rig_touch(&rig, W(1), VM_PROT_READ), VM_OK));
    cr_assert(zero(uint, rig.fake.filled_pages));
    cr_assert(eq(u64, rig_meter(&rig, v_kind_zero_fill),
                 rig_meter(&rig, v_zfod))); /* the rig's writes made the others */
    cr_assert(zero(u64, rig_meter(&rig, v_ozfod)));
    cr_assert(eq(u64, rig_load(&rig, W(1)), 0));
    rig_fini(&rig);
}

Test(vm_fault_window, a_table_page_nobody_touched_is_zeros_and_so_invalid)
{
    uint64_t zfod;
    struct rig rig;

    rig_window_init(&rig, 1, RIG_PASS);
    atomic_store(rig_vpte(&rig, 2, 0), rig_pte(2000, RIG_PASS));
    zfod = rig_meter(&rig, v_zfod);
    cr_assert(eq(int, rig_touch(&rig, W(0), VM_PROT_READ), VM_VPTE_INVALID));
    cr_assert(eq(uint, rig_info.level, 3));
    cr_assert(eq(u64, rig_meter(&rig, v_zfod), zfod + 1));
    cr_assert(rig_page(rig.ram, 2000) != NULL);
    cr_assert(eq(int, rig_page(rig.ram, 2000)->queue, PQ_ACTIVE));
    rig_fini(&rig);
}

Test(vm_fault_window, a_table_page_that_cannot_be_made_is_a_host_failure)
{
    struct rig rig;

    rig_window_init(&rig, 1, RIG_PASS);
    atomic_store(rig_vpte(&rig, 2, 0), rig_pte(2000, RIG_PASS));
    rig.sys.ram_budget = vm_budget_resident(&rig.sys);
    rig_expect_failure(&rig, W(0), VM_PROT_READ, VM_HOST_FAILURE);
    cr_assert(eq(int, rig_info.error, -ENOMEM));
    rig_fini(&rig);
}

Test(vm_fault_window, a_busy_table_page_is_waited_for, .timeout = 30)
{
    struct rig_fault fault;
    struct rig rig;

    rig_window_init(&rig, 1, RIG_PASS);
    rig_busy(rig_page(rig.ram, 3));
    rig_fault_start(&fault, &rig, W(0), VM_PROT_READ);
    rig_until(rig_meter(&rig, v_intrans) == 1);
    /* No interlock and no map lock is kept meanwhile. */
    cr_assert(zero(int, vm_map_inval(&rig.map, gpa_from_u64(W(0)), gpa_from_u64(W(512)))));
    rig_wakeup(rig_page(rig.ram, 3));
    cr_assert(eq(int, rig_fault_join(&fault), VM_OK));
    cr_assert(eq(u64, rig_meter(&rig, v_walks), 1));
    rig_fini(&rig);
}

Test(vm_fault_window, a_page_may_be_its_own_table)
{
    struct rig rig;

    rig_init(&rig, 0);
    rig_vpte_set(&rig, 1, 0, rig_pte(1, RIG_PASS));
    rig_window(&rig, W(0), 4, VM_PROT_ALL, &vpte64_format, rig_pte(1, RIG_PASS));
    cr_assert(eq(u64, rig_load(&rig, W(0)), rig_pte(1, RIG_PASS | VPTE_A)));
    rig_store(&rig, W(0) + 8, rig_pte(77, RIG_PASS));
    rig_store(&rig, W(1), 9);
    cr_assert(eq(u64, rig_load(&rig, PAGE(77)), 9));
    rig_fini(&rig);
}

/*
 * The pager's pattern is a chain of tables: entry 0x1d of page p is p * 512 + 0x1d,
 * which passes all accesses and has the frame p / 8.  With that index at each level
 * a walk from page 4000 goes through 500, 62 and 7 to page 0, all to be read.
 */
static void
pager_tables_init(struct rig *rig, struct rig_pager *pager)
{
    struct vm_map_insert args = {
        .start = gpa_from_u64(W(0)),
        .end = gpa_from_u64(W(1)),
        .offset = UINT64_C(0x1d) << 27 | 0x1d << 18 | 0x1d << 9 | 0x1d,
        .maptype = VM_MAPTYPE_VPAGETABLE,
        .format = &vpte64_format,
        .root = rig_pte(4000, RIG_PASS),
        .protection = VM_PROT_ALL,
        .max_protection = VM_PROT_ALL,
        .advice = VM_ADVICE_RANDOM,
    };

    rig_init_pager(rig, pager);
    args.object = rig->ram;
    vm_object_ref(rig->ram);
    cr_assert(zero(int, vm_map_insert(&rig->map, &args)));
}

Test(vm_fault_window, four_tables_and_the_page_are_read_once_each)
{
    struct rig_pager pager;
    struct rig rig;

    pager_tables_init(&rig, &pager);
    cr_assert(eq(int, rig_touch(&rig, W(0), VM_PROT_READ), VM_OK));
    cr_assert(eq(uint, pager.calls, 5));
    cr_assert(eq(uint, pager.pages, 5));
    cr_assert(rig_info.hardfault);
    cr_assert(eq(u64, rig_load(&rig, W(0) + 24), 3));
    cr_assert(eq(u64, rig_meter(&rig, v_kind_page_in), 1));
    cr_assert(eq(u64, rig_meter(&rig, v_restarts), 5));
    cr_assert(eq(u64, rig_meter(&rig, v_walks), 2)); /* the second one found the page */
    cr_assert(eq(u64, rig_meter(&rig, v_vpte_a), 4));
    rig_fini(&rig);
}

Test(vm_fault_window, a_table_that_cannot_be_read_is_an_io_error)
{
    struct rig_pager pager;
    struct rig rig;

    pager_tables_init(&rig, &pager);
    pager.skip = 62;
    rig_expect_failure(&rig, W(0), VM_PROT_READ, VM_IO_ERROR);
    cr_assert(zero(u64, rig_meter(&rig, v_walk_failed)));
    rig_fini(&rig);
}

Test(vm_fault_window, a_table_read_by_the_fault_and_freed_meanwhile_is_read_again, .timeout = 30)
{
    struct rig_fault fault;
    struct rig_pager pager;
    struct vm_page *m;
    struct rig rig;

    pager_tables_init(&rig, &pager);
    pager.wait_page = 500;
    rig_fault_start(&fault, &rig, W(0), VM_PROT_READ);
    rig_pager_wait_for(&pager, 1);
    m = rig_page(rig.ram, 4000);
    vm_mutex_lock(&rig.ram->lock);
    cr_assert(eq(uint, m->hold_count, 1));
    vm_page_busy(m);
    vm_page_free(m);
    vm_mutex_unlock(&rig.ram->lock);
    rig_pager_release(&pager);
    cr_assert(eq(int, rig_fault_join(&fault), VM_OK));
    cr_assert(eq(uint, pager.calls, 6));
    rig_fini(&rig);
}

Test(vm_fault_window, a_root_replaced_during_the_read_is_followed, .timeout = 30)
{
    struct rig_fault fault;
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    rig_window(&rig, W(0), 512, VM_PROT_ALL, &vpte64_format, rig_pte(600, RIG_PASS | VPTE_PS));
    pager.wait = true;
    rig_fault_start(&fault, &rig, W(0), VM_PROT_READ);
    rig_pager_wait_for(&pager, 1);
    cr_assert(zero(int, vm_map_setmap(&rig.map, gpa_from_u64(W(0)), gpa_from_u64(W(512)),
                                      rig_pte(900, RIG_PASS | VPTE_PS))));
    rig_pager_release(&pager);
    cr_assert(eq(int, rig_fault_join(&fault), VM_OK));
    cr_assert(eq(u64, rig_load(&rig, W(0)), 900 * 512));
    cr_assert(eq(uint, pager.calls, 2));
    rig_fini(&rig);
}

Test(vm_fault_window, a_read_error_of_a_page_the_root_left_meanwhile_is_no_error, .timeout = 30)
{
    struct rig_fault fault;
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    cr_assert(eq(int, rig_touch(&rig, PAGE(900), VM_PROT_READ), VM_OK));
    rig_window(&rig, W(0), 512, VM_PROT_ALL, &vpte64_format, rig_pte(600, RIG_PASS | VPTE_PS));
    pager.wait = true;
    pager.result = VM_PAGER_ERROR;
    rig_fault_start(&fault, &rig, W(0), VM_PROT_READ);
    rig_pager_wait_for(&pager, 1);
    cr_assert(zero(int, vm_map_setmap(&rig.map, gpa_from_u64(W(0)), gpa_from_u64(W(512)),
                                      rig_pte(900, RIG_PASS | VPTE_PS))));
    rig_pager_release(&pager);
    cr_assert(eq(int, rig_fault_join(&fault), VM_OK));
    rig_fini(&rig);
}

/* While the page is entered, the table pages that had to be copied are held. */
static void
expect_tables_held(void *context, gpa_t gpa, unsigned npages)
{
    struct vm_object *top = context;

    (void)npages;
    if (gpa.value < RIG_WINDOW)
        return;
    for (unsigned level = 1; level <= 4; level++)
        cr_assert(eq(uint, top->sys->pages[top->extent + level].hold_count, 1));
}

/*
 * Tables with `marks` in pages 1 to 4 of a backing object; the window's page 0 is `page`.
 * Returns the backing object with a reference.
 */
static struct vm_object *
tables_behind(struct rig *rig, vpte_t marks, uint64_t page)
{
    struct vm_object *top, *backing;
    vpte_t root;

    rig_init(rig, 0);
    backing = rig->ram;
    root = rig_tables(rig, 1, page, 1, RIG_PASS | marks);
    for (unsigned level = 1; level < 4; level++)
        atomic_fetch_or(rig_vpte(rig, level, 0), marks);
    cr_assert(zero(int, vm_map_remove(&rig->map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)))));
    cr_assert(zero(int, vm_object_create_default(&rig->sys, RIG_PAGES, &top)));
    rig_shadow(top, backing, 0);
    vm_object_ref(backing); /* nothing may be moved out of it */
    rig_map_ram(rig, top, VM_PROT_ALL);
    rig_window(rig, W(0), 512, VM_PROT_ALL, &vpte64_format, root);
    rig->fake.before_enter = expect_tables_held;
    rig->fake.before_enter_context = top;
    return backing;
}

static void
expect_tables_copied(struct rig *rig, struct vm_object *backing, vpte_t before, vpte_t after)
{
    for (unsigned level = 1; level < 4; level++) {
        struct vm_page *old = rig_page(backing, level);

        cr_assert(eq(u64, *(uint64_t *)vm_page_address(old), rig_pte(level + 1, before)));
        cr_assert(eq(u64, atomic_load(rig_vpte(rig, level, 0)), rig_pte(level + 1, after)));
        cr_assert(rig_page(rig->ram, level)->dirty);
    }
    cr_assert(rig_page(rig->ram, 4)->dirty);
    cr_assert(eq(u64, rig_meter(rig, v_cow_faults), 4));
    cr_assert(zero(u64, rig_meter(rig, v_cow_optim)));
    vm_object_unref(backing);
}

Test(vm_fault_window, tables_in_a_backing_object_are_copied_before_a_walk_marks_them)
{
    struct vm_object *backing;
    struct rig rig;

    backing = tables_behind(&rig, 0, 600);
    cr_assert(eq(int, rig_touch(&rig, W(0), VM_PROT_READ), VM_OK));
    expect_tables_copied(&rig, backing, RIG_PASS, RIG_PASS | VPTE_A | VPTE_M);
    cr_assert(eq(u64, rig_meter(&rig, v_restarts), 4));
    rig_fini(&rig);
}

Test(vm_fault_window, a_copied_table_that_needs_no_mark_is_dirty_and_may_be_the_page_itself)
{
    struct vm_object *backing;
    struct rig rig;

    backing = tables_behind(&rig, VPTE_A | VPTE_M, 4);
    cr_assert(eq(int, rig_touch(&rig, W(0), VM_PROT_READ), VM_OK));
    expect_tables_copied(&rig, backing, RIG_PASS | VPTE_A | VPTE_M, RIG_PASS | VPTE_A | VPTE_M);
    cr_assert(zero(u64, rig_meter(&rig, v_kind_page_in) + rig_meter(&rig, v_kind_cow)));
    rig_fini(&rig);
}

Test(vm_fault_window, a_held_page_through_a_window_sets_a_and_m_and_maps_nothing)
{
    struct vm_page *m;
    struct rig rig;

    rig_window_init(&rig, 4, RIG_PASS);
    cr_assert(
        eq(int,
           vm_fault_page(&rig.map, gpa_from_u64(W(1)), VM_PROT_READ, VM_FAULT_BURST, &m, &rig_info),
           VM_OK));
    cr_assert(eq(uint, m->hold_count, 1));
    cr_assert(m == rig_page(rig.ram, 103));
    vm_page_unhold(m);
    cr_assert(eq(u64, rig_window_flags(&rig, 1), RIG_PASS | VPTE_A));
    atomic_store(&m->dirty, 0);
    cr_assert(eq(int,
                 vm_fault_page(&rig.map, gpa_from_u64(W(1)), VM_PROT_WRITE, VM_FAULT_NORMAL, &m,
                               &rig_info),
                 VM_OK));
    cr_assert(m->dirty);
    vm_page_unhold(m);
    cr_assert(eq(u64, rig_window_flags(&rig, 1), RIG_PASS | VPTE_A | VPTE_M));
    cr_assert(zero(u64, fake_pmap_mapped(&rig.fake)));
    rig_fini(&rig);
}

Test(vm_fault_window, a_held_page_of_zeros_is_zeros_in_the_direct_map)
{
    struct vm_page *m;
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(eq(int,
                 vm_fault_page(&rig.map, gpa_from_u64(PAGE(5)), VM_PROT_READ, VM_FAULT_NORMAL, &m,
                               &rig_info),
                 VM_OK));
    cr_assert(not(vm_page_flag_test(m, VM_PAGE_ZERO)));
    cr_assert(eq(u64, *(uint64_t *)vm_page_address(m), 0));
    cr_assert(eq(u64, rig_meter(&rig, v_zfod), 1));
    cr_assert(zero(u64, rig_meter(&rig, v_ozfod)));
    vm_page_unhold(m);
    rig_fini(&rig);
}
