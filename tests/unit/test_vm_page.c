/* SPDX-License-Identifier: BSD-2-Clause */
/* The states of a page, its queues, its frame. */
#include "vmm/vpagetable/vm_page.h"

#include "tests/unit/page_rig.h"
#include "vmm/vpagetable/vm_budget.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

TestSuite(vm_page, .timeout = 120);
TestSuite(vm_page_abort, .timeout = 60);

CHECKED_TEST(vm_page, a_new_page_is_busy_not_valid_a_hole_and_on_no_queue)
{
    struct vm_page *m = alloc_page(object, 17);

    cr_assert_eq(atomic_load(&m->flags), VM_PAGE_BUSY | VM_PAGE_ZERO);
    cr_assert(!m->valid && !m->dirty && m->queue == PQ_NONE);
    cr_assert(m->object == object && vm_page_pindex(m) == 17);
    cr_assert_eq(vm_page_slot(m), object->extent + 17);
    cr_assert_eq(vm_page_frame(m), vm_page_slot(m));
    cr_assert(fake_frame_is_hole(&sys, vm_page_frame(m)));
    cr_assert_eq(vm_budget_resident(&sys), 1);
    vm_page_assert_state(m);
    vm_page_free(m);
}

CHECKED_TEST(vm_page, lookup_finds_resident_pages_and_nothing_else)
{
    struct vm_page *m = new_page(object, 64, 'a');

    cr_assert_eq(lookup(object, 64), m);
    cr_assert_null(lookup(object, 63));
    cr_assert_null(lookup(object, 65));
    cr_assert_null(lookup(other, 64));
    cr_assert_null(lookup(object, OBJECT_PAGES));
    cr_assert_null(lookup(object, UINT64_MAX));
    vm_page_busy(m);
    cr_assert_eq(lookup(object, 64), m, "busy pages are found too");
    vm_page_free(m);
    cr_assert_null(lookup(object, 64));
}

Test(vm_page_abort, a_second_page_at_the_same_place_aborts, .init = vm_page_setup,
     .signal = SIGABRT)
{
    new_page(object, 3, 'a');
    (void)alloc_page(object, 3);
}

Test(vm_page_abort, a_page_beyond_the_object_aborts, .init = vm_page_setup, .signal = SIGABRT)
{
    (void)alloc_page(object, OBJECT_PAGES);
}

CHECKED_TEST(vm_page, the_ram_budget_is_never_exceeded_and_freeing_gives_back)
{
    struct vm_object *large;
    struct vm_page *m = NULL;

    cr_assert_eq(vm_object_create_default(&sys, BUDGET + 1, &large), 0);
    for (unsigned i = 0; i < BUDGET; i++)
        cr_assert_not_null(alloc_page(large, i));
    cr_assert_null(alloc_page(large, BUDGET));
    cr_assert(!is_freeing(large, BUDGET));
    cr_assert_null(lookup(large, BUDGET), "a failed allocation changes nothing");
    cr_assert_eq(vm_budget_resident(&sys), BUDGET);
    vm_page_free(lookup(large, 5));
    m = alloc_page(large, BUDGET);
    cr_assert_not_null(m);
    for (unsigned i = 0; i <= BUDGET; i++) {
        if ((m = lookup(large, i)) != NULL)
            vm_page_free(m);
    }
    vm_object_unref(large);
}

CHECKED_TEST(vm_page, freeing_gives_the_frames_memory_back_and_ends_all_state)
{
    struct vm_page *m = new_page(object, 9, 'a');
    vm_frame_t frame = vm_page_frame(m);

    vm_page_activate(m);
    vm_page_dirty(m);
    vm_page_flag_set(m, VM_PAGE_REFERENCED | VM_PAGE_NOSYNC | VM_PAGE_RAM);
    vm_page_busy(m);
    vm_page_free(m);
    cr_assert_null(m->object);
    vm_page_assert_state(m);
    cr_assert(fake_frame_is_hole(&sys, frame));
    cr_assert_eq(vm_budget_resident(&sys), 0);
    cr_assert_eq(object->resident_count, 0);
    cr_assert_eq(queue_count(PQ_ACTIVE), 0);
    m = alloc_page(object, 9);
    cr_assert(page_is(m, 0), "the next page there shows no old byte");
    vm_page_zero_fill(m);
    vm_page_free(m);
}

CHECKED_TEST(vm_page, when_the_host_refuses_to_punch_no_old_byte_survives)
{
    struct vm_page *m = new_busy_page(object, 9, 'a');
    int memfd = sys.memfd;

    sys.memfd = -1;
    vm_page_free(m);
    sys.memfd = memfd;
    m = alloc_page(object, 9);
    cr_assert(page_is(m, 0));
    vm_page_zero_fill(m);
    vm_page_free(m);
}

Test(vm_page_abort, freeing_a_page_that_is_not_busy_aborts, .init = vm_page_setup,
     .signal = SIGABRT)
{
    vm_page_free(new_page(object, 1, 'a'));
}

Test(vm_page_abort, freeing_a_wired_page_aborts, .init = vm_page_setup, .signal = SIGABRT)
{
    struct vm_page *m = new_busy_page(object, 1, 'a');

    vm_page_wire(m);
    vm_page_free(m);
}

Test(vm_page_abort, freeing_a_free_page_aborts, .init = vm_page_setup, .signal = SIGABRT)
{
    vm_page_free(&sys.pages[object->extent]);
}

Test(vm_page_abort, freeing_a_mapped_page_aborts, .init = vm_page_setup, .signal = SIGABRT)
{
    struct vm_page *m = new_busy_page(object, 1, 'a');

    map_page(m);
    vm_page_free(m);
}

Test(vm_page_abort, waking_a_page_that_is_not_valid_aborts, .init = vm_page_setup,
     .signal = SIGABRT)
{
    vm_page_wakeup(alloc_page(object, 1));
}

Test(vm_page_abort, waking_a_page_that_is_not_busy_aborts, .init = vm_page_setup, .signal = SIGABRT)
{
    vm_page_wakeup(new_page(object, 1, 'a'));
}

Test(vm_page_abort, making_a_busy_page_busy_aborts, .init = vm_page_setup, .signal = SIGABRT)
{
    struct vm_page *m = new_page(object, 1, 'a');

    vm_page_busy(m);
    vm_page_busy(m);
}

CHECKED_TEST(vm_page, busy_and_wakeup_are_each_others_reverse)
{
    struct vm_page *m = new_page(object, 1, 'a');

    vm_page_flag_set(m, VM_PAGE_REFERENCED);
    vm_page_busy(m);
    cr_assert_eq(atomic_load(&m->flags), VM_PAGE_BUSY | VM_PAGE_REFERENCED);
    vm_page_wakeup(m);
    cr_assert_eq(atomic_load(&m->flags), VM_PAGE_REFERENCED);
    cr_assert(m->valid);
}

/* A thread that sleeps for a page and says when it came back. */
struct sleeper {
    pthread_t thread;
    vm_pindex_t pindex;
    atomic_bool released; /* set before the page is let go */
    bool early;           /* came back before that */
    struct vm_page *found;
};

static void *
sleeper_main(void *context)
{
    struct sleeper *s = context;

    vm_mutex_lock(&object->lock);
    vm_page_sleep_busy(object, s->pindex, NULL);
    s->early = !atomic_load(&s->released);
    s->found = vm_page_lookup(object, s->pindex);
    vm_mutex_unlock(&object->lock);
    return NULL;
}

static void
wait_wanted(const struct vm_page *m)
{
    while (!vm_page_flag_test(m, VM_PAGE_WANTED))
        sched_yield();
}

/* Start a sleeper and wait until it wants the page. */
static void
sleeper_start(struct sleeper *s, const struct vm_page *m)
{
    cr_assert_eq(pthread_create(&s->thread, NULL, sleeper_main, s), 0);
    wait_wanted(m);
}

static void
sleeper_join(struct sleeper *s)
{
    cr_assert_eq(pthread_join(s->thread, NULL), 0);
    cr_assert(!s->early);
}

CHECKED_TEST(vm_page, who_sleeps_for_a_busy_page_is_woken_when_it_is_no_longer_busy)
{
    struct vm_page *m = new_busy_page(object, 7, 'a');
    struct sleeper s = { .pindex = 7 };

    sleeper_start(&s, m);
    vm_mutex_lock(&object->lock);
    atomic_store(&s.released, true);
    vm_page_wakeup(m);
    cr_assert(!vm_page_flag_test(m, VM_PAGE_WANTED));
    vm_mutex_unlock(&object->lock);
    sleeper_join(&s);
    cr_assert_eq(s.found, m);
}

CHECKED_TEST(vm_page, who_sleeps_for_a_busy_page_is_woken_when_it_is_freed)
{
    struct vm_page *m = new_busy_page(object, 7, 'a');
    struct sleeper s = { .pindex = 7 };

    sleeper_start(&s, m);
    vm_mutex_lock(&object->lock);
    atomic_store(&s.released, true);
    vm_page_free(m);
    vm_mutex_unlock(&object->lock);
    sleeper_join(&s);
    cr_assert_null(s.found);
}

CHECKED_TEST(vm_page, who_sleeps_for_a_busy_page_is_woken_when_it_is_moved)
{
    struct vm_page *m = new_busy_page(object, 7, 'a');
    struct sleeper s = { .pindex = 7 };

    sleeper_start(&s, m);
    vm_mutex_lock(&object->lock);
    atomic_store(&s.released, true);
    m = move_page(m, other, 8);
    cr_assert(!vm_page_flag_test(m, VM_PAGE_WANTED));
    vm_mutex_unlock(&object->lock);
    sleeper_join(&s);
    cr_assert_null(s.found);
    vm_page_wakeup(m);
}

CHECKED_TEST(vm_page, a_wakeup_for_another_page_does_not_end_the_sleep)
{
    struct vm_page *m = new_busy_page(object, 7, 'a');
    struct vm_page *n = new_busy_page(object, 8, 'b');
    struct sleeper s = { .pindex = 7 };
    struct sleeper t = { .pindex = 8 };

    sleeper_start(&s, m);
    sleeper_start(&t, n);
    vm_mutex_lock(&object->lock);
    atomic_store(&t.released, true);
    vm_page_wakeup(n);
    vm_mutex_unlock(&object->lock);
    sleeper_join(&t);
    wait_wanted(m);
    vm_mutex_lock(&object->lock);
    atomic_store(&s.released, true);
    vm_page_wakeup(m);
    vm_mutex_unlock(&object->lock);
    sleeper_join(&s);
}

CHECKED_TEST(vm_page, sleeping_for_no_page_or_an_idle_page_returns_at_once)
{
    new_page(object, 7, 'a');
    vm_mutex_lock(&object->lock);
    vm_page_sleep_busy(object, 7, NULL);
    vm_page_sleep_busy(object, 8, NULL);
    vm_page_sleep_busy(object, OBJECT_PAGES, NULL);
    vm_page_sleep_busy(object, UINT64_MAX, NULL);
    vm_mutex_unlock(&object->lock);
}

CHECKED_TEST(vm_page, a_page_freed_while_held_lives_on_unseen_until_the_last_unhold)
{
    struct vm_page *m = new_page(object, 7, 'a');
    vm_frame_t frame = vm_page_frame(m);

    vm_page_activate(m);
    vm_page_hold(m);
    vm_page_hold(m);
    vm_page_busy(m);
    vm_page_free(m);
    vm_page_assert_state(m);
    cr_assert(is_freeing(object, 7));
    cr_assert_null(lookup(object, 7));
    cr_assert_null(alloc_page(object, 7));
    cr_assert_eq(object->resident_count, 0);
    cr_assert_eq(object->freeing_count, 1);
    cr_assert_eq(vm_budget_resident(&sys), 1, "its memory still counts");
    cr_assert_eq(queue_count(PQ_HOLD), 1);
    cr_assert_eq(queue_count(PQ_ACTIVE), 0);
    vm_page_unhold(m);
    cr_assert(page_is(m, 'a'), "the holder still reads its bytes");
    vm_page_unhold(m);
    cr_assert(!is_freeing(object, 7));
    cr_assert(fake_frame_is_hole(&sys, frame));
    cr_assert_null(m->object);
    vm_page_assert_state(m);
    cr_assert_eq(object->freeing_count, 0);
    cr_assert_eq(vm_budget_resident(&sys), 0);
    cr_assert_eq(queue_count(PQ_HOLD), 0);
    new_page(object, 7, 'b');
}

CHECKED_TEST(vm_page, unholding_a_page_that_was_not_freed_leaves_it_as_it_was)
{
    struct vm_page *m = new_page(object, 7, 'a');

    vm_page_deactivate(m);
    vm_page_hold(m);
    vm_page_unhold(m);
    cr_assert_eq(lookup(object, 7), m);
    cr_assert(page_is(m, 'a'));
    cr_assert_eq(m->queue, PQ_INACTIVE);
}

CHECKED_TEST(vm_page, who_sleeps_for_a_slot_that_is_being_freed_is_woken_by_the_last_unhold)
{
    struct vm_page *m = new_page(object, 7, 'a');
    struct sleeper s = { .pindex = 7 };

    vm_page_hold(m);
    vm_page_busy(m);
    vm_page_free(m);
    sleeper_start(&s, m);
    atomic_store(&s.released, true);
    vm_page_unhold(m);
    sleeper_join(&s);
    cr_assert_null(s.found);
    new_page(object, 7, 'b');
}

Test(vm_page_abort, holding_a_page_that_is_a_hole_aborts, .init = vm_page_setup, .signal = SIGABRT)
{
    struct vm_page *m = alloc_page(object, 1);

    vm_page_hold(m);
}

Test(vm_page_abort, unholding_a_page_that_is_not_held_aborts, .init = vm_page_setup,
     .signal = SIGABRT)
{
    vm_page_unhold(new_page(object, 1, 'a'));
}

Test(vm_page_abort, queueing_a_page_that_is_a_hole_aborts, .init = vm_page_setup, .signal = SIGABRT)
{
    vm_page_activate(alloc_page(object, 1));
}

CHECKED_TEST(vm_page, pages_queue_up_in_order_and_stay_where_they_are_when_queued_again)
{
    struct vm_page *m[3];

    for (unsigned i = 0; i < 3; i++) {
        m[i] = new_page(object, i, 'a');
        vm_page_activate(m[i]);
        cr_assert_eq(m[i]->act_count, ACT_INIT);
    }
    m[0]->act_count = ACT_MAX;
    vm_page_activate(m[0]);
    cr_assert_eq(m[0]->act_count, ACT_MAX, "activation only raises the count");
    cr_assert_eq(TAILQ_FIRST(&sys.queues[PQ_ACTIVE]), m[0]);
    cr_assert_eq(TAILQ_LAST(&sys.queues[PQ_ACTIVE], vm_pageq), m[2]);
    vm_page_deactivate(m[1]);
    cr_assert_eq(queue_count(PQ_ACTIVE), 2);
    cr_assert_eq(queue_count(PQ_INACTIVE), 1);
    vm_page_unqueue(m[1]);
    vm_page_unqueue(m[0]);
    cr_assert_eq(m[0]->queue, PQ_NONE);
    cr_assert_eq(queue_count(PQ_ACTIVE), 1);
    cr_assert_eq(queue_count(PQ_INACTIVE), 0);
}

CHECKED_TEST(vm_page, a_wired_page_is_on_no_queue_until_the_last_unwire_puts_it_on_one)
{
    struct vm_page *m = new_page(object, 1, 'a');

    vm_page_activate(m);
    vm_page_wire(m);
    vm_page_wire(m);
    cr_assert_eq(m->queue, PQ_NONE);
    vm_page_activate(m);
    vm_page_deactivate(m);
    cr_assert_eq(m->queue, PQ_NONE);
    vm_page_unwire(m, true);
    cr_assert_eq(m->queue, PQ_NONE);
    vm_page_unwire(m, true);
    cr_assert_eq(m->queue, PQ_ACTIVE);
    vm_page_wire(m);
    vm_page_unwire(m, false);
    cr_assert_eq(m->queue, PQ_INACTIVE);
}

Test(vm_page_abort, unwiring_a_page_that_is_not_wired_aborts, .init = vm_page_setup,
     .signal = SIGABRT)
{
    vm_page_unwire(new_page(object, 1, 'a'), true);
}

CHECKED_TEST(vm_page, a_dirty_page_is_dirty)
{
    struct vm_page *m = new_page(object, 1, 'a');

    cr_assert_eq(atomic_load(&m->dirty), 0);
    vm_page_dirty(m);
    cr_assert_eq(atomic_load(&m->dirty), 1);
}

CHECKED_TEST(vm_page, zero_filling_a_hole_populates_it)
{
    struct vm_page *m = alloc_page(object, 1);

    vm_page_zero_fill(m);
    cr_assert(!vm_page_flag_test(m, VM_PAGE_ZERO));
    cr_assert(!fake_frame_is_hole(&sys, vm_page_frame(m)));
    cr_assert(page_is(m, 0));
    vm_page_free(m);
}

CHECKED_TEST(vm_page, zero_filling_a_filled_page_overwrites_all_of_it)
{
    struct vm_page *before = new_page(object, 0, 'x');
    struct vm_page *m = new_busy_page(object, 1, 'a');
    struct vm_page *after = new_page(object, 2, 'y');

    vm_page_zero_fill(m);
    cr_assert(page_is(m, 0));
    cr_assert(page_is(before, 'x'));
    cr_assert(page_is(after, 'y'));
    vm_page_wakeup(m);
}

CHECKED_TEST(vm_page, a_copy_has_the_bytes_of_the_page_and_is_no_hole)
{
    struct vm_page *src = new_page(object, 1, 'a');
    struct vm_page *dst = alloc_page(other, 2);

    vm_page_copy(src, dst);
    cr_assert(page_is(dst, 'a'));
    cr_assert(!vm_page_flag_test(dst, VM_PAGE_ZERO));
    cr_assert(!dst->valid, "making it valid is the caller's");
    vm_page_free(dst);
}

CHECKED_TEST(vm_page, a_copy_of_a_hole_is_zeros_and_leaves_the_hole)
{
    struct vm_page *src = alloc_page(object, 1);
    struct vm_page *dst = new_busy_page(other, 2, 'b');

    vm_page_copy(src, dst);
    cr_assert(page_is(dst, 0));
    cr_assert(fake_frame_is_hole(&sys, vm_page_frame(src)));
    vm_page_free(src);
    vm_page_wakeup(dst);
}

Test(vm_page_abort, a_resident_page_without_its_bit_is_noticed, .init = vm_page_setup,
     .signal = SIGABRT)
{
    struct vm_page *m = new_page(object, 1, 'a');

    object->resident[0] = 0;
    vm_page_assert_state(m);
}

Test(vm_page_abort, a_page_neither_busy_nor_valid_is_noticed, .init = vm_page_setup,
     .signal = SIGABRT)
{
    struct vm_page *m = new_page(object, 1, 'a');

    m->valid = 0;
    vm_page_assert_state(m);
}

Test(vm_page_abort, a_wired_page_on_a_queue_is_noticed, .init = vm_page_setup, .signal = SIGABRT)
{
    struct vm_page *m = new_page(object, 1, 'a');

    vm_page_activate(m);
    m->wire_count = 1;
    vm_page_assert_state(m);
}

Test(vm_page_abort, a_frame_outside_the_store_is_noticed, .init = vm_page_setup, .signal = SIGABRT)
{
    struct vm_page *m = new_page(object, 1, 'a');

    m->frame_delta = STORE;
    vm_page_assert_state(m);
}
