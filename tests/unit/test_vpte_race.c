/* SPDX-License-Identifier: BSD-2-Clause */
/* The walker against a guest that changes entries under the walk. */
#include "tests/unit/vpte_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

/* Races: one thread is the guest, one walks. */

#define RACE_ROUNDS 200000

static _Atomic uint64_t *
atomic_entry(uint64_t pindex, unsigned level)
{
    return (_Atomic uint64_t *)path_entry(&vpte64_format, pindex, level);
}

struct race {
    struct vpte_model model; /* the path */
    vm_prot_t access;
    _Atomic bool stop;
    _Atomic uint64_t walks; /* finished, in any way */
    _Atomic uint64_t m_set;
    _Atomic uint64_t ok;
};

static void *
race_walker(void *arg)
{
    struct race *race = arg;

    while (!atomic_load(&race->stop)) {
        struct vpte_walk walk;
        enum vm_result result = walk_to_end(&walk, &vpte64_format, race->model.entry[0],
                                            race->model.page, race->access, OBJECT_PAGES);

        atomic_fetch_add(&race->m_set, walk.m_set);
        atomic_fetch_add(&race->ok, result == VM_OK);
        atomic_fetch_add(&race->walks, 1);
        if (result != VM_OK)
            sched_yield();
    }
    return NULL;
}

static void
race_start(struct race *race, vm_prot_t access, unsigned am, pthread_t *thread)
{
    memset(race, 0, sizeof(*race));
    model_init(&race->model, &vpte64_format, am);
    race->access = access;
    path_write(&race->model);
    cr_assert(zero(int, pthread_create(thread, NULL, race_walker, race)));
    while (atomic_load(&race->ok) == 0)
        sched_yield();
}

static void
race_stop(struct race *race, pthread_t thread)
{
    atomic_store(&race->stop, true);
    pthread_join(thread, NULL);
}

/* Wait until every walk that was under way has ended. */
static void
race_settle(struct race *race)
{
    uint64_t seen = atomic_load(&race->walks);

    while (atomic_load(&race->walks) < seen + 2)
        sched_yield();
}

Test(vpte, no_update_of_a_guest_is_lost_to_the_write_back, .timeout = 120)
{
    struct race race;
    pthread_t thread;
    _Atomic uint64_t *entry;

    race_start(&race, VM_PROT_WRITE, 3, &thread);
    entry = atomic_entry(race.model.page, 4);
    for (unsigned i = 0; i < RACE_ROUNDS; i++) {
        atomic_fetch_add(entry, UINT64_C(1) << 52); /* ignored bits: a counter */
        atomic_fetch_and(entry, ~(uint64_t)(VPTE_A | VPTE_M));
    }
    race_stop(&race, thread);
    cr_assert(eq(u64, atomic_load(entry) >> 52, RACE_ROUNDS % 4096));
    cr_assert(gt(u64, atomic_load(&race.ok), 0));
}

Test(vpte, every_m_that_is_set_is_in_the_value_the_guest_swaps_out, .timeout = 120)
{
    struct race race;
    pthread_t thread;
    _Atomic uint64_t *entry;
    uint64_t clean, seen = 0, dirt = 0;

    race_start(&race, VM_PROT_WRITE, 3, &thread);
    clean = RESULT_PAGE << 12 | PASS;
    entry = atomic_entry(race.model.page, 4);
    seen -= (atomic_load(entry) & VPTE_M) != 0; /* the first one was not set by a walk */
    for (unsigned i = 0; i < RACE_ROUNDS || atomic_load(&race.m_set) == 0; i++) {
        seen += (atomic_exchange(entry, 0) & VPTE_M) != 0;
        if (i % 64 == 0)
            sched_yield();
        dirt |= atomic_load(entry); /* W5: nothing is set on an invalid entry */
        atomic_store(entry, clean);
        if (i % 16 == 0)
            sched_yield();
    }
    race_stop(&race, thread);
    seen += (atomic_load(entry) & VPTE_M) != 0;
    cr_assert(zero(u64, dirt));
    cr_assert(eq(u64, seen, atomic_load(&race.m_set)));
    cr_assert(gt(u64, seen, 0));
}

Test(vpte, a_guest_that_swaps_a_directory_out_sees_m_or_stops_the_walk, .timeout = 120)
{
    uint64_t directory = table_page[3] << 12 | PASS, leaf = RESULT_PAGE << 12 | PASS;
    _Atomic uint64_t *upper, *lower;
    unsigned touched = 0, stopped = 0;
    struct race race;
    pthread_t thread;

    race_start(&race, VM_PROT_READ, 3, &thread);
    upper = atomic_entry(race.model.page, 3);
    lower = atomic_entry(race.model.page, 4);
    for (unsigned i = 0; i < RACE_ROUNDS / 20; i++) {
        uint64_t old;

        atomic_store(upper, 0);
        race_settle(&race);
        atomic_store(lower, leaf);
        atomic_store(upper, directory);
        for (volatile unsigned wait = 0; wait < i % 512; wait++)
            ;
        old = atomic_exchange(upper, 0);
        race_settle(&race);
        if (atomic_load(lower) & VPTE_A) {
            touched++;
            cr_assert(ne(u64, old & VPTE_M, 0),
                      "the table changed, but its directory says it did not");
        } else {
            stopped++;
        }
    }
    race_stop(&race, thread);
    cr_assert(gt(uint, touched, 0));
    cr_assert(gt(uint, stopped, 0));
}

/* Bits flip at all levels: whatever the walk returns, software bits are as the guest left them. */
Test(vpte, flags_that_flip_at_all_levels_never_leave_a_mark_on_a_forbidding_entry, .timeout = 120)
{
    struct race race;
    pthread_t thread;

    race_start(&race, VM_PROT_WRITE, 0, &thread);
    for (unsigned i = 0; i < RACE_ROUNDS; i++) {
        unsigned level = 1 + i % 4;
        uint64_t frame = race.model.entry[level] & ~UINT64_C(0xFFF);
        _Atomic uint64_t *entry = atomic_entry(race.model.page, level);

        /* Without W a write walk may not set anything. */
        atomic_store(entry, frame | (PASS & ~VPTE_W));
        if (i % 32 == 0)
            sched_yield();
        cr_assert(eq(u64, atomic_load(entry), frame | (PASS & ~VPTE_W)));
        atomic_store(entry, frame | PASS);
    }
    race_stop(&race, thread);
    cr_assert(gt(u64, atomic_load(&race.ok), 0));
}
