/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Read-ahead: what is read along and ahead, when a mark is heeded, what a stream lets
 * go of behind it, and that none of it can fail a fault.
 */
#include "vmm/vpagetable/vm_readahead.h"

#include "tests/unit/fault_rig.h"
#include "vmm/vpagetable/vm_budget.h"
#include "vmm/vpagetable/vm_prefault.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define PAGE(n) ((uint64_t)(n) << PAGE_SHIFT)

static void
advise(struct rig *rig, enum vm_map_advice advice)
{
    cr_assert(zero(int, vm_map_advise(&rig->map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)),
                                      advice)));
}

static void
touch(struct rig *rig, uint64_t page)
{
    cr_assert(eq(int, rig_touch(rig, PAGE(page), VM_PROT_READ), VM_OK));
}

static bool
marked(struct rig *rig, uint64_t page)
{
    struct vm_page *m = rig_page(rig->ram, page);

    return m != NULL && vm_page_flag_test(m, VM_PAGE_RAM);
}

static bool
resident(struct rig *rig, uint64_t page)
{
    return rig_page(rig->ram, page) != NULL;
}

static bool
unmapped(struct rig *rig, uint64_t page)
{
    return rig_mapped(rig, PAGE(page)) == VM_PROT_NONE;
}

static unsigned
queue_of(struct rig *rig, uint64_t page)
{
    struct vm_page *m = rig_page(rig->ram, page);

    cr_assert(m != NULL);
    return m->queue;
}

/* The latest read was of [first, end). */
static void
expect_read(const struct rig_pager *pager, unsigned calls, uint64_t first, uint64_t end)
{
    cr_assert(eq(uint, pager->calls, calls));
    cr_assert(eq(u64, pager->last_first, first));
    cr_assert(eq(u64, pager->last_end, end));
}

/* Set the mark by hand. */
static void
set_mark(struct rig *rig, uint64_t page)
{
    vm_page_flag_set(rig_page(rig->ram, page), VM_PAGE_RAM);
}

/* --- Reading along ------------------------------------------------------- */

Test(vm_readahead, an_isolated_touch_reads_seven_pages_before_and_eight_after_it)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    touch(&rig, 100);
    expect_read(&pager, 1, 93, 109);
    for (uint64_t p = 93; p < 109; p++)
        cr_assert(marked(&rig, p) == (p == 105)); /* the first one prefault leaves alone */
    rig_fini(&rig);
}

Test(vm_readahead, reading_along_stops_at_resident_pages_and_at_both_ends_of_the_object)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    touch(&rig, 2);
    expect_read(&pager, 1, 0, 11);
    touch(&rig, RIG_PAGES - 1);
    expect_read(&pager, 2, RIG_PAGES - 8, RIG_PAGES);
    touch(&rig, 100);
    touch(&rig, 112);
    expect_read(&pager, 4, 109, 121);
    touch(&rig, 90);
    expect_read(&pager, 5, 83, 93);
    rig_fini(&rig);
}

Test(vm_readahead, random_advice_reads_the_page_alone)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    advise(&rig, VM_ADVICE_RANDOM);
    touch(&rig, 100);
    expect_read(&pager, 1, 100, 101);
    cr_assert(not(marked(&rig, 100)));
    rig_fini(&rig);
}

Test(vm_readahead, sequential_advice_reads_a_cluster_and_the_next_one_and_nothing_before)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    advise(&rig, VM_ADVICE_SEQUENTIAL);
    touch(&rig, 64);
    expect_read(&pager, 2, 128, 192);
    cr_assert(not(resident(&rig, 63)));
    cr_assert(not(marked(&rig, 64)));
    cr_assert(marked(&rig, 128));
    rig_fini(&rig);
}

Test(vm_readahead, a_page_behind_eight_resident_ones_is_a_streams)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    advise(&rig, VM_ADVICE_RANDOM);
    for (unsigned p = 24; p < 32; p++)
        touch(&rig, p);
    for (unsigned p = 217; p < 224; p++)
        touch(&rig, p);
    advise(&rig, VM_ADVICE_NORMAL);
    touch(&rig, 32);
    cr_assert(eq(uint, pager.calls, 17)); /* its cluster and, ahead of the guest, the next */
    cr_assert(resident(&rig, 63));
    cr_assert(eq(u64, pager.last_first, 64));
    touch(&rig, 224); /* seven are not enough */
    expect_read(&pager, 18, 224, 233);
    rig_fini(&rig);
}

/* --- Reading ahead ------------------------------------------------------- */

Test(vm_readahead, the_touch_of_a_mark_reads_the_next_cluster_and_moves_the_mark)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    touch(&rig, 0);
    expect_read(&pager, 1, 0, 9);
    touch(&rig, 4); /* not the mark */
    cr_assert(eq(uint, pager.calls, 1));
    touch(&rig, 5);
    expect_read(&pager, 2, 9, 32); /* to the border of a cluster */
    cr_assert(not(marked(&rig, 5)));
    cr_assert(marked(&rig, 9));
    touch(&rig, 5); /* once */
    cr_assert(eq(uint, pager.calls, 2));
    touch(&rig, 9);
    expect_read(&pager, 3, 32, 64);
    cr_assert(marked(&rig, 32));
    cr_assert(eq(u64, rig_meter(&rig, v_majflt), 1)); /* none of these waited */
    rig_fini(&rig);
}

Test(vm_readahead, a_stream_waits_for_two_reads_and_reads_every_page_once)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    for (uint64_t p = 0; p < RIG_PAGES; p++)
        cr_assert(eq(u64, rig_load(&rig, PAGE(p)), p * 512));
    cr_assert(le(u64, rig_meter(&rig, v_majflt), 2));
    cr_assert(eq(uint, pager.pages, RIG_PAGES));
    cr_assert(le(uint, pager.calls, RIG_PAGES / VM_READAHEAD_NORMAL + 2));
    cr_assert(le(u64, rig_meter(&rig, v_vm_faults), RIG_PAGES / VM_READAHEAD_NORMAL + 8));
    rig_fini(&rig);
}

Test(vm_readahead, two_streams_in_one_object_do_not_disturb_each_other)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    for (uint64_t p = 0; p < 1024; p++) {
        cr_assert(eq(u64, rig_load(&rig, PAGE(p)), p * 512));
        cr_assert(eq(u64, rig_load(&rig, PAGE(2048 + p)), (2048 + p) * 512));
    }
    cr_assert(le(u64, rig_meter(&rig, v_majflt), 6));
    rig_fini(&rig);
}

Test(vm_readahead, the_marked_page_is_mapped_before_what_follows_is_read, .timeout = 30)
{
    struct rig_pager pager;
    struct rig_fault fault;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    touch(&rig, 0);
    pager.wait = true;
    rig_fault_start(&fault, &rig, PAGE(5), VM_PROT_READ);
    rig_pager_wait_for(&pager, 1);
    cr_assert(eq(int, rig_mapped(&rig, PAGE(5)), VM_PROT_READ));
    cr_assert(not(atomic_load(&fault.done)));
    rig_pager_release(&pager);
    cr_assert(eq(int, rig_fault_join(&fault), VM_OK));
    cr_assert(not(fault.info.hardfault));
    rig_fini(&rig);
}

Test(vm_readahead, who_needs_a_page_that_is_read_ahead_waits_for_it, .timeout = 30)
{
    struct rig_pager pager;
    struct rig_fault ahead, fault;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    touch(&rig, 0);
    pager.wait = true;
    rig_fault_start(&ahead, &rig, PAGE(5), VM_PROT_READ);
    rig_pager_wait_for(&pager, 1);
    rig_fault_start(&fault, &rig, PAGE(20), VM_PROT_READ);
    rig_until(rig_meter(&rig, v_intrans) != 0);
    rig_pager_release(&pager);
    cr_assert(eq(int, rig_fault_join(&fault), VM_OK));
    cr_assert(eq(int, rig_fault_join(&ahead), VM_OK));
    cr_assert(eq(uint, pager.calls, 2));
    rig_fini(&rig);
}

Test(vm_readahead, an_entry_may_go_while_its_object_is_read_ahead, .timeout = 30)
{
    struct rig_pager pager;
    struct rig_fault fault;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    touch(&rig, 0);
    pager.wait = true;
    rig_fault_start(&fault, &rig, PAGE(5), VM_PROT_READ);
    rig_pager_wait_for(&pager, 1);
    cr_assert(zero(int, vm_map_remove(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)))));
    vm_object_unref(rig.ram); /* the fault's is the last reference */
    rig.ram = NULL;
    rig_pager_release(&pager);
    cr_assert(eq(int, rig_fault_join(&fault), VM_OK));
    cr_assert(zero(u64, vm_budget_resident(&rig.sys)));
    rig_fini(&rig);
}

Test(vm_readahead,
     the_next_cluster_begins_at_the_first_page_that_is_absent_and_ends_at_a_resident_one)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    advise(&rig, VM_ADVICE_RANDOM);
    for (unsigned p = 100; p < 110; p++)
        touch(&rig, p);
    touch(&rig, 115);
    advise(&rig, VM_ADVICE_NORMAL);
    set_mark(&rig, 102);
    touch(&rig, 102);
    expect_read(&pager, 12, 110, 115);
    rig_fini(&rig);
}

Test(vm_readahead, nothing_is_read_where_all_that_is_near_is_resident)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    advise(&rig, VM_ADVICE_RANDOM);
    for (unsigned p = 100; p <= 100 + VM_READAHEAD_MAX; p++)
        touch(&rig, p);
    advise(&rig, VM_ADVICE_NORMAL);
    set_mark(&rig, 100);
    touch(&rig, 100);
    cr_assert(eq(uint, pager.calls, VM_READAHEAD_MAX + 1));
    cr_assert(not(marked(&rig, 100)));
    set_mark(&rig, 101);
    touch(&rig, 101); /* the farthest it looks */
    cr_assert(eq(uint, pager.calls, VM_READAHEAD_MAX + 2));
    cr_assert(eq(u64, pager.last_first, 101 + VM_READAHEAD_MAX));
    rig_fini(&rig);
}

Test(vm_readahead, reading_ahead_ends_with_the_object_and_with_what_the_pager_has)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    touch(&rig, RIG_PAGES - 1);
    set_mark(&rig, RIG_PAGES - 1);
    touch(&rig, RIG_PAGES - 1);
    cr_assert(eq(uint, pager.calls, 1));
    pager.have_end = 75;
    touch(&rig, 64);
    set_mark(&rig, 72);
    touch(&rig, 72);
    expect_read(&pager, 3, 73, 75);
    set_mark(&rig, 74);
    touch(&rig, 74);
    cr_assert(eq(uint, pager.calls, 3));
    rig_fini(&rig);
}

Test(vm_readahead, random_advice_drops_a_mark_and_reads_nothing)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    touch(&rig, 32);
    advise(&rig, VM_ADVICE_RANDOM);
    touch(&rig, 37);
    cr_assert(eq(uint, pager.calls, 1));
    cr_assert(not(marked(&rig, 37)));
    rig_fini(&rig);
}

Test(vm_readahead, when_memory_is_short_only_what_is_needed_is_read)
{
    struct rig_pager pager;
    struct rig rig;
    uint64_t page = 0;

    rig_init_empty(&rig, 64);
    rig_map_ram(&rig, rig_pager_object(&rig, RIG_PAGES, &pager), VM_PROT_ALL);
    advise(&rig, VM_ADVICE_RANDOM);
    while (vm_prefault_room(&rig.sys) > 3)
        touch(&rig, 2 * page++);
    advise(&rig, VM_ADVICE_SEQUENTIAL);
    touch(&rig, 1000);
    cr_assert(eq(u64, vm_prefault_room(&rig.sys), 0));
    cr_assert(eq(u64, pager.last_end, 1003)); /* one page of the three was the fault's own */
    touch(&rig, 2000);
    cr_assert(eq(u64, pager.last_first, 2000));
    cr_assert(eq(u64, pager.last_end, 2001));
    set_mark(&rig, 2000);
    page = pager.calls;
    touch(&rig, 2000);
    cr_assert(eq(u64, pager.calls, page));
    rig_fini(&rig);
}

Test(vm_readahead, a_read_ahead_that_fails_fails_no_fault_and_leaves_no_page)
{
    static const enum vm_pager_result results[] = { VM_PAGER_FAIL, VM_PAGER_BAD, VM_PAGER_ERROR };

    for (unsigned i = 0; i < 3; i++) {
        struct rig_pager pager;
        struct rig rig;

        rig_init_pager(&rig, &pager);
        touch(&rig, 0);
        pager.result = results[i];
        touch(&rig, 5);
        cr_assert(eq(uint, pager.calls, 2));
        cr_assert(eq(u64, rig.ram->resident_count, 9));
        cr_assert(eq(u64, rig_meter(&rig, v_pagein), 9));
        /* Who needs the page is told. */
        cr_assert(eq(int, rig_touch(&rig, PAGE(9), VM_PROT_READ),
                     results[i] == VM_PAGER_BAD ? VM_BEYOND_OBJECT : VM_IO_ERROR));
        pager.result = VM_PAGER_OK;
        cr_assert(eq(u64, rig_load(&rig, PAGE(9)), 9 * 512));
        rig_fini(&rig);
    }
}

Test(vm_readahead, a_page_of_a_read_ahead_that_is_not_done_is_freed_and_the_others_stay)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    touch(&rig, 0);
    pager.skip = 12;
    touch(&rig, 5);
    cr_assert(resident(&rig, 11) && !resident(&rig, 12) && resident(&rig, 13));
    rig_fini(&rig);
}

Test(vm_readahead, the_monitors_own_access_is_a_stream_too)
{
    struct vm_page *m;
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    for (uint64_t p = 0; p < 256; p++) {
        cr_assert(eq(int,
                     vm_fault_page(&rig.map, gpa_from_u64(PAGE(p)), VM_PROT_READ, VM_FAULT_NORMAL,
                                   &m, &rig_info),
                     VM_OK));
        vm_page_unhold(m);
    }
    cr_assert(eq(u64, rig_meter(&rig, v_majflt), 1));
    rig_fini(&rig);
}

Test(vm_readahead, a_mark_in_a_backing_object_is_heeded_there)
{
    struct vm_object *top;
    vm_pindex_t offset = 64;
    struct rig_pager pager;
    struct rig rig;

    rig_init_empty(&rig, 0);
    top = rig_pager_object(&rig, RIG_PAGES, &pager);
    cr_assert(zero(int, vm_object_shadow(&top, &offset, 1024)));
    rig_map_ram(&rig, top, VM_PROT_ALL);
    touch(&rig, 0);
    expect_read(&pager, 1, 57, 73);
    touch(&rig, 5);
    expect_read(&pager, 2, 73, 96);
    cr_assert(zero(u64, rig.ram->resident_count));
    rig_fini(&rig);
}

/* --- Deactivate-behind --------------------------------------------------- */

/* Pages [0, npages) resident and mapped read-only, one by one. */
static void
fill(struct rig *rig, unsigned npages)
{
    advise(rig, VM_ADVICE_RANDOM);
    for (unsigned p = 0; p < npages; p++)
        touch(rig, p);
    advise(rig, VM_ADVICE_NORMAL);
}

Test(vm_readahead, a_stream_lets_go_of_16_pages_that_end_16_before_its_mark)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    fill(&rig, 101);
    rig_store(&rig, PAGE(80), 7); /* dirty */
    set_mark(&rig, 100);
    touch(&rig, 100);
    for (unsigned p = 0; p < 100; p++) {
        bool behind = p > 100 - 32 && p <= 100 - 16;

        cr_assert(unmapped(&rig, p) == behind, "page %u", p);
        cr_assert(eq(uint, queue_of(&rig, p),
                     !behind   ? PQ_ACTIVE
                     : p == 80 ? PQ_INACTIVE
                               : PQ_CACHE));
        cr_assert(vm_page_flag_test(rig_page(rig.ram, p), VM_PAGE_REFERENCED) == !behind);
    }
    cr_assert(eq(u64, rig_load(&rig, PAGE(80)), 7)); /* all of it is still there */
    cr_assert(eq(u64, rig_load(&rig, PAGE(81)), 81 * 512));
    cr_assert(eq(uint, queue_of(&rig, 80), PQ_ACTIVE));
    cr_assert(eq(uint, queue_of(&rig, 81), PQ_INACTIVE)); /* mapped along: not in the cache */
    touch(&rig, 70);
    cr_assert(eq(uint, queue_of(&rig, 70), PQ_ACTIVE));
    rig_fini(&rig);
}

Test(vm_readahead, what_is_busy_held_or_wired_is_not_let_go_of)
{
    struct rig_pager pager;
    struct vm_page *m[3];
    struct rig rig;

    rig_init_pager(&rig, &pager);
    fill(&rig, 101);
    for (unsigned i = 0; i < 3; i++)
        m[i] = rig_page(rig.ram, 82 - i);
    rig_busy(m[0]);
    vm_mutex_lock(&rig.ram->lock);
    vm_page_hold(m[1]);
    vm_page_wire(m[2]);
    vm_mutex_unlock(&rig.ram->lock);
    vm_deactivate_behind(rig.ram, 100);
    for (unsigned p = 69; p <= 84; p++)
        cr_assert(unmapped(&rig, p) == (p < 80 || p > 82), "page %u", p);
    rig_wakeup(m[0]);
    vm_page_unhold(m[1]);
    vm_mutex_lock(&rig.ram->lock);
    vm_page_unwire(m[2], true);
    vm_mutex_unlock(&rig.ram->lock);
    rig_fini(&rig);
}

Test(vm_readahead, what_a_stream_lets_go_of_is_unmapped_by_one_operation_in_a_chunk)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    fill(&rig, 101);
    rig.fake.removes = 0;
    vm_deactivate_behind(rig.ram, 100); /* 69 to 84 */
    cr_expect(eq(uint, rig.fake.removes, 1));
    cr_expect(unmapped(&rig, 69) && unmapped(&rig, 84));
    rig_fini(&rig);
}

Test(vm_readahead, letting_go_ends_at_the_first_page_that_is_absent_and_at_page_0)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    advise(&rig, VM_ADVICE_RANDOM);
    for (unsigned p = 0; p <= 100; p++) {
        if (p != 80)
            touch(&rig, p);
    }
    vm_deactivate_behind(rig.ram, 100);
    for (unsigned p = 69; p <= 84; p++) {
        if (p != 80)
            cr_assert(unmapped(&rig, p) == (p > 80), "page %u", p);
    }
    vm_deactivate_behind(rig.ram, 15); /* there is nothing 16 before */
    cr_assert(eq(int, rig_mapped(&rig, PAGE(0)), VM_PROT_READ));
    vm_deactivate_behind(rig.ram, 17);
    cr_assert(eq(int, rig_mapped(&rig, PAGE(0)), VM_PROT_NONE));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(1)), VM_PROT_NONE));
    cr_assert(eq(int, rig_mapped(&rig, PAGE(2)), VM_PROT_READ));
    rig_fini(&rig);
}

Test(vm_readahead, sequential_advice_lets_go_at_every_read_and_the_others_only_at_a_mark)
{
    static const enum vm_map_advice advices[] = { VM_ADVICE_NORMAL, VM_ADVICE_RANDOM,
                                                  VM_ADVICE_SEQUENTIAL };

    for (unsigned i = 0; i < 3; i++) {
        struct rig_pager pager;
        struct rig rig;

        rig_init_pager(&rig, &pager);
        fill(&rig, 96);
        rig.sys.tunables.prefault_pages = 0;
        set_mark(&rig, 95); /* for RANDOM: which drops it */
        if (advices[i] == VM_ADVICE_RANDOM) {
            advise(&rig, advices[i]);
            touch(&rig, 95);
        }
        vm_page_flag_clear(rig_page(rig.ram, 95), VM_PAGE_RAM);
        pager.have_end = 97; /* a read of one page, which gets no mark */
        advise(&rig, advices[i]);
        touch(&rig, 96);
        cr_assert(unmapped(&rig, 80) == (advices[i] == VM_ADVICE_SEQUENTIAL));
        touch(&rig, 95); /* resident: no read */
        cr_assert(eq(int, rig_mapped(&rig, PAGE(79)),
                     advices[i] == VM_ADVICE_SEQUENTIAL ? VM_PROT_NONE : VM_PROT_READ));
        rig_fini(&rig);
    }
}

Test(vm_readahead, a_clean_page_of_an_object_without_a_pager_is_left_to_page_out)
{
    struct rig rig;

    rig_init(&rig, 0);
    cr_assert(zero(int, vm_map_protect(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)),
                                       VM_PROT_READ)));
    for (unsigned p = 0; p < 32; p++)
        touch(&rig, p);
    cr_assert(not(rig_page(rig.ram, 10)->dirty));
    vm_deactivate_behind(rig.ram, 31);
    cr_assert(eq(uint, queue_of(&rig, 10), PQ_INACTIVE));
    rig_fini(&rig);
}

Test(vm_readahead, a_stream_with_sequential_advice_keeps_few_pages_active)
{
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    advise(&rig, VM_ADVICE_SEQUENTIAL);
    for (uint64_t p = 0; p < 1024; p++)
        cr_assert(eq(u64, rig_load(&rig, PAGE(p)), p * 512));
    cr_assert(ge(u64, rig.sys.queue_length[PQ_CACHE], 1024 / 64 * 14));
    rig_fini(&rig);
}

/* --- Threads ------------------------------------------------------------- */

#define STREAMS 4

static void *
stream_main(void *arg)
{
    struct rig *rig = arg;

    for (uint64_t p = 0; p < 1024; p++)
        (void)rig_load(rig, PAGE(p));
    return NULL;
}

Test(vm_readahead, streams_of_several_threads_read_every_page_right, .timeout = 120)
{
    pthread_t threads[STREAMS];
    struct rig_pager pager;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    advise(&rig, VM_ADVICE_SEQUENTIAL);
    for (unsigned i = 0; i < STREAMS; i++)
        cr_assert(zero(int, pthread_create(&threads[i], NULL, stream_main, &rig)));
    for (unsigned i = 0; i < STREAMS; i++)
        pthread_join(threads[i], NULL);
    for (uint64_t p = 0; p < 1024; p++)
        cr_assert(eq(u64, rig_load(&rig, PAGE(p)), p * 512));
    cr_assert(eq(u64, rig_meter(&rig, v_pagein), pager.pages));
    rig_fini(&rig);
}
