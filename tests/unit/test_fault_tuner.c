/* SPDX-License-Identifier: BSD-2-Clause */
/* The choice of how fault threads wait, over hosts that are a table of times. */
#include "vmm/kvm/fault_tuner.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define ALL ((1u << FAULT_WAYS) - 1)
#define BATCH 16u

/* What a fault takes in each way, ns. */
struct world {
    uint64_t ns[FAULT_WAYS];
    unsigned noise; /* per cent more or less */
    unsigned pause; /* one in so many times is a second long; 0 = none */
};

static struct fault_tuner tuner;
static unsigned random_state;

static uint64_t
a_time(const struct world *world)
{
    uint64_t ns = world->ns[tuner.way];

    random_state = random_state * 1664525 + 1013904223;
    if (world->pause != 0 && random_state / 65536 % world->pause == 0)
        return 1000000000;
    if (world->noise != 0)
        ns = ns * (100 - world->noise + random_state / 65536 % (2 * world->noise)) / 100;
    return ns;
}

/* So many faults, in batches. */
static void
live(const struct world *world, unsigned nfaults)
{
    for (unsigned i = 0; i < nfaults; i += BATCH) {
        struct fault_pace pace = { 0 };
        enum fault_way before = tuner.way;
        bool changed;

        for (unsigned k = 0; k < BATCH; k++)
            fault_pace_add(&pace, a_time(world));
        changed = fault_tuner_feed(&tuner, &pace);
        cr_assert(changed == (tuner.way != before));
        cr_assert((tuner.candidates & FAULT_WAY_BIT(tuner.way)) != 0);
    }
}

Test(fault_tuner, any_way_that_is_the_best_is_found_within_a_few_hundred_faults_for_each)
{
    for (unsigned best = 0; best < FAULT_WAYS; best++) {
        struct world world = { .noise = 30 };

        for (unsigned way = 0; way < FAULT_WAYS; way++)
            world.ns[way] = way == best ? 20000 : 26000 + 7000 * way;
        fault_tuner_init(&tuner, ALL, FAULT_WAY_BLOCK);
        live(&world, FAULT_WAYS * FAULT_TUNER_ROUNDS * (FAULT_TUNER_TURN + FAULT_TUNER_IGNORED));
        cr_expect(!tuner.looking && tuner.way == best && tuner.looks == 1, "%u", best);
        cr_expect(tuner.figure[best] > 18000 && tuner.figure[best] < 22000);
    }
}

Test(fault_tuner, what_is_equally_fast_costs_the_host_least)
{
    const struct world world = { .ns = { 20000, 20100, 19900, 19800, 19950 } };

    fault_tuner_init(&tuner, ALL, FAULT_WAY_LINE);
    live(&world, 4000);
    cr_expect(!tuner.looking && tuner.way == FAULT_WAY_BLOCK);
}

Test(fault_tuner, only_candidates_are_used_and_a_single_one_is_never_questioned)
{
    const struct world world = { .ns = { 90000, 10000, 20000, 50000, 60000 } };

    fault_tuner_init(&tuner, ALL & ~FAULT_WAY_BIT(FAULT_WAY_SAME), FAULT_WAY_BLOCK);
    live(&world, 4000);
    cr_expect(tuner.way == FAULT_WAY_SPIN);
    fault_tuner_init(&tuner, FAULT_WAY_BIT(FAULT_WAY_LINE), FAULT_WAY_LINE);
    live(&world, 300000);
    cr_expect(tuner.way == FAULT_WAY_LINE && tuner.looks == 0 && !tuner.looking);
}

Test(fault_tuner, a_pause_now_and_then_decides_nothing)
{
    const struct world world = { .ns = { 40000, 20000, 60000, 70000, 50000 }, .pause = 150 };

    fault_tuner_init(&tuner, ALL, FAULT_WAY_BLOCK);
    live(&world, 6000);
    cr_expect(!tuner.looking && tuner.way == FAULT_WAY_SAME);
}

Test(fault_tuner, a_long_time_counts_as_a_bound_of_it_and_as_long)
{
    struct fault_pace pace = { 0 };

    fault_pace_add(&pace, 1000);
    fault_pace_add(&pace, 3600000000000);
    cr_expect(pace.ns == 1000 + FAULT_PACE_LONG && pace.count == 2 && pace.nlong == 1);
}

Test(fault_tuner, one_bad_turn_does_not_cost_the_best_way_the_race)
{
    struct world world = { .ns = { 40000, 20000, 60000, 70000, 26000 } };

    fault_tuner_init(&tuner, ALL, FAULT_WAY_BLOCK);
    while (tuner.looking) {
        world.ns[FAULT_WAY_SAME] = tuner.round == 1 ? 60000 : 20000;
        live(&world, BATCH);
    }
    cr_expect(tuner.way == FAULT_WAY_SAME);
}

Test(fault_tuner, a_guest_that_mostly_does_something_else_stays_as_it_was)
{
    const struct world world = { .ns = { 40000, 20000, 60000, 70000, 50000 }, .pause = 3 };

    fault_tuner_init(&tuner, ALL, FAULT_WAY_SHORT_LINE);
    live(&world, 3000);
    cr_expect(!tuner.looking && tuner.way == FAULT_WAY_SHORT_LINE);
}

Test(fault_tuner, a_way_that_other_work_keeps_from_the_processor_is_slow_and_cut_short)
{
    const struct world world = { .ns = { 150000, 90000, 3000000, 3000000, 3000000 } };

    fault_tuner_init(&tuner, ALL, FAULT_WAY_BLOCK);
    live(&world, 2 * (FAULT_TUNER_TURN + FAULT_TUNER_IGNORED));
    cr_expect(tuner.way == FAULT_WAY_SPIN);
    live(&world, 3 * (FAULT_TUNER_IGNORED + BATCH));
    cr_expect(tuner.round == 1, "three turns took a batch each");
    live(&world, 4 * (FAULT_TUNER_TURN + FAULT_TUNER_IGNORED));
    cr_expect(!tuner.looking && tuner.way == FAULT_WAY_SAME);
}

Test(fault_tuner, another_pace_makes_it_look_again_and_find_what_is_best_then)
{
    struct world world = { .ns = { 40000, 60000, 50000, 30000, 20000 }, .noise = 20 };

    fault_tuner_init(&tuner, ALL, FAULT_WAY_BLOCK);
    live(&world, 10000);
    cr_assert(!tuner.looking && tuner.way == FAULT_WAY_LINE && tuner.looks == 1);
    world.ns[FAULT_WAY_LINE] = 100000;
    live(&world, 10000);
    cr_expect(!tuner.looking && tuner.way == FAULT_WAY_SHORT_LINE && tuner.looks == 2);
}

Test(fault_tuner, a_pace_that_changes_all_the_time_is_followed_less_and_less)
{
    struct world world = { .ns = { 20000, 60000, 50000, 40000, 30000 } };

    fault_tuner_init(&tuner, ALL, FAULT_WAY_BLOCK);
    for (unsigned i = 0; i < 500; i++) {
        live(&world, 1500);
        for (unsigned way = 0; way < FAULT_WAYS; way++)
            world.ns[way] = i % 2 == 0 ? world.ns[way] * 2 : world.ns[way] / 2;
    }
    cr_expect(tuner.way == FAULT_WAY_BLOCK || tuner.looking);
    cr_expect(tuner.looks >= 3 && tuner.looks < 20, "%u", (unsigned)tuner.looks);
}

Test(fault_tuner, a_way_that_turns_out_impossible_is_left_and_never_tried_again)
{
    const struct world world = { .ns = { 40000, 60000, 50000, 30000, 20000 } };

    fault_tuner_init(&tuner, ALL, FAULT_WAY_BLOCK);
    while (tuner.way != FAULT_WAY_LINE)
        live(&world, BATCH);
    cr_expect(fault_tuner_refuse(&tuner, FAULT_WAY_LINE));
    for (unsigned i = 0; i < 500; i++) {
        cr_assert(tuner.way != FAULT_WAY_LINE);
        live(&world, BATCH);
    }
    cr_expect(!tuner.looking && tuner.way == FAULT_WAY_SHORT_LINE);
    for (unsigned way = FAULT_WAYS - 1; way > 0; way--)
        if (way != FAULT_WAY_LINE)
            (void)fault_tuner_refuse(&tuner, (enum fault_way)way);
    cr_expect(!tuner.looking && tuner.way == FAULT_WAY_BLOCK);
}
