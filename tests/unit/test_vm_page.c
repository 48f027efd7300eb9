/* SPDX-License-Identifier: BSD-2-Clause */
/* The states of a page, its queues, its frame. */
#include "vmm/vpagetable/vm_page.h"

#include "tests/unit/checked_test.h"
#include "tests/unit/fake_pmap.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STORE ((uint64_t)1 << 16)
#define BUDGET 2048
#define OBJECT_PAGES 300

static struct vm_system sys;
static struct vm_object *object;
static struct vm_object *other;

static void
vm_page_setup(void)
{
    const struct vm_system_config config = { .store_pages = STORE, .ram_budget = BUDGET };

    cr_assert_eq(vm_system_init(&sys, &config), 0);
    cr_assert_eq(vm_object_create_default(&sys, OBJECT_PAGES, &object), 0);
    cr_assert_eq(vm_object_create_default(&sys, OBJECT_PAGES, &other), 0);
}

/* Every test ends with no page busy, held or wired. */
static void
vm_page_teardown(void)
{
    vm_object_unref(object);
    vm_object_unref(other);
    cr_assert_eq(atomic_load(&sys.resident_pages), 0);
    cr_assert_eq(lseek(sys.memfd, 0, SEEK_DATA), -1, "memory left behind");
    vm_system_fini(&sys);
}

TestSuite(vm_page, .timeout = 120);
TestSuite(vm_page_abort, .init = vm_page_setup, .timeout = 60);

/*
 * Most tests have one thread, and take O only around what clang checks, or what
 * the pages' owners of other threads look at.
 */
static struct vm_page *
lookup(struct vm_object *o, vm_pindex_t pindex)
{
    struct vm_page *m;

    vm_mutex_lock(&o->lock);
    m = vm_page_lookup(o, pindex);
    vm_mutex_unlock(&o->lock);
    return m;
}

static struct vm_page *
alloc_page(struct vm_object *o, vm_pindex_t pindex)
{
    struct vm_page *m;

    vm_mutex_lock(&o->lock);
    m = vm_page_alloc(o, pindex);
    vm_mutex_unlock(&o->lock);
    return m;
}

static bool
is_freeing(struct vm_object *o, vm_pindex_t pindex)
{
    bool freeing;

    vm_mutex_lock(&o->lock);
    freeing = vm_page_is_freeing(o, pindex);
    vm_mutex_unlock(&o->lock);
    return freeing;
}

static struct vm_page *
move_page(struct vm_page *m, struct vm_object *o, vm_pindex_t pindex)
{
    vm_mutex_lock(&o->lock);
    m = vm_page_rename(m, o, pindex);
    vm_mutex_unlock(&o->lock);
    return m;
}

/* A busy, valid page full of `tag`. */
static struct vm_page *
new_busy_page(struct vm_object *o, vm_pindex_t pindex, int tag)
{
    struct vm_page *m = alloc_page(o, pindex);

    cr_assert_not_null(m);
    vm_page_zero_fill(m);
    memset(vm_page_address(m), tag, PAGE_SIZE);
    m->valid = 1;
    return m;
}

static struct vm_page *
new_page(struct vm_object *o, vm_pindex_t pindex, int tag)
{
    struct vm_page *m = new_busy_page(o, pindex, tag);

    vm_page_wakeup(m);
    return m;
}

static bool
page_is(const struct vm_page *m, int tag)
{
    const uint8_t *bytes = vm_page_address(m);

    for (unsigned i = 0; i < PAGE_SIZE; i++) {
        if (bytes[i] != (uint8_t)tag)
            return false;
    }
    return true;
}

static uint64_t
queue_count(enum vm_page_queue queue)
{
    struct vm_page *m;
    uint64_t count = 0;

    TAILQ_FOREACH (m, &sys.queues[queue], pageq)
        count++;
    cr_assert_eq(count, sys.queue_length[queue]);
    return count;
}

CHECKED_TEST(vm_page, a_new_page_is_busy_not_valid_a_hole_and_on_no_queue)
{
    struct vm_page *m = alloc_page(object, 17);

    cr_assert_eq(atomic_load(&m->flags), VM_PAGE_BUSY | VM_PAGE_ZERO);
    cr_assert(!m->valid && !m->dirty && m->queue == PQ_NONE);
    cr_assert(m->object == object && vm_page_pindex(m) == 17);
    cr_assert_eq(vm_page_slot(m), object->extent + 17);
    cr_assert_eq(vm_page_frame(m), vm_page_slot(m));
    cr_assert(fake_frame_is_hole(&sys, vm_page_frame(m)));
    cr_assert_eq(atomic_load(&sys.resident_pages), 1);
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

Test(vm_page_abort, a_second_page_at_the_same_place_aborts, .signal = SIGABRT)
{
    new_page(object, 3, 'a');
    (void)alloc_page(object, 3);
}

Test(vm_page_abort, a_page_beyond_the_object_aborts, .signal = SIGABRT)
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
    cr_assert_eq(atomic_load(&sys.resident_pages), BUDGET);
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
    cr_assert_eq(atomic_load(&sys.resident_pages), 0);
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

Test(vm_page_abort, freeing_a_page_that_is_not_busy_aborts, .signal = SIGABRT)
{
    vm_page_free(new_page(object, 1, 'a'));
}

Test(vm_page_abort, freeing_a_wired_page_aborts, .signal = SIGABRT)
{
    struct vm_page *m = new_busy_page(object, 1, 'a');

    vm_page_wire(m);
    vm_page_free(m);
}

Test(vm_page_abort, freeing_a_free_page_aborts, .signal = SIGABRT)
{
    vm_page_free(&sys.pages[object->extent]);
}

/* Map m at GPA 0 of a pmap that is never ended: the test aborts. */
static void
map_page(struct vm_page *m)
{
    static struct fake_pmap fake;
    static struct pmap pmap;
    vm_prot_t prot = VM_PROT_RW;
    unsigned entered;

    fake_pmap_init(&fake);
    if (pmap_init(&pmap, &sys, &fake_pmap_ops, &fake) != 0 ||
        pmap_window_add(&pmap, gpa_from_u64(0), OBJECT_PAGES, object->extent) != 0 ||
        pmap_enter(&pmap, gpa_from_u64(vm_page_pindex(m) << PAGE_SHIFT), &m, &prot, 1, 0,
                   &entered) != 0)
        _exit(1);
}

Test(vm_page_abort, freeing_a_mapped_page_aborts, .signal = SIGABRT)
{
    struct vm_page *m = new_busy_page(object, 1, 'a');

    map_page(m);
    vm_page_free(m);
}

Test(vm_page_abort, waking_a_page_that_is_not_valid_aborts, .signal = SIGABRT)
{
    vm_page_wakeup(alloc_page(object, 1));
}

Test(vm_page_abort, waking_a_page_that_is_not_busy_aborts, .signal = SIGABRT)
{
    vm_page_wakeup(new_page(object, 1, 'a'));
}

Test(vm_page_abort, making_a_busy_page_busy_aborts, .signal = SIGABRT)
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
    vm_page_sleep_busy(object, s->pindex);
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
    vm_page_sleep_busy(object, 7);
    vm_page_sleep_busy(object, 8);
    vm_page_sleep_busy(object, OBJECT_PAGES);
    vm_page_sleep_busy(object, UINT64_MAX);
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
    cr_assert_eq(atomic_load(&sys.resident_pages), 1, "its memory still counts");
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
    cr_assert_eq(atomic_load(&sys.resident_pages), 0);
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

Test(vm_page_abort, holding_a_page_that_is_a_hole_aborts, .signal = SIGABRT)
{
    struct vm_page *m = alloc_page(object, 1);

    vm_page_hold(m);
}

Test(vm_page_abort, unholding_a_page_that_is_not_held_aborts, .signal = SIGABRT)
{
    vm_page_unhold(new_page(object, 1, 'a'));
}

Test(vm_page_abort, queueing_a_page_that_is_a_hole_aborts, .signal = SIGABRT)
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

Test(vm_page_abort, unwiring_a_page_that_is_not_wired_aborts, .signal = SIGABRT)
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

CHECKED_TEST(vm_page, a_moved_page_takes_its_frame_and_state_along)
{
    struct vm_page *m = new_page(object, 7, 'a');
    vm_frame_t frame = vm_page_frame(m);
    struct vm_page *to;

    vm_page_activate(m);
    m->act_count = 33;
    vm_page_flag_set(m, VM_PAGE_REFERENCED | VM_PAGE_WRITEABLE);
    vm_page_busy(m);
    to = move_page(m, other, 9);
    cr_assert(m->object == NULL && lookup(object, 7) == NULL);
    cr_assert(to->object == other && lookup(other, 9) == to);
    cr_assert_eq(vm_page_pindex(to), 9);
    cr_assert_eq(vm_page_frame(to), frame);
    cr_assert(page_is(to, 'a'));
    cr_assert_eq(atomic_load(&to->flags), VM_PAGE_BUSY | VM_PAGE_REFERENCED);
    cr_assert(to->valid && to->dirty && to->act_count == 33);
    cr_assert(object->resident_count == 0 && other->resident_count == 1);
    cr_assert_eq(atomic_load(&sys.resident_pages), 1);
    vm_page_wakeup(to);
}

CHECKED_TEST(vm_page, a_moved_page_keeps_its_place_in_its_queue)
{
    struct vm_page *m[3];

    for (unsigned i = 0; i < 3; i++) {
        m[i] = new_page(object, i, 'a');
        vm_page_deactivate(m[i]);
    }
    vm_page_busy(m[1]);
    m[1] = move_page(m[1], other, 0);
    cr_assert_eq(TAILQ_NEXT(m[0], pageq), m[1]);
    cr_assert_eq(TAILQ_NEXT(m[1], pageq), m[2]);
    cr_assert_eq(queue_count(PQ_INACTIVE), 3);
    vm_page_wakeup(m[1]);
}

CHECKED_TEST(vm_page, the_slot_a_page_moved_from_owns_a_hole)
{
    struct vm_page *to = move_page(new_busy_page(object, 7, 'a'), other, 9);
    struct vm_page *m = alloc_page(object, 7);

    cr_assert_neq(vm_page_frame(m), vm_page_frame(to));
    cr_assert(fake_frame_is_hole(&sys, vm_page_frame(m)));
    vm_page_zero_fill(m);
    memset(vm_page_address(m), 'b', PAGE_SIZE);
    cr_assert(page_is(to, 'a'));
    vm_page_free(m);
    vm_page_wakeup(to);
}

CHECKED_TEST(vm_page, a_page_that_moves_there_and_back_has_its_own_frame_again)
{
    struct vm_page *m = new_busy_page(object, 7, 'a');

    m = move_page(m, other, 9);
    cr_assert_eq(atomic_load(&sys.moved_slots), 2);
    m = move_page(m, object, 7);
    cr_assert_eq(m->frame_delta, 0);
    cr_assert_eq(atomic_load(&sys.moved_slots), 0);
    cr_assert(page_is(m, 'a'));
    vm_page_wakeup(m);
}

CHECKED_TEST(vm_page, a_page_can_move_inside_its_object)
{
    struct vm_page *m = move_page(new_busy_page(object, 7, 'a'), object, 200);

    cr_assert_eq(lookup(object, 200), m);
    cr_assert_null(lookup(object, 7));
    cr_assert_eq(object->resident_count, 1);
    cr_assert(page_is(m, 'a'));
    vm_page_wakeup(m);
}

CHECKED_TEST(vm_page, a_hole_that_moves_is_still_a_hole)
{
    struct vm_page *m = alloc_page(object, 7);

    m->valid = 1;
    m = move_page(m, other, 7);
    cr_assert(vm_page_flag_test(m, VM_PAGE_ZERO));
    cr_assert(fake_frame_is_hole(&sys, vm_page_frame(m)));
    vm_page_free(m);
}

Test(vm_page_abort, moving_a_held_page_aborts, .signal = SIGABRT)
{
    struct vm_page *m = new_busy_page(object, 7, 'a');

    vm_page_hold(m);
    (void)move_page(m, other, 7);
}

Test(vm_page_abort, moving_a_wired_page_aborts, .signal = SIGABRT)
{
    struct vm_page *m = new_busy_page(object, 7, 'a');

    vm_page_wire(m);
    (void)move_page(m, other, 7);
}

Test(vm_page_abort, moving_a_mapped_page_aborts, .signal = SIGABRT)
{
    struct vm_page *m = new_busy_page(object, 7, 'a');

    map_page(m);
    (void)move_page(m, other, 7);
}

Test(vm_page_abort, moving_a_page_that_is_not_busy_aborts, .signal = SIGABRT)
{
    (void)move_page(new_page(object, 7, 'a'), other, 7);
}

Test(vm_page_abort, moving_a_page_that_is_not_valid_aborts, .signal = SIGABRT)
{
    (void)move_page(alloc_page(object, 7), other, 7);
}

Test(vm_page_abort, moving_onto_another_page_aborts, .signal = SIGABRT)
{
    new_page(other, 7, 'b');
    (void)move_page(new_busy_page(object, 7, 'a'), other, 7);
}

Test(vm_page_abort, moving_onto_a_slot_that_is_being_freed_aborts, .signal = SIGABRT)
{
    struct vm_page *m = new_busy_page(other, 7, 'b');

    vm_page_hold(m);
    vm_page_free(m);
    (void)move_page(new_busy_page(object, 7, 'a'), other, 7);
}

/* One step of a random walk over both objects' slots: make, free or move a page. */
static void
walk_step(unsigned *seed, uint8_t *tags)
{
    struct vm_object *objects[2] = { object, other };
    unsigned a = (unsigned)rand_r(seed) % (2 * OBJECT_PAGES);
    unsigned b = (unsigned)rand_r(seed) % (2 * OBJECT_PAGES);
    struct vm_page *m = lookup(objects[a / OBJECT_PAGES], a % OBJECT_PAGES);
    struct vm_page *n = lookup(objects[b / OBJECT_PAGES], b % OBJECT_PAGES);

    if (m == NULL) {
        tags[a] = (uint8_t)(1 + rand_r(seed) % 255);
        new_page(objects[a / OBJECT_PAGES], a % OBJECT_PAGES, tags[a]);
        return;
    }
    vm_page_busy(m);
    if (n == NULL) {
        vm_page_wakeup(move_page(m, objects[b / OBJECT_PAGES], b % OBJECT_PAGES));
        tags[b] = tags[a];
    } else {
        vm_page_free(m);
    }
    tags[a] = 0;
}

CHECKED_TEST(vm_page, frames_stay_a_permutation_of_slots_through_any_moves)
{
    struct vm_object *objects[2] = { object, other };
    static uint8_t tags[2 * OBJECT_PAGES];
    static bool used[STORE];
    unsigned seed = 1;

    for (unsigned i = 0; i < 20000; i++)
        walk_step(&seed, tags);
    for (unsigned i = 0; i < 2 * OBJECT_PAGES; i++) {
        struct vm_object *o = objects[i / OBJECT_PAGES];
        uint64_t slot = o->extent + i % OBJECT_PAGES;
        vm_frame_t frame = slot + (uint64_t)sys.pages[slot].frame_delta;
        struct vm_page *m = lookup(o, i % OBJECT_PAGES);

        cr_assert_lt(frame, STORE);
        cr_assert(!used[frame], "two slots own one frame");
        used[frame] = true;
        cr_assert_eq(m != NULL, tags[i] != 0);
        cr_assert_eq(fake_frame_is_hole(&sys, frame), m == NULL);
        cr_assert(m == NULL || page_is(m, tags[i]));
    }
}

CHECKED_TEST(vm_page, an_object_that_ends_frees_its_own_frames_wherever_they_are_and_no_others)
{
    struct vm_object *third;
    struct vm_page *m[8];

    cr_assert_eq(vm_object_create_default(&sys, 64, &third), 0);
    for (unsigned i = 0; i < 8; i++) {
        m[i] = new_busy_page(third, 2 * i, 'a' + (int)i);
        if (i % 2 == 1)
            m[i] = move_page(m[i], object, i);
        vm_page_wakeup(m[i]);
        new_page(object, 100 + i, 'A');
    }
    for (unsigned i = 0; i < 8; i += 2) {
        vm_page_busy(lookup(object, 100 + i));
        vm_page_wakeup(move_page(lookup(object, 100 + i), third, 40 + i));
    }
    vm_object_unref(third);
    cr_assert_eq(atomic_load(&sys.resident_pages), 8);
    for (unsigned i = 1; i < 8; i += 2) {
        cr_assert(page_is(m[i], 'a' + (int)i));
        cr_assert(page_is(lookup(object, 100 + i), 'A'));
    }
}

Test(vm_page_abort, a_resident_page_without_its_bit_is_noticed, .signal = SIGABRT)
{
    struct vm_page *m = new_page(object, 1, 'a');

    object->resident[0] = 0;
    vm_page_assert_state(m);
}

Test(vm_page_abort, a_page_neither_busy_nor_valid_is_noticed, .signal = SIGABRT)
{
    struct vm_page *m = new_page(object, 1, 'a');

    m->valid = 0;
    vm_page_assert_state(m);
}

Test(vm_page_abort, a_wired_page_on_a_queue_is_noticed, .signal = SIGABRT)
{
    struct vm_page *m = new_page(object, 1, 'a');

    vm_page_activate(m);
    m->wire_count = 1;
    vm_page_assert_state(m);
}

Test(vm_page_abort, a_frame_outside_the_store_is_noticed, .signal = SIGABRT)
{
    struct vm_page *m = new_page(object, 1, 'a');

    m->frame_delta = STORE;
    vm_page_assert_state(m);
}

/*
 * Many threads on few pages: each picks a page and makes, busies, holds, queues
 * or frees it.  `owners` counts who has each page busy.
 */
#define STRESS_PAGES 16
#define STRESS_STEPS 20000
#define STRESS_THREADS 6

struct stress {
    pthread_t thread;
    unsigned seed;
    unsigned failures;
};

static atomic_int owners[2][STRESS_PAGES];

/* Have page m to oneself for a while, without O. */
static void
stress_own(struct stress *s, struct vm_object *o, unsigned which, unsigned pindex)
    VM_REQUIRES(o->lock)
{
    struct vm_page *m = vm_page_lookup(o, pindex);

    if (m == NULL) {
        m = vm_page_alloc(o, pindex);
        if (m == NULL)
            return;
    } else {
        vm_page_busy(m);
    }
    vm_mutex_unlock(&o->lock);
    s->failures += atomic_fetch_add(&owners[which][pindex], 1) != 0;
    vm_page_zero_fill(m);
    *(unsigned *)vm_page_address(m) = pindex;
    m->valid = 1;
    vm_page_dirty(m);
    atomic_fetch_sub(&owners[which][pindex], 1);
    vm_mutex_lock(&o->lock);
    if (rand_r(&s->seed) % 3 == 0) {
        vm_page_free(m);
        return;
    }
    vm_page_activate(m);
    vm_page_wakeup(m);
}

/* Hold a page while others may free it. */
static void
stress_hold(struct stress *s, struct vm_object *o, unsigned pindex) VM_REQUIRES(o->lock)
{
    struct vm_page *m = vm_page_lookup(o, pindex);

    if (m == NULL || vm_page_flag_test(m, VM_PAGE_BUSY))
        return;
    vm_page_hold(m);
    vm_page_deactivate(m);
    vm_mutex_unlock(&o->lock);
    sched_yield();
    s->failures += m->object != o || vm_page_pindex(m) != pindex;
    vm_page_unhold(m);
    vm_mutex_lock(&o->lock);
}

static void *
stress_main(void *context)
{
    struct stress *s = context;
    struct vm_object *objects[2] = { object, other };

    for (unsigned i = 0; i < STRESS_STEPS; i++) {
        unsigned which = (unsigned)rand_r(&s->seed) % 2;
        unsigned pindex = (unsigned)rand_r(&s->seed) % STRESS_PAGES;
        struct vm_object *o = objects[which];

        vm_mutex_lock(&o->lock);
        if (rand_r(&s->seed) % 4 == 0) {
            stress_hold(s, o, pindex);
        } else {
            const struct vm_page *m = vm_page_lookup(o, pindex);
            bool busy = m != NULL && vm_page_flag_test(m, VM_PAGE_BUSY);

            if (busy || vm_page_is_freeing(o, pindex))
                vm_page_sleep_busy(o, pindex);
            else
                stress_own(s, o, which, pindex);
        }
        vm_mutex_unlock(&o->lock);
    }
    return NULL;
}

CHECKED_TEST(vm_page, many_threads_never_share_a_busy_page_nor_lose_a_wakeup)
{
    struct stress threads[STRESS_THREADS];

    for (unsigned i = 0; i < STRESS_THREADS; i++) {
        threads[i] = (struct stress){ .seed = i + 1 };
        cr_assert_eq(pthread_create(&threads[i].thread, NULL, stress_main, &threads[i]), 0);
    }
    for (unsigned i = 0; i < STRESS_THREADS; i++) {
        cr_assert_eq(pthread_join(threads[i].thread, NULL), 0);
        cr_assert_eq(threads[i].failures, 0);
    }
    cr_assert_eq(object->freeing_count + other->freeing_count, 0);
    cr_assert_eq(atomic_load(&sys.resident_pages), object->resident_count + other->resident_count);
}

static atomic_uint_fast64_t most_resident;

/* Fill an object of the thread's own, and free what was got, over and over. */
static void *
budget_main(void *context)
{
    struct vm_object *o = context;

    for (unsigned round = 0; round < 20; round++) {
        struct vm_page *m;

        vm_mutex_lock(&o->lock);
        for (unsigned i = 0; i < BUDGET; i++) {
            (void)vm_page_alloc(o, i);
            if (atomic_load(&sys.resident_pages) > BUDGET)
                atomic_store(&most_resident, atomic_load(&sys.resident_pages));
        }
        for (unsigned i = 0; i < BUDGET; i++) {
            if ((m = vm_page_lookup(o, i)) != NULL)
                vm_page_free(m);
        }
        vm_mutex_unlock(&o->lock);
    }
    return NULL;
}

CHECKED_TEST(vm_page, many_threads_never_exceed_the_ram_budget)
{
    struct vm_object *objects[4];
    pthread_t threads[4];

    for (unsigned i = 0; i < 4; i++) {
        cr_assert_eq(vm_object_create_default(&sys, BUDGET, &objects[i]), 0);
        cr_assert_eq(pthread_create(&threads[i], NULL, budget_main, objects[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        vm_object_unref(objects[i]);
    }
    cr_assert_eq(atomic_load(&most_resident), 0);
    cr_assert_eq(atomic_load(&sys.resident_pages), 0);
}
