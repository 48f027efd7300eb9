/* SPDX-License-Identifier: BSD-2-Clause */
/* Faults on pages of a pager: reads, their failures, and what changes meanwhile. */
#include "tests/unit/fault_rig.h"
#include "vmm/vpagetable/vm_budget.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <sched.h>

#define PAGE(n) ((uint64_t)(n) << PAGE_SHIFT)

/* --- Pagers -------------------------------------------------------------- */

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

Test(vm_fault, a_clean_page_of_a_file_is_mapped_read_only_until_it_is_written)
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
        rig_expect_failure(&rig, PAGE(40), VM_PROT_READ, cases[i].fault);
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
    rig_expect_failure(&rig, PAGE(40), VM_PROT_READ, VM_IO_ERROR);
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
        vm_page_flag_clear(rig_page(rig.ram, p), VM_PAGE_RAM); /* no more for now */
        cr_assert(eq(u64, rig_load(&rig, PAGE(p)), p * 512));
        cr_assert(eq(uint, pager.calls, 1));
    }

    /* Not over what is there, nor beyond what the pager has. */
    cr_assert(eq(int, rig_touch(&rig, PAGE(pager.last_end), VM_PROT_READ), VM_OK));
    cr_assert(eq(u64, rig_meter(&rig, v_pagein), pager.pages));
    pager.have_first = 1000;
    pager.have_end = 1002;
    cr_assert(eq(int, rig_touch(&rig, PAGE(1001), VM_PROT_READ), VM_OK));
    cr_assert(eq(u64, pager.last_first, 1000));
    cr_assert(eq(u64, pager.last_end, 1002));
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
    cr_assert(eq(int, rig_touch(&rig, PAGE(128), VM_PROT_READ), VM_OK));
    cr_assert(eq(uint, pager.pages, 1 + 128)); /* a cluster and the one that follows */
    cr_assert(eq(u64, pager.last_first, 192));
    cr_assert(eq(u64, pager.last_end, 256));
    rig_fini(&rig);
}

Test(vm_fault, reading_along_leaves_an_eighth_of_the_ram_budget)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_empty(&rig, 16);
    rig_map_ram(&rig, rig_pager_object(&rig, RIG_PAGES, &pager), VM_PROT_ALL);
    cr_assert(eq(int, rig_touch(&rig, PAGE(40), VM_PROT_READ), VM_OK));
    cr_assert(eq(uint, pager.pages, 14));
    cr_assert(eq(int, rig_touch(&rig, PAGE(80), VM_PROT_READ), VM_OK));
    cr_assert(eq(int, rig_touch(&rig, PAGE(90), VM_PROT_READ), VM_OK));
    cr_assert(eq(uint, pager.pages, 16));
    cr_assert(eq(int, rig_touch(&rig, PAGE(100), VM_PROT_READ), VM_OK));
    cr_assert(le(u64, vm_budget_resident(&rig.sys), 16));
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
    cr_assert(zero(u64, vm_budget_resident(&rig.sys)));
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
