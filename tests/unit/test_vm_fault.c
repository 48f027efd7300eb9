/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fault engine on a fake machine: what each fault maps, what it counts, how it
 * fails, and what it leaves behind (rig_fini checks that nothing stays busy or
 * held and that the counters add up).
 */
#include "tests/unit/fault_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <sched.h>
#include <string.h>

#define PAGE(n) ((uint64_t)(n) << PAGE_SHIFT)
#define W(n) (RIG_WINDOW + PAGE(n))

/* ---- NORMAL entries. ---- */

Test(vm_fault, the_first_touch_is_a_page_of_zeros_filled_where_it_is_mapped)
{
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(eq(int, rig_touch(&rig, PAGE(7) + 123, VM_PROT_WRITE), VM_OK));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(7)), VM_PROT_RW));
    cr_assert(eq(u64, rig_load(&rig, PAGE(7)), 0));
    cr_assert(eq(uint, rig.fake.filled_pages, 1));
    cr_assert(eq(uint, rig.fake.enters, 1));
    cr_assert(zero(uint, rig.fake.foreign_pages));
    cr_assert(eq(u64, rig_meter(&rig, v_kind_zero_fill), 1));
    cr_assert(eq(u64, rig_meter(&rig, v_zfod), 1));
    cr_assert(eq(u64, rig_meter(&rig, v_ozfod), 1));
    cr_assert(eq(u64, rig_meter(&rig, v_minflt), 1));
    cr_assert(eq(u64, rig_info.gpa.value, PAGE(7) + 123));
    cr_assert(eq(u64, rig.ram->resident_count, 1));
    rig_fini(&rig);
}

Test(vm_fault, a_read_maps_writable_what_the_entry_lets_be_written)
{
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(eq(int, rig_touch(&rig, 0, VM_PROT_READ), VM_OK));
    cr_assert(eq(int, rig_mapped(&rig, 0), VM_PROT_RW));
    cr_assert(rig_page(rig.ram, 0)->dirty);
    cr_assert(eq(int, rig_touch(&rig, PAGE(1), VM_PROT_EXECUTE), VM_OK));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(1)), VM_PROT_RW));
    cr_assert(zero(int, vm_map_protect(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)),
                                       VM_PROT_READ)));
    cr_assert(eq(int, rig_touch(&rig, PAGE(2), VM_PROT_READ), VM_OK));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(2)), VM_PROT_READ));
    cr_assert(not(rig_page(rig.ram, 2)->dirty));
    rig_fini(&rig);
}

Test(vm_fault, a_resident_page_is_found_with_its_contents)
{
    struct rig rig;

    rig_init(&rig, 0);
    rig_store(&rig, PAGE(3) + 8, 77);
    cr_assert(zero(int, vm_map_inval(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(16)))));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(3)), VM_PROT_NONE));
    cr_assert(eq(u64, rig_load(&rig, PAGE(3) + 8), 77));
    cr_assert(eq(u64, rig_meter(&rig, v_kind_resident), 1));
    cr_assert(eq(u64, rig_meter(&rig, v_zfod), 1));
    rig_fini(&rig);
}

Test(vm_fault, a_second_fault_on_a_mapped_page_enters_it_again)
{
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(eq(int, rig_touch(&rig, 0, VM_PROT_READ), VM_OK));
    cr_assert(eq(int, rig_touch(&rig, 0, VM_PROT_READ), VM_OK));
    cr_assert(eq(uint, rig.fake.refreshed_pages, 1));
    cr_assert(eq(u64, rig_meter(&rig, v_kind_resident), 1));
    rig_fini(&rig);
}

Test(vm_fault, a_page_faulted_on_is_referenced_and_active)
{
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(eq(int, rig_touch(&rig, 0, VM_PROT_READ), VM_OK));
    cr_assert(vm_page_flag_test(rig_page(rig.ram, 0), VM_PAGE_REFERENCED));
    cr_assert(eq(int, rig_page(rig.ram, 0)->queue, PQ_ACTIVE));
    rig_fini(&rig);
}

Test(vm_fault, a_page_of_a_nosync_entry_is_marked_unless_it_was_dirty_before)
{
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(eq(int, rig_touch(&rig, 0, VM_PROT_WRITE), VM_OK));
    rig_entry(&rig, 0)->eflags |= MAP_ENTRY_NOSYNC;
    cr_assert(eq(int, rig_touch(&rig, 0, VM_PROT_WRITE), VM_OK));
    cr_assert(eq(int, rig_touch(&rig, PAGE(1), VM_PROT_WRITE), VM_OK));
    cr_assert(not(vm_page_flag_test(rig_page(rig.ram, 0), VM_PAGE_NOSYNC)));
    cr_assert(vm_page_flag_test(rig_page(rig.ram, 1), VM_PAGE_NOSYNC));
    rig_entry(&rig, 0)->eflags &= ~(unsigned)MAP_ENTRY_NOSYNC;
    cr_assert(eq(int, rig_touch(&rig, PAGE(1), VM_PROT_WRITE), VM_OK));
    cr_assert(not(vm_page_flag_test(rig_page(rig.ram, 1), VM_PAGE_NOSYNC)));
    rig_fini(&rig);
}

Test(vm_fault, the_dirty_flag_dirties_a_page_that_is_only_read)
{
    struct vm_page *m;
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(eq(int, vm_fault_page(&rig.map, gpa_from_u64(0), VM_PROT_READ, VM_FAULT_NORMAL, &m,
                                    &rig_info), VM_OK));
    cr_assert(not(m->dirty));
    vm_page_unhold(m);
    cr_assert(eq(int, vm_fault_page(&rig.map, gpa_from_u64(0), VM_PROT_READ, VM_FAULT_DIRTY, &m,
                                    &rig_info), VM_OK));
    cr_assert(m->dirty);
    vm_page_unhold(m);
    rig_fini(&rig);
}

/* ---- Errors; each as vm_fault and as vm_fault_page reports it. ---- */

static void
expect_failure(struct rig *rig, uint64_t gpa, vm_prot_t access, enum vm_result result)
{
    uint64_t failed = rig_meter(rig, v_kind_failed), host = rig_meter(rig, v_kind_host);
    unsigned entered = rig->fake.entered_pages;
    struct vm_page *m = NULL;

    cr_expect(eq(int, rig_burst(rig, gpa, access), result));
    cr_expect(eq(int, rig_info.result, result));
    cr_expect(eq(u64, rig_info.gpa.value, gpa));
    cr_expect(eq(int, rig_info.access, access));
    cr_expect(eq(int, vm_fault_page(&rig->map, gpa_from_u64(gpa), access, VM_FAULT_NORMAL, &m,
                                    &rig_info), result));
    cr_expect(m == NULL);
    cr_expect(eq(uint, rig->fake.entered_pages, entered));
    cr_expect(zero(uint, rig->fake.wakes));
    if (result == VM_HOST_FAILURE)
        cr_expect(eq(u64, rig_meter(rig, v_kind_host), host + 2));
    else
        cr_expect(eq(u64, rig_meter(rig, v_kind_failed), failed + 2));
    rig_audit(rig);
}

Test(vm_fault, an_address_without_an_entry_is_invalid)
{
    struct rig rig;

    rig_init(&rig, 0);
    expect_failure(&rig, PAGE(RIG_PAGES), VM_PROT_READ, VM_INVALID_ADDRESS);
    expect_failure(&rig, UINT64_MAX, VM_PROT_WRITE, VM_INVALID_ADDRESS);
    cr_assert(zero(int, rig_info.entry_prot));
    rig_fini(&rig);
}

Test(vm_fault, an_access_the_entry_forbids_is_a_protection_failure)
{
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(zero(int, vm_map_protect(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)),
                                       VM_PROT_READ)));
    expect_failure(&rig, 5, VM_PROT_WRITE, VM_PROTECTION);
    expect_failure(&rig, 5, VM_PROT_EXECUTE, VM_PROTECTION);
    cr_assert(eq(int, rig_info.entry_prot, VM_PROT_READ));
    rig_fini(&rig);
}

Test(vm_fault, a_guard_never_resolves)
{
    struct vm_map_insert args = {
        .start = gpa_from_u64(W(0)),
        .end = gpa_from_u64(W(1)),
        .protection = VM_PROT_ALL,
        .max_protection = VM_PROT_ALL,
        .eflags = MAP_ENTRY_NOFAULT,
    };
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
    expect_failure(&rig, W(0), VM_PROT_READ, VM_NOFAULT);
    rig_fini(&rig);
}

Test(vm_fault, a_page_beyond_the_size_of_the_object_is_refused)
{
    struct rig rig;

    rig_init(&rig, 0);
    rig.ram->size = 8;
    expect_failure(&rig, PAGE(8), VM_PROT_READ, VM_BEYOND_OBJECT);
    cr_assert(eq(int, rig_touch(&rig, PAGE(7), VM_PROT_READ), VM_OK));
    rig.ram->size = RIG_PAGES;
    rig_fini(&rig);
}

Test(vm_fault, a_dead_object_is_refused)
{
    struct rig rig;

    rig_init(&rig, 0);
    rig_window(&rig, W(0), 4, VM_PROT_ALL, &vpte64_format, rig_pte(0, RIG_PASS | VPTE_PS));
    rig.ram->flags |= OBJ_DEAD;
    expect_failure(&rig, PAGE(1), VM_PROT_READ, VM_OBJECT_DEAD);
    expect_failure(&rig, W(1), VM_PROT_READ, VM_OBJECT_DEAD);
    rig.ram->flags &= ~(unsigned)OBJ_DEAD;
    rig_fini(&rig);
}

Test(vm_fault, a_used_up_ram_budget_is_a_host_failure_that_names_it)
{
    struct rig rig;

    rig_init(&rig, 2);
    cr_assert(eq(int, rig_touch(&rig, PAGE(0), VM_PROT_WRITE), VM_OK));
    cr_assert(eq(int, rig_touch(&rig, PAGE(9), VM_PROT_WRITE), VM_OK));
    expect_failure(&rig, PAGE(5), VM_PROT_READ, VM_HOST_FAILURE);
    cr_assert(eq(int, rig_info.error, -ENOMEM));
    cr_assert(zero(int, strncmp(rig_info.cause, "RAM budget", 10)));
    cr_assert(eq(int, rig_touch(&rig, PAGE(9), VM_PROT_READ), VM_OK));
    rig_fini(&rig);
}

Test(vm_fault, a_machine_that_cannot_map_is_a_host_failure_and_nothing_stays)
{
    struct rig rig;

    rig_init(&rig, 0);
    fake_pmap_fail_next_enter(&rig.fake, -EIO, 0);
    cr_assert(eq(int, rig_touch(&rig, PAGE(4), VM_PROT_WRITE), VM_HOST_FAILURE));
    cr_assert(eq(int, rig_info.error, -EIO));
    cr_assert(rig_info.cause != NULL);
    cr_assert(rig_page(rig.ram, 4) == NULL);
    cr_assert(zero(u64, atomic_load(&rig.sys.resident_pages)));
    cr_assert(zero(u64, rig_meter(&rig, v_zfod)));
    rig_audit(&rig);
    cr_assert(eq(int, rig_touch(&rig, PAGE(4), VM_PROT_WRITE), VM_OK));

    /* A page that was there before stays. */
    cr_assert(zero(int, vm_map_inval(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(16)))));
    fake_pmap_fail_next_enter(&rig.fake, -ENOMEM, 0);
    cr_assert(eq(int, rig_touch(&rig, PAGE(4), VM_PROT_WRITE), VM_HOST_FAILURE));
    cr_assert(rig_page(rig.ram, 4) != NULL);
    cr_assert(eq(u64, rig_meter(&rig, v_kind_host), 2));
    rig_fini(&rig);
}

Test(vm_fault, a_machine_that_fails_inside_a_run_loses_only_the_neighbours)
{
    struct rig rig;

    rig_init(&rig, 0);
    for (unsigned p = 0; p < 3; p++)
        cr_assert(eq(int, rig_touch(&rig, PAGE(p), VM_PROT_WRITE), VM_OK));
    fake_pmap_fail_next_enter(&rig.fake, -ENOMEM, 1);
    cr_assert(eq(int, rig_burst(&rig, PAGE(3), VM_PROT_WRITE), VM_OK));
    cr_assert(zero(uint, rig_info.prefaulted));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(3)), VM_PROT_RW));
    cr_assert(rig_page(rig.ram, 4) == NULL);
    cr_assert(eq(u64, rig_meter(&rig, v_zfod), 4));
    rig_fini(&rig);
}

/* ---- Busy pages. ---- */

Test(vm_fault, a_fault_waits_for_a_busy_page_and_then_finds_it, .timeout = 30)
{
    struct rig_fault fault;
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(eq(int, rig_touch(&rig, PAGE(2), VM_PROT_WRITE), VM_OK));
    rig_busy(rig_page(rig.ram, 2));
    rig_fault_start(&fault, &rig, PAGE(2), VM_PROT_READ);
    rig_until(rig_meter(&rig, v_intrans) == 1);
    /* It waits with no lock: the map can change, other faults go on. */
    cr_assert(zero(int, vm_map_advise(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)),
                                      VM_ADVICE_RANDOM)));
    cr_assert(eq(int, rig_touch(&rig, PAGE(3), VM_PROT_WRITE), VM_OK));
    cr_assert(not(atomic_load(&fault.done)));
    rig_wakeup(rig_page(rig.ram, 2));
    cr_assert(eq(int, rig_fault_join(&fault), VM_OK));
    cr_assert(eq(u64, rig_meter(&rig, v_restarts), 1));
    cr_assert(eq(u64, rig_meter(&rig, v_kind_resident), 1));
    rig_fini(&rig);
}

Test(vm_fault, a_fault_waits_for_a_page_that_is_freed_while_it_is_held, .timeout = 30)
{
    struct rig_fault fault;
    struct vm_page *m;
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(eq(int, vm_fault_page(&rig.map, gpa_from_u64(PAGE(2)), VM_PROT_WRITE,
                                    VM_FAULT_NORMAL, &m, &rig_info), VM_OK));
    vm_mutex_lock(&rig.ram->lock);
    vm_page_busy(m);
    vm_page_free(m);
    vm_mutex_unlock(&rig.ram->lock);
    rig_fault_start(&fault, &rig, PAGE(2), VM_PROT_READ);
    rig_until(rig_meter(&rig, v_intrans) == 1);
    cr_assert(not(atomic_load(&fault.done)));
    vm_page_unhold(m);
    cr_assert(eq(int, rig_fault_join(&fault), VM_OK));
    cr_assert(eq(u64, rig_load(&rig, PAGE(2)), 0));
    rig_fini(&rig);
}

Test(vm_fault, a_wait_ends_well_when_the_entry_goes_meanwhile, .timeout = 30)
{
    struct rig_fault fault;
    struct vm_page *m;
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(eq(int, rig_touch(&rig, PAGE(2), VM_PROT_WRITE), VM_OK));
    m = rig_page(rig.ram, 2);
    rig_busy(m);
    rig_fault_start(&fault, &rig, PAGE(2), VM_PROT_READ);
    rig_until(rig_meter(&rig, v_intrans) == 1);
    cr_assert(zero(int, vm_map_remove(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)))));
    rig_wakeup(m);
    cr_assert(eq(int, rig_fault_join(&fault), VM_INVALID_ADDRESS));
    rig_fini(&rig);
}

/* ---- Pagers. ---- */

static void
rig_init_pager(struct rig *rig, struct rig_pager *pager)
{
    rig_init_object(rig, 0);
    rig_map_ram(rig, rig_pager_object(rig, RIG_PAGES, pager), VM_PROT_ALL);
}

Test(vm_fault, a_page_comes_from_the_pager_with_its_contents)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    cr_assert(eq(int, rig_touch(&rig, PAGE(40), VM_PROT_READ), VM_OK));
    cr_assert(rig_info.hardfault);
    cr_assert(eq(u64, rig_load(&rig, PAGE(40) + 16), 40 * 512 + 2));
    cr_assert(eq(u64, rig_meter(&rig, v_kind_page_in), 1));
    cr_assert(eq(u64, rig_meter(&rig, v_majflt), 1));
    cr_assert(eq(u64, rig_meter(&rig, v_restarts), 1));
    cr_assert(eq(u64, rig_meter(&rig, v_pagein), pager.pages));
    cr_assert(zero(u64, rig_meter(&rig, v_zfod)));
    cr_assert(eq(uint, pager.calls, 1));
    rig_fini(&rig);
}

Test(vm_fault, a_clean_page_of_a_pager_is_mapped_read_only_until_it_is_written)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    cr_assert(eq(int, rig_touch(&rig, PAGE(40), VM_PROT_READ), VM_OK));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(40)), VM_PROT_READ));
    cr_assert(not(rig_page(rig.ram, 40)->dirty));
    cr_assert(eq(int, rig_touch(&rig, PAGE(40), VM_PROT_WRITE), VM_OK));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(40)), VM_PROT_RW));
    cr_assert(rig_page(rig.ram, 40)->dirty);
    /* Dirty now, so a read may map it writable. */
    cr_assert(zero(int, vm_map_inval(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)))));
    cr_assert(eq(int, rig_touch(&rig, PAGE(40), VM_PROT_READ), VM_OK));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(40)), VM_PROT_RW));
    rig_fini(&rig);
}

Test(vm_fault, a_page_the_pager_does_not_have_is_zeros)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    pager.have_end = 10;
    cr_assert(eq(int, rig_touch(&rig, PAGE(10), VM_PROT_READ), VM_OK));
    cr_assert(eq(u64, rig_load(&rig, PAGE(10)), 0));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(10)), VM_PROT_RW));
    cr_assert(eq(u64, rig_meter(&rig, v_kind_zero_fill), 1));
    cr_assert(zero(uint, pager.calls));
    rig_fini(&rig);
}

Test(vm_fault, a_failed_read_is_an_io_error_and_the_page_is_gone)
{
    static const struct {
        enum vm_pager_result pager;
        enum vm_result fault;
    } cases[] = {
        { VM_PAGER_ERROR, VM_IO_ERROR },
        { VM_PAGER_FAIL, VM_IO_ERROR },
        { VM_PAGER_BAD, VM_BEYOND_OBJECT },
    };
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    for (unsigned i = 0; i < 3; i++) {
        unsigned calls = pager.calls;

        pager.result = cases[i].pager;
        expect_failure(&rig, PAGE(40), VM_PROT_READ, cases[i].fault);
        cr_assert(eq(uint, pager.calls, calls + 2));
        cr_assert(zero(u64, rig.ram->resident_count));
    }
    cr_assert(zero(u64, rig_meter(&rig, v_pagein)));
    pager.result = VM_PAGER_OK;
    cr_assert(eq(int, rig_touch(&rig, PAGE(40), VM_PROT_READ), VM_OK));
    rig_fini(&rig);
}

Test(vm_fault, a_pager_that_lost_the_page_and_says_so_gives_zeros)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    pager.result = VM_PAGER_FAIL;
    pager.gone = true;
    cr_assert(eq(int, rig_touch(&rig, PAGE(40), VM_PROT_READ), VM_OK));
    cr_assert(eq(u64, rig_load(&rig, PAGE(40)), 0));
    cr_assert(eq(u64, rig_meter(&rig, v_kind_zero_fill), 1));
    rig_fini(&rig);
}

Test(vm_fault, a_page_that_is_not_done_is_an_io_error_though_the_call_succeeded)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    pager.skip = 40;
    expect_failure(&rig, PAGE(40), VM_PROT_READ, VM_IO_ERROR);
    rig_fini(&rig);
}

Test(vm_fault, neighbours_that_are_not_resident_are_read_along)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    cr_assert(eq(int, rig_touch(&rig, PAGE(44), VM_PROT_READ), VM_OK));
    cr_assert(lt(u64, pager.last_first, 44));
    cr_assert(gt(u64, pager.last_end, 45));
    for (uint64_t p = pager.last_first; p < pager.last_end; p++) {
        cr_assert(eq(u64, rig_load(&rig, PAGE(p)), p * 512));
        cr_assert(eq(uint, pager.calls, 1));
    }

    /* Not over what is there, nor beyond what the pager has. */
    cr_assert(eq(int, rig_touch(&rig, PAGE(pager.last_end), VM_PROT_READ), VM_OK));
    cr_assert(eq(u64, rig_meter(&rig, v_pagein), pager.pages));
    pager.have_first = 100;
    pager.have_end = 102;
    cr_assert(eq(int, rig_touch(&rig, PAGE(101), VM_PROT_READ), VM_OK));
    cr_assert(eq(u64, pager.last_first, 100));
    cr_assert(eq(u64, pager.last_end, 102));
    rig_fini(&rig);
}

Test(vm_fault, advice_shapes_what_is_read_along)
{
    struct rig_pager pager;
    struct rig rig;
    gpa_t start = gpa_from_u64(0), end = gpa_from_u64(PAGE(RIG_PAGES));

    rig_init_pager(&rig, &pager);
    cr_assert(zero(int, vm_map_advise(&rig.map, start, end, VM_ADVICE_RANDOM)));
    cr_assert(eq(int, rig_touch(&rig, PAGE(50), VM_PROT_READ), VM_OK));
    cr_assert(eq(uint, pager.pages, 1));
    cr_assert(zero(int, vm_map_advise(&rig.map, start, end, VM_ADVICE_SEQUENTIAL)));
    cr_assert(eq(int, rig_touch(&rig, PAGE(100), VM_PROT_READ), VM_OK));
    cr_assert(eq(u64, pager.last_first, 100));
    cr_assert(eq(u64, pager.last_end, 132));
    rig_fini(&rig);
}

Test(vm_fault, reading_along_leaves_an_eighth_of_the_ram_budget)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_object(&rig, 16);
    rig_map_ram(&rig, rig_pager_object(&rig, RIG_PAGES, &pager), VM_PROT_ALL);
    cr_assert(eq(int, rig_touch(&rig, PAGE(40), VM_PROT_READ), VM_OK));
    cr_assert(eq(uint, pager.pages, 14));
    cr_assert(eq(int, rig_touch(&rig, PAGE(80), VM_PROT_READ), VM_OK));
    cr_assert(eq(int, rig_touch(&rig, PAGE(90), VM_PROT_READ), VM_OK));
    cr_assert(eq(uint, pager.pages, 16));
    expect_failure(&rig, PAGE(100), VM_PROT_READ, VM_HOST_FAILURE);
    rig_fini(&rig);
}

Test(vm_fault, a_neighbour_that_could_not_be_read_is_freed)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    pager.skip = 41;
    cr_assert(eq(int, rig_touch(&rig, PAGE(40), VM_PROT_READ), VM_OK));
    cr_assert(rig_page(rig.ram, 41) == NULL);
    cr_assert(rig_page(rig.ram, 42) != NULL);
    cr_assert(eq(u64, rig_meter(&rig, v_pagein), pager.pages - 1));
    rig_fini(&rig);
}

Test(vm_fault, a_second_faulter_waits_for_the_read_and_finds_the_page, .timeout = 30)
{
    struct rig_fault first, second;
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    pager.wait = true;
    rig_fault_start(&first, &rig, PAGE(40), VM_PROT_READ);
    rig_pager_wait_for(&pager, 1);
    rig_fault_start(&second, &rig, PAGE(40), VM_PROT_WRITE);
    rig_until(rig_meter(&rig, v_intrans) == 1);
    rig_pager_release(&pager);
    cr_assert(eq(int, rig_fault_join(&first), VM_OK));
    cr_assert(eq(int, rig_fault_join(&second), VM_OK));
    cr_assert(first.info.hardfault);
    cr_assert(not(second.info.hardfault));
    cr_assert(eq(uint, pager.calls, 1));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(40)), VM_PROT_RW));
    rig_fini(&rig);
}

Test(vm_fault, a_second_faulter_reads_for_itself_when_the_first_read_failed, .timeout = 30)
{
    struct rig_fault first, second;
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    pager.wait = true;
    pager.result = VM_PAGER_ERROR;
    rig_fault_start(&first, &rig, PAGE(40), VM_PROT_READ);
    rig_pager_wait_for(&pager, 1);
    rig_fault_start(&second, &rig, PAGE(40), VM_PROT_READ);
    rig_until(rig_meter(&rig, v_intrans) == 1);
    rig_pager_release(&pager);
    cr_assert(eq(int, rig_fault_join(&first), VM_IO_ERROR));
    cr_assert(eq(int, rig_fault_join(&second), VM_IO_ERROR));
    cr_assert(eq(uint, pager.calls, 2));
    rig_fini(&rig);
}

Test(vm_fault, an_entry_removed_during_the_read_is_noticed, .timeout = 30)
{
    struct rig_fault fault;
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    vm_object_unref(rig.ram); /* the entry has the last reference but the fault's */
    rig.ram = NULL;
    pager.wait = true;
    rig_fault_start(&fault, &rig, PAGE(40), VM_PROT_READ);
    rig_pager_wait_for(&pager, 1);
    cr_assert(zero(int, vm_map_remove(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)))));
    rig_pager_release(&pager);
    cr_assert(eq(int, rig_fault_join(&fault), VM_INVALID_ADDRESS));
    cr_assert(zero(u64, atomic_load(&rig.sys.resident_pages)));
    rig_fini(&rig);
}

Test(vm_fault, inval_and_protect_during_the_read_are_noticed, .timeout = 30)
{
    gpa_t start = gpa_from_u64(0), end = gpa_from_u64(PAGE(RIG_PAGES));
    struct rig_fault fault;
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    pager.wait = true;
    rig_fault_start(&fault, &rig, PAGE(40), VM_PROT_WRITE);
    rig_pager_wait_for(&pager, 1);
    cr_assert(zero(int, vm_map_inval(&rig.map, start, end)));
    rig_pager_release(&pager);
    cr_assert(eq(int, rig_fault_join(&fault), VM_OK));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(40)), VM_PROT_RW));

    pager.wait = true;
    rig_fault_start(&fault, &rig, PAGE(80), VM_PROT_WRITE);
    rig_pager_wait_for(&pager, 1);
    cr_assert(zero(int, vm_map_protect(&rig.map, start, end, VM_PROT_READ)));
    rig_pager_release(&pager);
    cr_assert(eq(int, rig_fault_join(&fault), VM_PROTECTION));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(80)), VM_PROT_NONE));
    rig_fini(&rig);
}

/* ---- Wired entries. ---- */

Test(vm_fault, a_read_of_a_wired_entry_copies_up_and_takes_no_neighbours)
{
    struct vm_object *top;
    struct rig rig;

    rig_init(&rig, 0);
    for (unsigned p = 0; p < 8; p++)
        rig_store(&rig, PAGE(p), p);
    top = rig.ram;
    cr_assert(zero(int, vm_map_inval(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(16)))));
    rig_entry(&rig, 0)->wired_count = 1;
    cr_assert(eq(int, rig_burst(&rig, PAGE(3), VM_PROT_READ), VM_OK));
    cr_assert(zero(uint, rig_info.prefaulted));
    cr_assert(eq(u64, fake_pmap_mapped(&rig.fake), 1));
    rig_entry(&rig, 0)->wired_count = 0;
    cr_assert(rig.ram == top);
    rig_fini(&rig);
}

/* ---- Shadow chains. ---- */

struct chain {
    struct rig rig;
    struct vm_object *top, *middle, *bottom; /* bottom has pages 0..15 of value 1000 + p */
};

/* The RAM of the rig is `top`; what shows through is two pages off. */
static void
chain_init(struct chain *c)
{
    struct rig *rig = &c->rig;

    rig_init_object(rig, 0);
    rig->sys.tunables.prefault_pages = 0;
    cr_assert(zero(int, vm_object_create_default(&rig->sys, 32, &c->bottom)));
    rig_map_ram(rig, c->bottom, VM_PROT_ALL);
    for (unsigned p = 0; p < 16; p++)
        rig_store(rig, PAGE(p), 1000 + p);
    cr_assert(zero(int, vm_map_remove(&rig->map, gpa_from_u64(0), gpa_from_u64(PAGE(32)))));
    cr_assert(zero(int, vm_object_create_default(&rig->sys, 64, &c->middle)));
    cr_assert(zero(int, vm_object_create_default(&rig->sys, 64, &c->top)));
    c->top->backing_object = c->middle;
    c->middle->shadow_count++;
    c->middle->backing_object = c->bottom;
    c->middle->backing_object_offset = 2;
    c->bottom->shadow_count++;
    rig_map_ram(rig, c->top, VM_PROT_ALL);
}

Test(vm_fault, a_read_through_a_shadow_chain_maps_the_backing_page_read_only)
{
    struct chain c;

    chain_init(&c);
    cr_assert(eq(u64, rig_load(&c.rig, PAGE(5)), 1007));
    cr_assert(eq(int, rig_mapped(&c.rig, PAGE(5)), VM_PROT_READ));
    cr_assert(zero(u64, c.top->resident_count));
    cr_assert(eq(u64, rig_meter(&c.rig, v_kind_resident), 1));
    rig_fini(&c.rig);
}

Test(vm_fault, a_write_through_a_shadow_chain_copies_the_page_up)
{
    struct chain c;

    chain_init(&c);
    cr_assert(eq(u64, rig_load(&c.rig, PAGE(5)), 1007));
    rig_store(&c.rig, PAGE(5) + 8, 5);
    cr_assert(eq(u64, rig_load(&c.rig, PAGE(5)), 1007));
    cr_assert(eq(u64, rig_load(&c.rig, PAGE(5) + 8), 5));
    cr_assert(eq(int, rig_mapped(&c.rig, PAGE(5)), VM_PROT_RW));
    cr_assert(rig_page(c.top, 5) != NULL && rig_page(c.top, 5)->dirty);
    cr_assert(eq(u64, ((uint64_t *)vm_page_address(rig_page(c.bottom, 7)))[1], 0));
    cr_assert(eq(u64, rig_meter(&c.rig, v_cow_faults), 1));
    cr_assert(eq(u64, rig_meter(&c.rig, v_kind_cow), 1));
    rig_fini(&c.rig);
}

Test(vm_fault, a_copy_drops_the_mappings_of_the_old_page_elsewhere)
{
    struct chain c;

    chain_init(&c);
    rig_window(&c.rig, W(0), 16, VM_PROT_ALL, &vpte64_format, rig_pte(0, RIG_PASS | VPTE_PS));
    cr_assert(eq(u64, rig_load(&c.rig, W(5)), 1007));
    rig_store(&c.rig, PAGE(5), 1);
    cr_assert(eq(int, rig_mapped(&c.rig, W(5)), VM_PROT_NONE));
    cr_assert(eq(u64, rig_load(&c.rig, W(5)), 1));
    rig_fini(&c.rig);
}

Test(vm_fault, what_no_object_of_the_chain_has_is_zeros_in_the_first)
{
    struct chain c;

    chain_init(&c);
    cr_assert(eq(u64, rig_load(&c.rig, PAGE(20)), 0)); /* a hole of the bottom */
    cr_assert(eq(u64, rig_load(&c.rig, PAGE(40)), 0)); /* beyond the bottom's end */
    cr_assert(eq(u64, c.top->resident_count, 2));
    cr_assert(zero(u64, c.middle->resident_count));
    cr_assert(eq(u64, c.bottom->resident_count, 16));
    rig_fini(&c.rig);
}

Test(vm_fault, a_page_of_the_middle_hides_the_one_below)
{
    struct chain c;
    struct vm_page *m;

    chain_init(&c);
    vm_mutex_lock(&c.middle->lock);
    m = vm_page_alloc(c.middle, 5);
    vm_page_zero_fill(m);
    m->valid = 1;
    *(uint64_t *)vm_page_address(m) = 55;
    vm_page_activate(m);
    vm_page_wakeup(m);
    vm_mutex_unlock(&c.middle->lock);
    cr_assert(eq(u64, rig_load(&c.rig, PAGE(5)), 55));
    rig_store(&c.rig, PAGE(5), 56);
    cr_assert(eq(u64, *(uint64_t *)vm_page_address(m), 55));
    rig_fini(&c.rig);
}

Test(vm_fault, a_wired_read_through_a_shadow_chain_copies_up)
{
    struct chain c;

    chain_init(&c);
    rig_entry(&c.rig, 0)->wired_count = 1;
    cr_assert(eq(u64, rig_load(&c.rig, PAGE(5)), 1007));
    cr_assert(eq(int, rig_mapped(&c.rig, PAGE(5)), VM_PROT_RW));
    cr_assert(eq(u64, c.top->resident_count, 1));
    rig_entry(&c.rig, 0)->wired_count = 0;
    rig_fini(&c.rig);
}

Test(vm_fault, a_held_page_for_writing_is_copied_up_and_the_old_mapping_dropped)
{
    struct vm_page *m;
    struct chain c;

    chain_init(&c);
    cr_assert(eq(u64, rig_load(&c.rig, PAGE(5)), 1007));
    cr_assert(eq(int, vm_fault_page(&c.rig.map, gpa_from_u64(PAGE(5)), VM_PROT_READ,
                                    VM_FAULT_NORMAL, &m, &rig_info), VM_OK));
    cr_assert(m == rig_page(c.bottom, 7));
    vm_page_unhold(m);
    cr_assert(eq(int, vm_fault_page(&c.rig.map, gpa_from_u64(PAGE(5)), VM_PROT_WRITE,
                                    VM_FAULT_NORMAL, &m, &rig_info), VM_OK));
    cr_assert(m == rig_page(c.top, 5));
    cr_assert(eq(u64, *(uint64_t *)vm_page_address(m), 1007));
    vm_page_unhold(m);
    cr_assert(eq(int, rig_mapped(&c.rig, PAGE(5)), VM_PROT_NONE));
    rig_fini(&c.rig);
}

Test(vm_fault, a_busy_backing_page_is_waited_for, .timeout = 30)
{
    struct rig_fault fault;
    struct chain c;

    chain_init(&c);
    rig_busy(rig_page(c.bottom, 7));
    rig_fault_start(&fault, &c.rig, PAGE(5), VM_PROT_WRITE);
    rig_until(rig_meter(&c.rig, v_intrans) == 1);
    rig_wakeup(rig_page(c.bottom, 7));
    cr_assert(eq(int, rig_fault_join(&fault), VM_OK));
    cr_assert(eq(u64, rig_load(&c.rig, PAGE(5)), 1007));
    rig_fini(&c.rig);
}

Test(vm_fault, a_full_ram_budget_fails_a_copy_and_leaves_the_source_alone)
{
    struct chain c;

    chain_init(&c);
    c.rig.sys.ram_budget = 16;
    cr_assert(eq(int, rig_touch(&c.rig, PAGE(5), VM_PROT_WRITE), VM_HOST_FAILURE));
    cr_assert(eq(int, rig_touch(&c.rig, PAGE(5), VM_PROT_READ), VM_OK));
    rig_fini(&c.rig);
}

Test(vm_fault, a_backing_object_behind_a_pager_is_read_and_shown_read_only)
{
    struct rig_pager pager;
    struct vm_object *top;
    struct rig rig;

    rig_init_object(&rig, 0);
    cr_assert(zero(int, vm_object_create_default(&rig.sys, 64, &top)));
    top->backing_object = rig_pager_object(&rig, 32, &pager);
    top->backing_object->shadow_count++;
    rig_map_ram(&rig, top, VM_PROT_ALL);
    cr_assert(eq(int, rig_touch(&rig, PAGE(9), VM_PROT_READ), VM_OK));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(9)), VM_PROT_READ));
    cr_assert(eq(u64, rig_meter(&rig, v_kind_page_in), 1));
    cr_assert(eq(u64, rig_load(&rig, PAGE(9)), 9 * 512));
    rig_store(&rig, PAGE(9), 1);
    cr_assert(eq(u64, rig_load(&rig, PAGE(9) + 8), 9 * 512 + 1));
    pager.result = VM_PAGER_ERROR;
    cr_assert(eq(int, rig_touch(&rig, PAGE(25), VM_PROT_WRITE), VM_IO_ERROR));
    rig_fini(&rig);
}

/* ---- Windows. ---- */

/* Pages 100.. of RAM at the window, scattered: page i is RAM page 100 + 3 * i, of value i. */
static void
window_init(struct rig *rig, unsigned npages, vpte_t flags)
{
    vpte_t root;

    rig_init(rig, 0);
    for (unsigned i = 0; i < npages; i++) {
        uint64_t value = i;

        cr_assert(eq(int, vm_map_write(&rig->map, gpa_from_u64(PAGE(100 + 3 * i)), &value,
                                       sizeof value, &rig_info), VM_OK));
    }
    root = rig_tables(rig, npages, 100, 3, flags);
    rig_window(rig, W(0), 512, VM_PROT_ALL, &vpte64_format, root);
}

static vpte_t
window_flags(struct rig *rig, unsigned index)
{
    return atomic_load(rig_vpte(rig, 4, index)) & 0xfff;
}

Test(vm_fault, a_read_through_a_virtual_page_table_maps_read_only_and_sets_a)
{
    struct rig rig;

    window_init(&rig, 4, RIG_PASS);
    cr_assert(eq(u64, rig_load(&rig, W(2)), 2));
    cr_assert(eq(int, rig_mapped(&rig, W(2)), VM_PROT_READ));
    cr_assert(eq(u64, window_flags(&rig, 2), RIG_PASS | VPTE_A));
    cr_assert(eq(u64, atomic_load(rig_vpte(&rig, 3, 0)) & 0xfff, RIG_PASS | VPTE_A | VPTE_M));
    cr_assert(eq(u64, rig_meter(&rig, v_walks), 1));
    cr_assert(eq(u64, rig_meter(&rig, v_vpte_a), 4));
    cr_assert(eq(u64, rig_meter(&rig, v_vpte_m), 3));
    cr_assert(eq(u64, rig_meter(&rig, v_vpte_dir_m), 3));
    rig_fini(&rig);
}

Test(vm_fault, the_first_write_sets_m_and_makes_the_mapping_writable)
{
    struct rig rig;

    window_init(&rig, 4, RIG_PASS);
    cr_assert(eq(u64, rig_load(&rig, W(2)), 2));
    cr_assert(not(fake_guest_store(&rig.fake, gpa_from_u64(W(2)), 22)));
    cr_assert(eq(u64, window_flags(&rig, 2) & VPTE_M, 0));
    rig_store(&rig, W(2), 22);
    cr_assert(eq(u64, window_flags(&rig, 2), RIG_PASS | VPTE_A | VPTE_M));
    cr_assert(eq(int, rig_mapped(&rig, W(2)), VM_PROT_RW));
    cr_assert(eq(u64, rig_load(&rig, PAGE(106)), 22));
    rig_fini(&rig);
}

Test(vm_fault, a_read_maps_writable_where_m_is_set_already)
{
    struct rig rig;

    window_init(&rig, 4, RIG_PASS | VPTE_M);
    cr_assert(eq(u64, rig_load(&rig, W(2)), 2));
    cr_assert(eq(int, rig_mapped(&rig, W(2)), VM_PROT_RW));
    /* But not in an entry that forbids writes, nor without W. */
    cr_assert(zero(int, vm_map_protect(&rig.map, gpa_from_u64(W(0)), gpa_from_u64(W(512)),
                                       VM_PROT_READ)));
    cr_assert(eq(u64, rig_load(&rig, W(1)), 1));
    cr_assert(eq(int, rig_mapped(&rig, W(1)), VM_PROT_READ));
    cr_assert(zero(int, vm_map_protect(&rig.map, gpa_from_u64(W(0)), gpa_from_u64(W(512)),
                                       VM_PROT_ALL)));
    rig_vpte_set(&rig, 4, 3, rig_pte(109, VPTE_V | VPTE_R | VPTE_M));
    cr_assert(eq(u64, rig_load(&rig, W(3)), 3));
    cr_assert(eq(int, rig_mapped(&rig, W(3)), VM_PROT_READ));
    rig_fini(&rig);
}

Test(vm_fault, a_changed_table_page_is_a_dirty_page)
{
    struct rig rig;

    window_init(&rig, 4, RIG_PASS);
    for (unsigned level = 1; level <= 4; level++)
        atomic_store(&rig_page(rig.ram, level)->dirty, 0);
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

Test(vm_fault, an_entry_that_forbids_says_at_which_level_and_how)
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

    window_init(&rig, 1, RIG_PASS);
    for (unsigned i = 0; i < 5; i++) {
        for (unsigned level = 1; level <= 4; level++) {
            vpte_t good = atomic_load(rig_vpte(&rig, level, 0)) & ~(vpte_t)(VPTE_A | VPTE_M);
            vpte_t bad = (good & ~(vpte_t)0xfff) | cases[i].flags;

            atomic_store(rig_vpte(&rig, level, 0), bad);
            expect_failure(&rig, W(0), cases[i].access, cases[i].result);
            cr_assert(eq(uint, rig_info.level, level));
            cr_assert(eq(u64, rig_info.vpte, bad));
            cr_assert(eq(u64, atomic_load(rig_vpte(&rig, level, 0)), bad));
            atomic_store(rig_vpte(&rig, level, 0), good);
        }
        cr_assert(zero(int, vm_map_setmap(&rig.map, gpa_from_u64(W(0)), gpa_from_u64(W(512)),
                                          rig_pte(1, cases[i].flags))));
        expect_failure(&rig, W(0), cases[i].access, cases[i].result);
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

Test(vm_fault, a_table_or_page_beyond_the_object_is_a_bad_frame)
{
    struct rig rig;

    window_init(&rig, 1, RIG_PASS);
    for (unsigned level = 1; level <= 4; level++) {
        vpte_t good = atomic_load(rig_vpte(&rig, level, 0));

        atomic_store(rig_vpte(&rig, level, 0), rig_pte(RIG_PAGES, RIG_PASS));
        expect_failure(&rig, W(0), VM_PROT_READ, VM_BAD_FRAME);
        cr_assert(eq(uint, rig_info.level, level));
        atomic_store(rig_vpte(&rig, level, 0), good);
    }
    cr_assert(zero(int, vm_map_setmap(&rig.map, gpa_from_u64(W(0)), gpa_from_u64(W(512)),
                                      rig_pte(RIG_PAGES - 2, RIG_PASS | VPTE_PS))));
    expect_failure(&rig, W(2), VM_PROT_READ, VM_BAD_FRAME);
    cr_assert(eq(int, rig_touch(&rig, W(1), VM_PROT_READ), VM_OK));
    rig_fini(&rig);
}

Test(vm_fault, a_linear_root_maps_the_object_from_its_frame_on)
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

Test(vm_fault, large_pages_end_the_walk_at_each_level)
{
    struct rig rig;

    window_init(&rig, 1, RIG_PASS);
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

Test(vm_fault, a_window_of_32_bit_entries_has_two_levels)
{
    uint32_t directory = (uint32_t)rig_pte(2, RIG_PASS), leaf = (uint32_t)rig_pte(9, RIG_PASS);
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(eq(int, vm_map_write(&rig.map, gpa_from_u64(PAGE(1)), &directory, 4, &rig_info),
                 VM_OK));
    cr_assert(eq(int, vm_map_write(&rig.map, gpa_from_u64(PAGE(2) + 5 * 4), &leaf, 4, &rig_info),
                 VM_OK));
    rig_window(&rig, W(0), 1024, VM_PROT_ALL, &vpte32_format, rig_pte(1, RIG_PASS));
    rig_store(&rig, W(5), 123);
    cr_assert(eq(u64, rig_load(&rig, PAGE(9)), 123));
    cr_assert(eq(int, vm_map_read(&rig.map, gpa_from_u64(PAGE(2) + 5 * 4), &leaf, 4, &rig_info),
                 VM_OK));
    cr_assert(eq(u64, leaf, rig_pte(9, RIG_PASS | VPTE_A | VPTE_M)));
    expect_failure(&rig, W(6), VM_PROT_READ, VM_VPTE_INVALID);
    rig_fini(&rig);
}

Test(vm_fault, zeros_reached_through_a_window_are_written_before_they_are_mapped)
{
    struct rig rig;

    window_init(&rig, 1, RIG_PASS);
    rig_vpte_set(&rig, 4, 1, rig_pte(3000, RIG_PASS));
    cr_assert(eq(int, rig_touch(&rig, W(1), VM_PROT_READ), VM_OK));
    cr_assert(zero(uint, rig.fake.filled_pages));
    cr_assert(eq(u64, rig_meter(&rig, v_kind_zero_fill),
                 rig_meter(&rig, v_zfod))); /* the rig's writes made the others */
    cr_assert(zero(u64, rig_meter(&rig, v_ozfod)));
    cr_assert(eq(u64, rig_load(&rig, W(1)), 0));
    rig_fini(&rig);
}

Test(vm_fault, a_table_page_nobody_touched_is_zeros_and_so_invalid)
{
    uint64_t zfod;
    struct rig rig;

    window_init(&rig, 1, RIG_PASS);
    atomic_store(rig_vpte(&rig, 2, 0), rig_pte(2000, RIG_PASS));
    zfod = rig_meter(&rig, v_zfod);
    cr_assert(eq(int, rig_touch(&rig, W(0), VM_PROT_READ), VM_VPTE_INVALID));
    cr_assert(eq(uint, rig_info.level, 3));
    cr_assert(eq(u64, rig_meter(&rig, v_zfod), zfod + 1));
    cr_assert(rig_page(rig.ram, 2000) != NULL);
    cr_assert(eq(int, rig_page(rig.ram, 2000)->queue, PQ_ACTIVE));
    rig_fini(&rig);
}

Test(vm_fault, a_table_page_that_cannot_be_made_is_a_host_failure)
{
    struct rig rig;

    window_init(&rig, 1, RIG_PASS);
    atomic_store(rig_vpte(&rig, 2, 0), rig_pte(2000, RIG_PASS));
    rig.sys.ram_budget = atomic_load(&rig.sys.resident_pages);
    expect_failure(&rig, W(0), VM_PROT_READ, VM_HOST_FAILURE);
    cr_assert(eq(int, rig_info.error, -ENOMEM));
    rig_fini(&rig);
}

Test(vm_fault, a_busy_table_page_is_waited_for, .timeout = 30)
{
    struct rig_fault fault;
    struct rig rig;

    window_init(&rig, 1, RIG_PASS);
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

Test(vm_fault, a_page_may_be_its_own_table)
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

/* Tables that only the pager has: page 1, 2 and 3 lead to 4, all made by the pager's pattern. */
Test(vm_fault, tables_and_page_are_read_once_each, .timeout = 30)
{
    struct rig_pager pager;
    struct rig rig;
    vpte_t root;

    rig_init_object(&rig, 0);
    rig_map_ram(&rig, rig_pager_object(&rig, RIG_PAGES, &pager), VM_PROT_ALL);
    cr_assert(zero(int, vm_map_advise(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)),
                                      VM_ADVICE_RANDOM)));
    root = rig_tables(&rig, 1, 600, 1, RIG_PASS);
    cr_assert(eq(uint, pager.calls, 4));
    rig_window(&rig, W(0), 512, VM_PROT_ALL, &vpte64_format, root);
    cr_assert(zero(int, vm_map_advise(&rig.map, gpa_from_u64(W(0)), gpa_from_u64(W(512)),
                                      VM_ADVICE_RANDOM)));
    cr_assert(eq(int, rig_touch(&rig, W(0), VM_PROT_READ), VM_OK));
    cr_assert(eq(uint, pager.calls, 5));
    cr_assert(eq(int, rig_mapped(&rig, W(0)), VM_PROT_READ));
    cr_assert(eq(u64, rig_load(&rig, W(0)), 600 * 512));
    cr_assert(rig_info.hardfault);

    /* A table that must be read: its pattern, read as an entry, is not valid. */
    atomic_store(rig_vpte(&rig, 2, 0), rig_pte(700, RIG_PASS));
    cr_assert(zero(int, vm_map_inval(&rig.map, gpa_from_u64(W(0)), gpa_from_u64(W(512)))));
    cr_assert(eq(int, rig_touch(&rig, W(0), VM_PROT_READ), VM_VPTE_INVALID));
    cr_assert(eq(u64, rig_info.vpte, 700 * 512));
    cr_assert(eq(uint, pager.calls, 6));
    pager.result = VM_PAGER_ERROR;
    atomic_store(rig_vpte(&rig, 2, 0), rig_pte(800, RIG_PASS));
    expect_failure(&rig, W(0), VM_PROT_READ, VM_IO_ERROR);
    rig_fini(&rig);
}

Test(vm_fault, a_root_replaced_during_the_read_is_followed, .timeout = 30)
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

Test(vm_fault, a_read_error_of_a_page_the_root_left_meanwhile_is_no_error, .timeout = 30)
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

Test(vm_fault, tables_in_a_backing_object_are_copied_before_a_walk_marks_them)
{
    struct vm_object *top;
    struct rig rig;
    vpte_t root;

    rig_init(&rig, 0);
    root = rig_tables(&rig, 1, 600, 1, RIG_PASS);
    rig_store(&rig, PAGE(600), 66);
    cr_assert(zero(int, vm_map_remove(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)))));
    cr_assert(zero(int, vm_object_create_default(&rig.sys, RIG_PAGES, &top)));
    top->backing_object = rig.ram;
    rig.ram->shadow_count++;
    rig_map_ram(&rig, top, VM_PROT_ALL);
    rig_window(&rig, W(0), 512, VM_PROT_ALL, &vpte64_format, root);
    cr_assert(eq(u64, rig_load(&rig, W(0)), 66));
    cr_assert(eq(int, rig_mapped(&rig, W(0)), VM_PROT_READ));
    for (unsigned level = 1; level <= 4; level++) {
        cr_assert(ne(u64, atomic_load(rig_vpte(&rig, level, 0)) & VPTE_A, 0));
        cr_assert(eq(u64, *(uint64_t *)vm_page_address(rig_page(top->backing_object, level)),
                     level < 4 ? rig_pte(level + 1, RIG_PASS) : rig_pte(600, RIG_PASS)));
        cr_assert(rig_page(top, level)->dirty);
    }
    cr_assert(eq(u64, rig_meter(&rig, v_cow_faults), 4));
    cr_assert(zero(u64, rig_meter(&rig, v_kind_cow))); /* the fault itself found its page */
    rig_fini(&rig);
}

Test(vm_fault, a_held_page_through_a_window_sets_a_and_m_and_maps_nothing)
{
    struct vm_page *m;
    struct rig rig;

    window_init(&rig, 4, RIG_PASS);
    cr_assert(eq(int, vm_fault_page(&rig.map, gpa_from_u64(W(1)), VM_PROT_READ, VM_FAULT_BURST, &m,
                                    &rig_info), VM_OK));
    cr_assert(eq(uint, m->hold_count, 1));
    cr_assert(m == rig_page(rig.ram, 103));
    vm_page_unhold(m);
    cr_assert(eq(u64, window_flags(&rig, 1), RIG_PASS | VPTE_A));
    atomic_store(&m->dirty, 0);
    cr_assert(eq(int, vm_fault_page(&rig.map, gpa_from_u64(W(1)), VM_PROT_WRITE, VM_FAULT_NORMAL,
                                    &m, &rig_info), VM_OK));
    cr_assert(m->dirty);
    vm_page_unhold(m);
    cr_assert(eq(u64, window_flags(&rig, 1), RIG_PASS | VPTE_A | VPTE_M));
    cr_assert(zero(u64, fake_pmap_mapped(&rig.fake)));
    rig_fini(&rig);
}

Test(vm_fault, a_held_page_of_zeros_is_zeros_in_the_direct_map)
{
    struct vm_page *m;
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(eq(int, vm_fault_page(&rig.map, gpa_from_u64(PAGE(5)), VM_PROT_READ,
                                    VM_FAULT_NORMAL, &m, &rig_info), VM_OK));
    cr_assert(not(vm_page_flag_test(m, VM_PAGE_ZERO)));
    cr_assert(eq(u64, *(uint64_t *)vm_page_address(m), 0));
    cr_assert(eq(u64, rig_meter(&rig, v_zfod), 1));
    cr_assert(zero(u64, rig_meter(&rig, v_ozfod)));
    vm_page_unhold(m);
    rig_fini(&rig);
}

/* ---- The range interlock. ---- */

struct enter_gate {
    _Atomic bool inside, open;
};

static void
gate_enter(void *context, gpa_t gpa, unsigned npages)
{
    struct enter_gate *gate = context;

    (void)npages;
    if (gpa.value < RIG_WINDOW)
        return;
    atomic_store(&gate->inside, true);
    rig_until(atomic_load(&gate->open));
}

struct inval_thread {
    struct rig *rig;
    uint64_t start, end;
    vpte_t root; /* 0: INVAL, else SETMAP */
    pthread_t thread;
    _Atomic bool started, done;
};

static void *
inval_run(void *arg)
{
    struct inval_thread *t = arg;
    gpa_t start = gpa_from_u64(t->start), end = gpa_from_u64(t->end);

    atomic_store(&t->started, true);
    if (t->root == 0)
        cr_assert(zero(int, vm_map_inval(&t->rig->map, start, end)));
    else
        cr_assert(zero(int, vm_map_setmap(&t->rig->map, start, end, t->root)));
    atomic_store(&t->done, true);
    return NULL;
}

static unsigned
ilock_waiters(struct vm_map *map)
{
    unsigned waiters;

    vm_mutex_lock(&map->ilock_mutex);
    waiters = map->ilock_waiters;
    vm_mutex_unlock(&map->ilock_mutex);
    return waiters;
}

/* A fault is inside pmap_enter: what it holds off, and what not. */
static void
expect_exclusion(vpte_t root)
{
    struct enter_gate gate = { false, false };
    struct inval_thread same = { .start = W(0), .end = W(512), .root = root };
    struct rig_fault fault;
    struct rig rig;

    window_init(&rig, 4, RIG_PASS);
    rig_window(&rig, W(512), 512, VM_PROT_ALL, &vpte64_format, rig_pte(0, RIG_PASS | VPTE_PS));
    rig_window(&rig, W(1024), 16, VM_PROT_ALL, &vpte64_format, rig_pte(0, RIG_PASS | VPTE_PS));
    rig.fake.before_enter = gate_enter;
    rig.fake.before_enter_context = &gate;
    rig_fault_start(&fault, &rig, W(2), VM_PROT_READ);
    rig_until(atomic_load(&gate.inside));

    cr_assert(zero(int, vm_map_inval(&rig.map, gpa_from_u64(W(512)), gpa_from_u64(W(1030)))));
    cr_assert(zero(int, vm_map_setmap(&rig.map, gpa_from_u64(W(1024)), gpa_from_u64(W(1040)),
                                      rig_pte(1, RIG_PASS | VPTE_PS))));
    same.rig = &rig;
    cr_assert(zero(int, pthread_create(&same.thread, NULL, inval_run, &same)));
    rig_until(ilock_waiters(&rig.map) == 1);
    cr_assert(not(atomic_load(&same.done)));
    atomic_store(&gate.open, true);
    pthread_join(same.thread, NULL);
    cr_assert(eq(int, rig_fault_join(&fault), VM_OK));
    cr_assert(eq(int, rig_mapped(&rig, W(2)), VM_PROT_NONE));
    rig_fini(&rig);
}

Test(vm_fault, inval_waits_for_a_fault_of_its_range_and_then_drops_its_mapping, .timeout = 30)
{
    expect_exclusion(0);
}

Test(vm_fault, setmap_waits_for_a_fault_of_its_range_and_then_drops_its_mapping, .timeout = 30)
{
    expect_exclusion(RIG_PASS | VPTE_PS);
}

/* Faults hammer one window page while a guest moves it between two pages by the book. */
struct mover {
    struct rig rig;
    _Atomic bool stop;
};

static void *
mover_faults(void *arg)
{
    struct mover *mover = arg;
    struct vm_fault_info info;
    unsigned n = 0;

    while (!atomic_load(&mover->stop)) {
        vm_prot_t access = n++ % 2 ? VM_PROT_READ : VM_PROT_WRITE;
        enum vm_result result = vm_fault(&mover->rig.map, gpa_from_u64(W(n % 4)), access,
                                         VM_FAULT_BURST, &info);

        cr_assert(result == VM_OK || result == VM_VPTE_INVALID);
    }
    return NULL;
}

Test(vm_fault, after_inval_no_mapping_of_the_old_page_appears, .timeout = 120)
{
    struct mover mover = { .stop = false };
    struct rig *rig = &mover.rig;
    pthread_t threads[2];
    unsigned modified = 0;

    window_init(rig, 8, RIG_PASS);
    for (unsigned i = 0; i < 2; i++)
        cr_assert(zero(int, pthread_create(&threads[i], NULL, mover_faults, &mover)));
    for (unsigned i = 0; i < 3000; i++) {
        unsigned index = i % 4;
        _Atomic uint64_t *entry = rig_vpte(rig, 4, index);
        vm_frame_t frame;

        modified += (atomic_exchange(entry, 0) & VPTE_M) != 0;
        cr_assert(zero(int, vm_map_inval(&rig->map, gpa_from_u64(W(index)),
                                         gpa_from_u64(W(index + 1)))));
        for (unsigned look = 0; look < 20; look++)
            cr_assert(not(fake_pmap_lookup(&rig->fake, gpa_from_u64(W(index)), &frame, NULL)));
        cr_assert(eq(u64, atomic_load(entry), 0));
        atomic_store(entry, rig_pte(100 + 3 * (i % 8), RIG_PASS));
        if (i % 8 == 0)
            sched_yield();
    }
    atomic_store(&mover.stop, true);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    cr_assert(gt(uint, modified, 0));
    rig_fini(rig);
}

/*
 * Everything at once: guests store to their own words of shared pages, through
 * RAM and through a window, while the window is invalidated and its root replaced
 * by a copy of the tables.  Every word ends with the last value stored.
 */
#define HAMMER_THREADS 4
#define HAMMER_PAGES 24
#define HAMMER_ROUNDS 1500

struct hammer {
    struct rig *rig;
    unsigned id;
    pthread_t thread;
    uint64_t last[HAMMER_PAGES];
};

static void *
hammer_run(void *arg)
{
    struct hammer *h = arg;
    unsigned seed = h->id * 7919 + 1;

    for (unsigned i = 1; i <= HAMMER_ROUNDS; i++) {
        unsigned page, window;
        uint64_t gpa;

        seed = seed * 1103515245 + 12345;
        page = seed / 65536 % HAMMER_PAGES;
        window = seed / 8192 % 2;
        gpa = (window ? W(page) : PAGE(100 + 3 * page)) + 8 * h->id;
        if (seed / 4096 % 4 == 0) {
            cr_assert(eq(u64, rig_load(h->rig, gpa), h->last[page]));
        } else {
            h->last[page] = i;
            rig_store(h->rig, gpa, i);
        }
        if (i % 64 == 0)
            cr_assert(zero(int, vm_map_inval(&h->rig->map, gpa_from_u64(PAGE(96)),
                                             gpa_from_u64(PAGE(100 + 3 * HAMMER_PAGES)))));
    }
    return NULL;
}

static void *
hammer_edit(void *arg)
{
    struct mover *mover = arg;
    struct rig *rig = &mover->rig;

    for (unsigned i = 0; !atomic_load(&mover->stop); i++) {
        vpte_t root = rig_pte(i % 2 ? 1 : 11, RIG_PASS);
        unsigned page = i % HAMMER_PAGES;

        if (i % 16 == 0)
            cr_assert(zero(int, vm_map_setmap(&rig->map, gpa_from_u64(W(0)), gpa_from_u64(W(512)),
                                              root)));
        else
            cr_assert(zero(int, vm_map_inval(&rig->map, gpa_from_u64(W(page)),
                                             gpa_from_u64(W(page + 1)))));
        sched_yield();
    }
    return NULL;
}

Test(vm_fault, many_threads_lose_no_store_through_ram_and_window, .timeout = 240)
{
    struct hammer hammers[HAMMER_THREADS];
    struct mover mover = { .stop = false };
    struct rig *rig = &mover.rig;
    pthread_t editor;

    rig_init(rig, 0);
    rig_tables(rig, HAMMER_PAGES, 100, 3, RIG_PASS);
    for (unsigned level = 1; level < 4; level++)
        rig_vpte_set(rig, 10 + level, 0, rig_pte(level < 3 ? 11 + level : 4, RIG_PASS));
    rig_window(rig, W(0), 512, VM_PROT_ALL, &vpte64_format, rig_pte(1, RIG_PASS));
    cr_assert(zero(int, pthread_create(&editor, NULL, hammer_edit, &mover)));
    for (unsigned i = 0; i < HAMMER_THREADS; i++) {
        hammers[i] = (struct hammer){ .rig = rig, .id = i };
        cr_assert(zero(int, pthread_create(&hammers[i].thread, NULL, hammer_run, &hammers[i])));
    }
    for (unsigned i = 0; i < HAMMER_THREADS; i++)
        pthread_join(hammers[i].thread, NULL);
    atomic_store(&mover.stop, true);
    pthread_join(editor, NULL);
    for (unsigned i = 0; i < HAMMER_THREADS; i++) {
        for (unsigned page = 0; page < HAMMER_PAGES; page++) {
            cr_assert(eq(u64, rig_load(rig, PAGE(100 + 3 * page) + 8 * i), hammers[i].last[page]));
            cr_assert(eq(u64, rig_load(rig, W(page) + 8 * i), hammers[i].last[page]));
        }
    }
    rig_fini(rig);
}

/* ---- Copying. ---- */

Test(vm_copy, bytes_cross_page_borders_both_ways)
{
    uint8_t out[3 * 4096], in[sizeof out];
    struct rig rig;

    rig_init(&rig, 0);
    for (unsigned i = 0; i < sizeof out; i++)
        out[i] = (uint8_t)(i * 31 + i / 256);
    cr_assert(eq(int, vm_map_write(&rig.map, gpa_from_u64(PAGE(8) - 100), out, sizeof out,
                                   &rig_info), VM_OK));
    cr_assert(eq(int, rig_info.result, VM_OK));
    cr_assert(eq(u64, rig.ram->resident_count, 4));
    cr_assert(eq(int, vm_map_read(&rig.map, gpa_from_u64(PAGE(8) - 100), in, sizeof in,
                                  &rig_info), VM_OK));
    cr_assert(zero(int, memcmp(out, in, sizeof in)));
    for (unsigned p = 7; p < 11; p++)
        cr_assert(rig_page(rig.ram, p)->dirty);
    cr_assert(zero(u64, fake_pmap_mapped(&rig.fake)));
    rig_fini(&rig);
}

Test(vm_copy, nothing_is_copied_for_no_bytes_even_where_nothing_is)
{
    struct rig rig;
    uint8_t byte = 0;

    rig_init(&rig, 0);
    cr_assert(eq(int, vm_map_read(&rig.map, gpa_from_u64(UINT64_MAX), &byte, 0, &rig_info),
                 VM_OK));
    cr_assert(eq(int, vm_map_write(&rig.map, gpa_from_u64(UINT64_MAX), &byte, 0, &rig_info),
                 VM_OK));
    cr_assert(zero(u64, rig_meter(&rig, v_vm_faults)));
    rig_fini(&rig);
}

Test(vm_copy, a_range_that_wraps_around_is_refused_whole)
{
    uint8_t bytes[64] = { 1 };
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(eq(int, vm_map_write(&rig.map, gpa_from_u64(UINT64_MAX - 8), bytes, 64, &rig_info),
                 VM_INVALID_ADDRESS));
    cr_assert(eq(int, rig_info.result, VM_INVALID_ADDRESS));
    cr_assert(eq(u64, rig_info.gpa.value, UINT64_MAX - 8));
    cr_assert(eq(int, vm_map_read(&rig.map, gpa_from_u64(2), bytes, SIZE_MAX, &rig_info),
                 VM_INVALID_ADDRESS));
    cr_assert(zero(u64, rig_meter(&rig, v_vm_faults)));
    rig_fini(&rig);
}

Test(vm_copy, the_first_page_that_fails_ends_the_copy)
{
    uint8_t bytes[2 * 4096];
    struct rig rig;

    rig_init(&rig, 0);
    memset(bytes, 7, sizeof bytes);
    cr_assert(eq(int, vm_map_write(&rig.map, gpa_from_u64(PAGE(RIG_PAGES - 1)), bytes,
                                   sizeof bytes, &rig_info), VM_INVALID_ADDRESS));
    cr_assert(eq(u64, rig_info.gpa.value, PAGE(RIG_PAGES)));
    cr_assert(eq(u64, rig_load(&rig, PAGE(RIG_PAGES - 1)), UINT64_C(0x0707070707070707)));
    cr_assert(zero(int, vm_map_protect(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)),
                                       VM_PROT_READ)));
    cr_assert(eq(int, vm_map_write(&rig.map, gpa_from_u64(0), bytes, 8, &rig_info),
                 VM_PROTECTION));
    cr_assert(eq(int, vm_map_read(&rig.map, gpa_from_u64(0), bytes, 8, &rig_info), VM_OK));
    rig_fini(&rig);
}

Test(vm_copy, copies_go_through_windows_and_mark_the_entries)
{
    uint64_t value = 0;
    struct rig rig;

    window_init(&rig, 4, RIG_PASS);
    cr_assert(eq(int, vm_map_read(&rig.map, gpa_from_u64(W(3)), &value, 8, &rig_info), VM_OK));
    cr_assert(eq(u64, value, 3));
    cr_assert(eq(u64, window_flags(&rig, 3), RIG_PASS | VPTE_A));
    value = 33;
    cr_assert(eq(int, vm_map_write(&rig.map, gpa_from_u64(W(3)), &value, 8, &rig_info), VM_OK));
    cr_assert(eq(u64, window_flags(&rig, 3), RIG_PASS | VPTE_A | VPTE_M));
    cr_assert(eq(u64, rig_load(&rig, PAGE(109)), 33));
    cr_assert(eq(int, vm_map_read(&rig.map, gpa_from_u64(W(4)), &value, 8, &rig_info),
                 VM_VPTE_INVALID));
    cr_assert(eq(uint, rig_info.level, 4));
    rig_fini(&rig);
}
