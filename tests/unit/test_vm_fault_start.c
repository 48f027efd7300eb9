/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Faults in two parts (vm_fault_start, vm_fault_resume, vm_fault_end): the first one waits for
 * nothing, both together are one fault.
 */
#include "tests/unit/alloc_failure.h"
#include "tests/unit/fault_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#define PAGE(n) ((uint64_t)(n) << PAGE_SHIFT)

static struct vm_fault_rest *rest;
static struct vm_fault_info info;

static enum vm_result
start(struct rig *rig, uint64_t page, vm_prot_t access)
{
    return vm_fault_start(&rig->map, gpa_from_u64(PAGE(page)), access, VM_FAULT_NORMAL, NULL, &info,
                          &rest);
}

/* The fault waits, and has been counted as nothing yet. */
static void
expect_waiting(struct rig *rig, uint64_t page, vm_prot_t access)
{
    uint64_t faults = rig_meter(rig, v_vm_faults);

    cr_assert(eq(int, start(rig, page, access), VM_RETRY));
    cr_assert(ne(ptr, rest, NULL));
    cr_assert(eq(int, rig_mapped(rig, PAGE(page)), VM_PROT_NONE));
    cr_assert(eq(u64, rig_meter(rig, v_vm_faults), faults));
}

/* Go on; the whole is one fault and one restart. */
static void
expect_resumed(struct rig *rig, enum vm_result result)
{
    uint64_t faults = rig_meter(rig, v_vm_faults), restarts = rig_meter(rig, v_restarts);

    cr_assert(eq(int, vm_fault_resume(rest, NULL, &info), result));
    cr_assert(eq(int, info.result, result));
    vm_fault_end(rest);
    cr_assert(eq(u64, rig_meter(rig, v_vm_faults), faults + 1));
    cr_assert(eq(u64, rig_meter(rig, v_restarts), restarts));
}

Test(vm_fault_start, a_fault_that_need_not_wait_is_over_at_once)
{
    struct rig rig;

    rig_init(&rig, 0);
    for (unsigned i = 0; i < 2; i++) { /* zeros, resident */
        cr_assert(eq(int, start(&rig, 40, VM_PROT_WRITE), VM_OK));
        cr_assert(eq(ptr, rest, NULL));
        cr_assert(eq(int, rig_mapped(&rig, PAGE(40)), VM_PROT_RW));
        cr_assert(eq(u64, rig_meter(&rig, v_vm_faults), i + 1));
        pmap_remove(&rig.pmap, gpa_from_u64(PAGE(40)), gpa_from_u64(PAGE(41)));
    }
    cr_assert(eq(int, start(&rig, RIG_PAGES, VM_PROT_READ), VM_INVALID_ADDRESS));
    cr_assert(eq(ptr, rest, NULL));
    rig_fini(&rig);
}

Test(vm_fault_start, a_page_of_a_pager_is_left_to_be_read)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    expect_waiting(&rig, 40, VM_PROT_READ);
    cr_assert(zero(uint, pager.calls));
    expect_resumed(&rig, VM_OK);
    cr_assert(info.hardfault);
    cr_assert(eq(u64, rig_meter(&rig, v_majflt), 1));
    cr_assert(eq(u64, rig_load(&rig, PAGE(40)), 40 * 512));
    cr_assert(eq(uint, pager.calls, 1));
    rig_fini(&rig);
}

Test(vm_fault_start, a_read_that_fails_later_fails_the_fault_with_its_details)
{
    struct rig_pager pager;
    struct rig rig;
    gpa_t gpa = gpa_from_u64(PAGE(40) + 24);

    rig_init_pager(&rig, &pager);
    pager.result = VM_PAGER_ERROR;
    cr_assert(eq(int,
                 vm_fault_start(&rig.map, gpa, VM_PROT_READ, VM_FAULT_NORMAL, NULL, &info, &rest),
                 VM_RETRY));
    memset(&info, 0xff, sizeof(info));
    expect_resumed(&rig, VM_IO_ERROR);
    cr_assert(eq(u64, gpa_to_u64(info.gpa), PAGE(40) + 24));
    cr_assert(eq(int, info.access, VM_PROT_READ));
    cr_assert(eq(int, info.entry_prot, VM_PROT_ALL));
    rig_fini(&rig);
}

/* Also when it is gone by then. */
Test(vm_fault_start, a_busy_page_is_left_to_be_waited_for)
{
    struct rig rig;

    rig_init(&rig, 0);
    rig_store(&rig, PAGE(40), 7);
    pmap_remove(&rig.pmap, gpa_from_u64(PAGE(40)), gpa_from_u64(PAGE(41)));
    rig_busy(rig_page(rig.ram, 40));
    expect_waiting(&rig, 40, VM_PROT_READ);
    rig_wakeup(rig_page(rig.ram, 40));
    expect_resumed(&rig, VM_OK);
    cr_assert(eq(u64, rig_load(&rig, PAGE(40)), 7));
    rig_fini(&rig);
}

Test(vm_fault_start, a_fault_without_memory_is_left_to_wait_for_it)
{
    struct rig_pager pager;
    struct rig rig;
    uint64_t waits;

    rig_init_store(&rig, VM_RAM_BUDGET_MIN, 2 * RIG_PAGES);
    rig_map_ram(&rig, rig_pager_object(&rig, RIG_PAGES, &pager), VM_PROT_ALL);
    for (unsigned page = 0; page < 2 * VM_RAM_BUDGET_MIN; page++)
        cr_assert(eq(int, rig_touch(&rig, PAGE(page * 40), VM_PROT_READ), VM_OK));
    waits = rig_meter(&rig, v_pfwait);
    expect_waiting(&rig, 3900, VM_PROT_READ);
    cr_assert(eq(u64, rig_meter(&rig, v_pfwait), waits));
    cr_assert(eq(int, vm_fault_resume(rest, NULL, &info), VM_OK));
    cr_assert(gt(u64, rig_meter(&rig, v_pfwait), waits));
    vm_fault_end(rest);
    rig_fini(&rig);
}

/* It asks once: who asks again finds a fresh supply, and is not slowed down. */
Test(vm_fault_start, a_fault_that_is_slowed_down_sleeps_in_its_second_part)
{
    struct rig rig;

    rig_init(&rig, 64);
    rig.sys.tunables.fast_fault = false;
    for (unsigned page = 0; page < 60; page++)
        cr_assert(eq(int, rig_touch(&rig, PAGE(page), VM_PROT_WRITE), VM_OK));
    rig.sys.tunables.load_enable = true;
    expect_waiting(&rig, 100, VM_PROT_WRITE);
    cr_assert(zero(u64, rig_meter(&rig, v_pflimit)));
    expect_resumed(&rig, VM_OK);
    cr_assert(eq(u64, rig_meter(&rig, v_pflimit), 1));
    rig_fini(&rig);
}

Test(vm_fault_start, what_a_stream_reads_ahead_is_left_when_the_page_is_mapped)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    cr_assert(eq(int, rig_touch(&rig, PAGE(40), VM_PROT_READ), VM_OK));
    pmap_remove(&rig.pmap, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)));
    vm_page_flag_set(rig_page(rig.ram, 40), VM_PAGE_RAM);
    cr_assert(eq(int, start(&rig, 40, VM_PROT_READ), VM_OK));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(40)), VM_PROT_READ));
    cr_assert(ne(ptr, rest, NULL));
    cr_assert(eq(uint, pager.calls, 1));
    vm_fault_end(rest);
    cr_assert(eq(uint, pager.calls, 2));
    rig_fini(&rig);
}

Test(vm_fault_start, without_memory_for_the_rest_the_fault_waits_itself)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    alloc_failure_set(1);
    cr_assert(eq(int, start(&rig, 40, VM_PROT_READ), VM_OK));
    cr_assert(eq(ptr, rest, NULL));
    cr_assert(eq(uint, pager.calls, 1));
    cr_assert(eq(u64, rig_meter(&rig, v_vm_faults), 1));
    rig_fini(&rig);
}

static void *
resume_main(void *unused)
{
    (void)unused;
    enum vm_result result = vm_fault_resume(rest, NULL, &info);
    vm_fault_end(rest);
    return result == VM_OK ? &rest : NULL;
}

Test(vm_fault_start, while_another_thread_waits_for_the_pager_other_faults_go_on)
{
    struct rig_pager pager;
    struct vm_fault_rest *other;
    pthread_t thread;
    void *done;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    pager.have_end = 1000;
    pager.wait = true;
    expect_waiting(&rig, 40, VM_PROT_READ);
    cr_assert(zero(int, pthread_create(&thread, NULL, resume_main, NULL)));
    rig_pager_wait_for(&pager, 1);
    cr_assert(eq(int,
                 vm_fault_start(&rig.map, gpa_from_u64(PAGE(2000)), VM_PROT_WRITE, VM_FAULT_NORMAL,
                                NULL, &rig_info, &other),
                 VM_OK));
    cr_assert(eq(ptr, other, NULL));
    rig_pager_release(&pager);
    cr_assert(zero(int, pthread_join(thread, &done)));
    cr_assert(ne(ptr, done, NULL));
    rig_fini(&rig);
}
