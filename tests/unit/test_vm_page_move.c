/* SPDX-License-Identifier: BSD-2-Clause */
/* Pages that move to other slots, and pages among many threads. */
#include "tests/unit/page_rig.h"
#include "vmm/vpagetable/vm_budget.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

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
    cr_assert_eq(vm_budget_resident(&sys), 1);
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

/* Whichever of the two slots is given up first. */
CHECKED_TEST(vm_page, frames_go_home_when_both_slots_are_free)
{
    for (unsigned first = 0; first < 2; first++) {
        struct vm_page *to = move_page(new_busy_page(object, 7, 'a'), other, 9);
        struct vm_page *m = alloc_page(object, 7);

        cr_assert_eq(atomic_load(&sys.moved_slots), 2);
        m->valid = 1;
        vm_page_free(first == 0 ? m : to);
        cr_assert_eq(atomic_load(&sys.moved_slots), 2);
        vm_page_free(first == 0 ? to : m);
        cr_assert_eq(atomic_load(&sys.moved_slots), 0);
        cr_assert(m->frame_delta == 0 && to->frame_delta == 0);
    }
}

/* Three slots that have each other's frames, given up in every order. */
CHECKED_TEST(vm_page, frames_go_home_from_a_longer_way)
{
    static const unsigned char orders[6][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
                                                { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };

    for (unsigned i = 0; i < 6; i++) {
        struct vm_page *m[3];

        m[2] = move_page(move_page(new_busy_page(object, 1, 'a'), object, 2), object, 3);
        m[0] = new_busy_page(object, 1, 'b');
        m[1] = new_busy_page(object, 2, 'c');
        cr_assert_eq(atomic_load(&sys.moved_slots), 3);
        for (unsigned j = 0; j < 3; j++)
            vm_page_free(m[orders[i][j]]);
        cr_assert_eq(atomic_load(&sys.moved_slots), 0, "order %u", i);
    }
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

Test(vm_page_abort, moving_a_held_page_aborts, .init = vm_page_setup, .signal = SIGABRT)
{
    struct vm_page *m = new_busy_page(object, 7, 'a');

    vm_page_hold(m);
    (void)move_page(m, other, 7);
}

Test(vm_page_abort, moving_a_wired_page_aborts, .init = vm_page_setup, .signal = SIGABRT)
{
    struct vm_page *m = new_busy_page(object, 7, 'a');

    vm_page_wire(m);
    (void)move_page(m, other, 7);
}

Test(vm_page_abort, moving_a_mapped_page_aborts, .init = vm_page_setup, .signal = SIGABRT)
{
    struct vm_page *m = new_busy_page(object, 7, 'a');

    map_page(m);
    (void)move_page(m, other, 7);
}

Test(vm_page_abort, moving_a_page_that_is_not_busy_aborts, .init = vm_page_setup, .signal = SIGABRT)
{
    (void)move_page(new_page(object, 7, 'a'), other, 7);
}

Test(vm_page_abort, moving_a_page_that_is_not_valid_aborts, .init = vm_page_setup,
     .signal = SIGABRT)
{
    (void)move_page(alloc_page(object, 7), other, 7);
}

Test(vm_page_abort, moving_onto_another_page_aborts, .init = vm_page_setup, .signal = SIGABRT)
{
    new_page(other, 7, 'b');
    (void)move_page(new_busy_page(object, 7, 'a'), other, 7);
}

Test(vm_page_abort, moving_onto_a_slot_that_is_being_freed_aborts, .init = vm_page_setup,
     .signal = SIGABRT)
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
    for (unsigned i = 0; i < 2 * OBJECT_PAGES; i++) {
        struct vm_page *m = lookup(objects[i / OBJECT_PAGES], i % OBJECT_PAGES);

        if (m == NULL)
            continue;
        vm_page_busy(m);
        vm_page_free(m);
    }
    cr_assert_eq(atomic_load(&sys.moved_slots), 0);
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
    cr_assert_eq(vm_budget_resident(&sys), 8);
    for (unsigned i = 1; i < 8; i += 2) {
        cr_assert(page_is(m[i], 'a' + (int)i));
        cr_assert(page_is(lookup(object, 100 + i), 'A'));
    }
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
                vm_page_sleep_busy(o, pindex, NULL);
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
    cr_assert_eq(vm_budget_resident(&sys), object->resident_count + other->resident_count);
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
            if (vm_budget_resident(&sys) > BUDGET)
                atomic_store(&most_resident, vm_budget_resident(&sys));
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
    cr_assert_eq(vm_budget_resident(&sys), 0);
}
