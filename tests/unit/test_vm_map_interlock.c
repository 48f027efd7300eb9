/* SPDX-License-Identifier: BSD-2-Clause */
/* The range interlock, and a map under many threads. */
#include "tests/unit/map_rig.h"

#include <assert.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>

/* --- The interlock.  Where threads look, assert() ends the test process -- */

/* Take an interlock of [start, end) pages and drop it. */
struct interlock_once {
    uint64_t start;
    uint64_t end;
    unsigned turn; /* when it was served, from 1 */
};

static _Atomic unsigned turns;

static void *
interlock_once(void *argument)
{
    struct interlock_once *once = argument;
    struct vm_map_ilock ilock;

    vm_map_interlock(&map, &ilock, at(once->start), at(once->end));
    once->turn = atomic_fetch_add(&turns, 1) + 1;
    vm_map_deinterlock(&map, &ilock);
    return NULL;
}

static void
wait_for_waiters(unsigned n)
{
    unsigned waiters;

    do {
        sched_yield();
        vm_mutex_lock(&map.ilock_mutex);
        waiters = map.ilock_waiters;
        vm_mutex_unlock(&map.ilock_mutex);
    } while (waiters != n);
}

CHECKED_TEST(vm_map, interlocks_of_disjoint_ranges_do_not_wait)
{
    struct interlock_once before = { .start = 0, .end = 4 };
    struct interlock_once after = { .start = 8, .end = 9 };
    struct vm_map_ilock ilock;
    pthread_t threads[2];

    vm_map_interlock(&map, &ilock, at(4), at(8));
    cr_assert(pthread_create(&threads[0], NULL, interlock_once, &before) == 0);
    cr_assert(pthread_create(&threads[1], NULL, interlock_once, &after) == 0);
    cr_assert(pthread_join(threads[0], NULL) == 0);
    cr_assert(pthread_join(threads[1], NULL) == 0);
    vm_map_deinterlock(&map, &ilock);
    cr_expect(before.turn != 0 && after.turn != 0);
}

CHECKED_TEST(vm_map, overlapping_interlocks_are_served_in_the_order_they_came)
{
    struct interlock_once wide = { .start = 0, .end = 8 };
    struct interlock_once narrow = { .start = 6, .end = 7 };
    struct vm_map_ilock ilock;
    pthread_t threads[2];

    vm_map_interlock(&map, &ilock, at(0), at(1));
    cr_assert(pthread_create(&threads[0], NULL, interlock_once, &wide) == 0);
    wait_for_waiters(1);
    /* Nobody holds 6, but the older waiter would starve if it were given away. */
    cr_assert(pthread_create(&threads[1], NULL, interlock_once, &narrow) == 0);
    wait_for_waiters(2);
    cr_expect(turns == 0);
    vm_map_deinterlock(&map, &ilock);
    cr_assert(pthread_join(threads[0], NULL) == 0);
    cr_assert(pthread_join(threads[1], NULL) == 0);
    cr_expect(wide.turn == 1 && narrow.turn == 2);
}

#define ILOCK_PLACES 12
#define ILOCK_ROUNDS 4000

static _Atomic unsigned ilock_holder[ILOCK_PLACES];

static void *
interlock_hammer(void *argument)
{
    unsigned me = *(unsigned *)argument;
    unsigned state = me;

    for (unsigned round = 0; round < ILOCK_ROUNDS; round++) {
        struct vm_map_ilock ilock;
        unsigned start;
        unsigned end;

        state = state * 1664525u + 1013904223u;
        start = (state >> 8) % ILOCK_PLACES;
        end = start + (state >> 20) % (ILOCK_PLACES - start) + 1;
        vm_map_interlock(&map, &ilock, at(start), at(end));
        for (unsigned i = start; i < end; i++)
            assert(atomic_exchange(&ilock_holder[i], me) == 0);
        if ((state & 0x4000) != 0)
            sched_yield();
        for (unsigned i = start; i < end; i++)
            assert(atomic_exchange(&ilock_holder[i], 0) == me);
        vm_map_deinterlock(&map, &ilock);
    }
    return NULL;
}

CHECKED_TEST(vm_map, overlapping_interlocks_exclude_each_other)
{
    pthread_t threads[4];
    unsigned names[4] = { 1, 2, 3, 4 };

    for (unsigned i = 0; i < 4; i++)
        cr_assert(pthread_create(&threads[i], NULL, interlock_hammer, &names[i]) == 0);
    for (unsigned i = 0; i < 4; i++)
        cr_assert(pthread_join(threads[i], NULL) == 0);
    cr_expect(LIST_EMPTY(&map.ilocks) && map.ilock_waiters == 0);
}

/*
 * A guest with one page of virtual page table: the root, or the word in
 * `table`, is the index of the page to map.  Fault threads walk and enter under the
 * interlock, as vm_fault does; the guest changes the table and invalidates.
 */
#define WALK_PAGES 8
#define WALK_ROUNDS 3000

static pthread_mutex_t owner[WALK_PAGES]; /* the page's busy bit */
static _Atomic vpte_t table;
static _Atomic bool walk_ends;
static bool walk_by_root;

static void
walk_and_enter(struct vm_map_entry *entry)
{
    vpte_t target = walk_by_root ? atomic_load(&entry->root) : atomic_load(&table);

    sched_yield();
    pthread_mutex_lock(&owner[target]);
    assert(enter(at(2), page(target), VM_PROT_READ) == 0);
    pthread_mutex_unlock(&owner[target]);
}

static void *
walk_thread(void *argument)
{
    (void)argument;
    while (!atomic_load(&walk_ends)) {
        struct vm_map_lookup found;
        struct vm_map_ilock ilock;
        enum vm_result result = vm_map_lookup(&map, at(2), VM_PROT_READ, &found);

        assert(result == VM_OK);
        vm_map_interlock(&map, &ilock, at(2), at(3));
        walk_and_enter(found.entry);
        vm_map_deinterlock(&map, &ilock);
        vm_map_lookup_done(&map);
    }
    return NULL;
}

/* Change the table and invalidate; from then on only the new page may be found mapped. */
static void
walk_change(vpte_t target)
{
    struct vm_page *m;

    if (walk_by_root) {
        cr_assert(vm_map_setmap(&map, at(0), at(4), target) == 0);
    } else {
        atomic_store(&table, target);
        cr_assert(vm_map_inval(&map, at(0), at(4)) == 0);
    }
    for (unsigned look = 0; look < 3; look++) {
        if (pmap_extract(&pmap, at(2), &m) != VM_PROT_NONE)
            cr_assert(m == page(target), "an older walk entered its page");
        sched_yield();
    }
}

static void
walk_race(bool by_root)
{
    struct vm_map_insert args = vpagetable(0, 4);
    pthread_t threads[2];

    args.root = 0;
    walk_by_root = by_root;
    cr_assert(insert(args) == 0);
    for (unsigned i = 0; i < WALK_PAGES; i++) {
        pthread_mutex_init(&owner[i], NULL);
        (void)page(i);
    }
    for (unsigned i = 0; i < 2; i++)
        cr_assert(pthread_create(&threads[i], NULL, walk_thread, NULL) == 0);
    while (pmap_extract(&pmap, at(2), NULL) == VM_PROT_NONE)
        sched_yield(); /* a walker is under way */
    for (unsigned round = 1; round <= WALK_ROUNDS; round++)
        walk_change(round % WALK_PAGES);
    atomic_store(&walk_ends, true);
    for (unsigned i = 0; i < 2; i++)
        cr_assert(pthread_join(threads[i], NULL) == 0);
    cr_expect(fake.removed_pages > 0, "the race took place");
}

CHECKED_TEST(vm_map, after_inval_no_walk_of_the_old_table_enters_a_page)
{
    walk_race(false);
}

CHECKED_TEST(vm_map, after_setmap_no_walk_from_the_old_root_enters_a_page)
{
    walk_race(true);
}

static void *
inval_thread(void *argument)
{
    (void)argument;
    while (!atomic_load(&walk_ends))
        assert(vm_map_inval(&map, at(0), at(4)) == 0);
    return NULL;
}

/* Readers of the map that overlap without end; where they go first, this never ends. */
CHECKED_TEST(vm_map, endless_inval_does_not_keep_an_edit_out)
{
    pthread_t threads[4];

    cr_assert(insert(vpagetable(0, 4)) == 0);
    for (unsigned i = 0; i < 4; i++)
        cr_assert(pthread_create(&threads[i], NULL, inval_thread, NULL) == 0);
    for (unsigned round = 0; round < 100; round++) {
        cr_assert(vm_map_advise(&map, at(0), at(4), VM_ADVICE_RANDOM) == 0);
        cr_assert(pmap_window_add(&pmap, at(8), 1, PMAP_NO_NATURAL) == 0);
        cr_assert(pmap_window_remove(&pmap, at(8)) == 0);
        sched_yield();
    }
    atomic_store(&walk_ends, true);
    for (unsigned i = 0; i < 4; i++)
        cr_assert(pthread_join(threads[i], NULL) == 0);
}

/* Edits, each in its own half of the address space, with lookups and INVAL all over it. */
static void *
edit_thread(void *argument)
{
    uint64_t base = *(unsigned *)argument * 100;

    for (unsigned round = 0; round < 400; round++) {
        assert(insert(normal(base, base + 8)) == 0);
        assert(insert(vpagetable(base + 8, base + 16)) == 0);
        assert(vm_map_advise(&map, at(base), at(base + 16), VM_ADVICE_RANDOM) == 0);
        assert(vm_map_protect(&map, at(base), at(base + 16), VM_PROT_READ) == 0);
        assert(vm_map_remove(&map, at(base), at(base + 16)) == 0);
    }
    atomic_store(&walk_ends, true);
    return NULL;
}

static void *
look_thread(void *argument)
{
    (void)argument;
    while (!atomic_load(&walk_ends)) {
        for (uint64_t i = 90; i < 220; i += 5) {
            struct vm_map_lookup found;
            int error = vm_map_inval(&map, at(i), at(i + 4));

            assert(error == 0 || error == -ENOENT);
            if (vm_map_lookup(&map, at(i), VM_PROT_READ, &found) != VM_OK)
                continue;
            assert(found.object == object && found.entry->start.value <= at(i).value);
            vm_map_lookup_done(&map);
        }
        sched_yield();
    }
    return NULL;
}

CHECKED_TEST(vm_map, edits_race_with_lookups_and_inval_without_harm)
{
    pthread_t threads[4];
    unsigned halves[2] = { 1, 2 };

    cr_assert(pthread_create(&threads[0], NULL, edit_thread, &halves[0]) == 0);
    cr_assert(pthread_create(&threads[1], NULL, edit_thread, &halves[1]) == 0);
    cr_assert(pthread_create(&threads[2], NULL, look_thread, NULL) == 0);
    cr_assert(pthread_create(&threads[3], NULL, look_thread, NULL) == 0);
    for (unsigned i = 0; i < 4; i++)
        cr_assert(pthread_join(threads[i], NULL) == 0);
    cr_expect(map.nentries == 0);
}
