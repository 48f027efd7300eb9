/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fault engine on a fake machine: what each fault maps, what it counts, how it
 * fails, and what it leaves behind (rig_fini checks that nothing stays busy or
 * held and that the counters add up).
 */
#include "vmm/vpagetable/vm_fault.h"

#include "tests/unit/fault_rig.h"
#include "vmm/vpagetable/vm_budget.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <sched.h>
#include <string.h>

#define PAGE(n) ((uint64_t)(n) << PAGE_SHIFT)
#define W(n) (RIG_WINDOW + PAGE(n))

/* --- NORMAL entries ------------------------------------------------------ */

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
    cr_assert(eq(u64, rig_meter(&rig, v_majflt), 0));
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
    cr_assert(eq(
        int, vm_fault_page(&rig.map, gpa_from_u64(0), VM_PROT_READ, VM_FAULT_NORMAL, &m, &rig_info),
        VM_OK));
    cr_assert(not(m->dirty));
    vm_page_unhold(m);
    cr_assert(eq(
        int, vm_fault_page(&rig.map, gpa_from_u64(0), VM_PROT_READ, VM_FAULT_DIRTY, &m, &rig_info),
        VM_OK));
    cr_assert(m->dirty);
    vm_page_unhold(m);
    rig_fini(&rig);
}

/* --- Errors; each as vm_fault and as vm_fault_page reports it ------------ */

Test(vm_fault, an_address_without_an_entry_is_invalid)
{
    struct rig rig;

    rig_init(&rig, 0);
    rig_expect_failure(&rig, PAGE(RIG_PAGES), VM_PROT_READ, VM_INVALID_ADDRESS);
    rig_expect_failure(&rig, UINT64_MAX, VM_PROT_WRITE, VM_INVALID_ADDRESS);
    cr_assert(zero(int, rig_info.entry_prot));
    rig_fini(&rig);
}

Test(vm_fault, an_access_the_entry_forbids_is_a_protection_failure)
{
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(zero(int, vm_map_protect(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)),
                                       VM_PROT_READ)));
    rig_expect_failure(&rig, 5, VM_PROT_WRITE, VM_PROTECTION);
    rig_expect_failure(&rig, 5, VM_PROT_EXECUTE, VM_PROTECTION);
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
    rig_expect_failure(&rig, W(0), VM_PROT_READ, VM_NOFAULT);
    rig_fini(&rig);
}

Test(vm_fault, a_page_beyond_the_size_of_the_object_is_refused)
{
    struct rig rig;

    rig_init(&rig, 0);
    rig.ram->size = 8;
    rig_expect_failure(&rig, PAGE(8), VM_PROT_READ, VM_BEYOND_OBJECT);
    cr_assert(eq(int, rig_touch(&rig, PAGE(7), VM_PROT_READ), VM_OK));
    rig.ram->size = RIG_PAGES;
    rig_fini(&rig);
}

Test(vm_fault, a_dead_object_is_refused_and_its_tables_are_left_alone)
{
    struct rig rig;
    vpte_t root;

    rig_init(&rig, 0);
    root = rig_tables(&rig, 1, 100, 1, RIG_PASS);
    rig_window(&rig, W(0), 4, VM_PROT_ALL, &vpte64_format, root);
    rig.ram->flags |= OBJ_DEAD;
    cr_assert(eq(int, rig_burst(&rig, PAGE(1), VM_PROT_READ), VM_OBJECT_DEAD));
    cr_assert(eq(int, rig_burst(&rig, W(0), VM_PROT_READ), VM_OBJECT_DEAD));
    for (unsigned level = 1; level < 5; level++)
        cr_assert(eq(u64, atomic_load(rig_vpte(&rig, level, 0)) & 0xfff, RIG_PASS));
    rig.ram->flags &= ~(unsigned)OBJ_DEAD;
    rig_fini(&rig);
}

Test(vm_fault, a_used_up_ram_budget_is_a_host_failure_that_names_it)
{
    struct rig rig;

    rig_init(&rig, VM_RAM_BUDGET_MIN);
    for (unsigned i = 0; i < VM_RAM_BUDGET_MIN; i++)
        cr_assert(eq(int, rig_touch(&rig, PAGE(9 * i), VM_PROT_WRITE), VM_OK));
    rig_expect_failure(&rig, PAGE(5), VM_PROT_READ, VM_HOST_FAILURE);
    cr_assert(eq(int, rig_info.error, -ENOMEM));
    cr_assert(zero(int, strncmp(rig_info.cause, "RAM budget", 10)));
    cr_assert(strstr(rig_info.cause, "--ram") != NULL && strstr(rig_info.cause, "--swap") != NULL);
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
    cr_assert(zero(u64, vm_budget_resident(&rig.sys)));
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

/* --- Busy pages ---------------------------------------------------------- */

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
    cr_assert(eq(int,
                 vm_fault_page(&rig.map, gpa_from_u64(PAGE(2)), VM_PROT_WRITE, VM_FAULT_NORMAL, &m,
                               &rig_info),
                 VM_OK));
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

/* --- Wired entries ------------------------------------------------------- */

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

/* --- Shadow chains ------------------------------------------------------- */

struct chain {
    struct rig rig;
    struct vm_object *top, *middle, *bottom; /* bottom has pages 0..15 of value 1000 + p */
};

/* The RAM of the rig is `top`; what shows through is two pages off. */
static void
chain_init(struct chain *c)
{
    struct rig *rig = &c->rig;

    rig_init_empty(rig, 0);
    rig->sys.tunables.prefault_pages = 0;
    cr_assert(zero(int, vm_object_create_default(&rig->sys, 32, &c->bottom)));
    rig_map_ram(rig, c->bottom, VM_PROT_ALL);
    for (unsigned p = 0; p < 16; p++)
        rig_store(rig, PAGE(p), 1000 + p);
    cr_assert(zero(int, vm_map_remove(&rig->map, gpa_from_u64(0), gpa_from_u64(PAGE(32)))));
    cr_assert(zero(int, vm_object_create_default(&rig->sys, 64, &c->middle)));
    cr_assert(zero(int, vm_object_create_default(&rig->sys, 64, &c->top)));
    rig_shadow(c->top, c->middle, 0);
    rig_shadow(c->middle, c->bottom, 2);
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
    vm_object_ref(c.middle);
    cr_assert(eq(u64, rig_load(&c.rig, PAGE(5)), 55));
    rig_store(&c.rig, PAGE(5), 56);
    cr_assert(eq(u64, *(uint64_t *)vm_page_address(m), 55));
    vm_object_unref(c.middle);
    cr_assert(eq(u64, rig_load(&c.rig, PAGE(5)), 56));
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
    vm_object_ref(c.bottom); /* or else it would be collapsed into the other */
    cr_assert(eq(u64, rig_load(&c.rig, PAGE(5)), 1007));
    cr_assert(eq(int,
                 vm_fault_page(&c.rig.map, gpa_from_u64(PAGE(5)), VM_PROT_READ, VM_FAULT_NORMAL, &m,
                               &rig_info),
                 VM_OK));
    cr_assert(m == rig_page(c.bottom, 7));
    vm_page_unhold(m);
    cr_assert(eq(int,
                 vm_fault_page(&c.rig.map, gpa_from_u64(PAGE(5)), VM_PROT_WRITE, VM_FAULT_NORMAL,
                               &m, &rig_info),
                 VM_OK));
    cr_assert(m == rig_page(c.top, 5));
    cr_assert(eq(u64, *(uint64_t *)vm_page_address(m), 1007));
    vm_page_unhold(m);
    cr_assert(eq(int, rig_mapped(&c.rig, PAGE(5)), VM_PROT_NONE));
    vm_object_unref(c.bottom);
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

    rig_init_empty(&rig, 0);
    cr_assert(zero(int, vm_object_create_default(&rig.sys, 64, &top)));
    rig_shadow(top, rig_pager_object(&rig, 32, &pager), 0);
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

/* --- ahead of the accesses ------------------------------------------------- */

/* As a loader does. */
static void
load(struct rig *rig, unsigned start, unsigned end)
{
    struct vm_fault_info info;

    for (uint64_t p = start; p < end; p++)
        cr_assert(eq(int,
                     vm_map_write(&rig->map, gpa_from_u64(p << PAGE_SHIFT), &p, sizeof(p), &info),
                     VM_OK));
}

static void
ahead(struct rig *rig, uint64_t start, uint64_t end)
{
    vm_fault_ahead(&rig->map, gpa_from_u64(start << PAGE_SHIFT), gpa_from_u64(end << PAGE_SHIFT));
}

Test(vm_fault, what_was_written_is_mapped_ahead_in_few_steps_and_counts_as_no_fault)
{
    struct rig rig;
    uint64_t faults;

    rig_init(&rig, 0);
    load(&rig, 10, 1010);
    faults = rig_meter(&rig, v_vm_faults);
    ahead(&rig, 10, 1010);
    cr_assert(eq(u64, fake_pmap_mapped(&rig.fake), 1000));
    cr_assert(le(uint, rig.fake.enters, 20));
    cr_assert(eq(u64, rig_meter(&rig, v_vm_faults), faults));
    cr_assert(eq(int, rig_mapped(&rig, UINT64_C(500) << PAGE_SHIFT), VM_PROT_RW));
    rig_fini(&rig);
}

Test(vm_fault, mapping_ahead_makes_no_page_and_ends_where_there_is_none)
{
    struct rig rig;

    rig_init(&rig, 0);
    load(&rig, 0, 20);
    ahead(&rig, 0, 40);
    ahead(&rig, 100, 140);
    ahead(&rig, RIG_PAGES, RIG_PAGES + 10); /* nothing is mapped there */
    cr_assert(eq(u64, fake_pmap_mapped(&rig.fake), 20));
    cr_assert(eq(u64, rig.ram->resident_count, 20));
    rig_fini(&rig);
}
