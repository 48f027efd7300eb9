/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest/lib/race.h"

#include "guest/lib/fdt.h"
#include "guest/lib/ring3.h"
#include "guest/lib/sync.h"

static struct sync_barrier barrier;
static uint64_t (*runner)(uint64_t cpu);

/* Ring 3. */
static uint64_t
race_begin(uint64_t cpu)
{
    sync_barrier_wait(&barrier);
    return runner(cpu);
}

static uint64_t
race_in_ring3(uint64_t cpu)
{
    return ring3_call(race_begin, cpu);
}

uint64_t
race(uint64_t (*function)(uint64_t cpu))
{
    unsigned ncpus = fdt_machine()->ncpus;
    uint64_t sum;

    runner = function;
    barrier.count = ncpus;
    for (unsigned cpu = 1; cpu < ncpus; cpu++)
        smp_start(cpu, race_in_ring3, cpu);
    sum = race_in_ring3(0);
    for (unsigned cpu = 1; cpu < ncpus; cpu++)
        sum += smp_wait(cpu);
    return sum;
}
