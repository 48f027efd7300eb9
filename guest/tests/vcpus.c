/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All vCPUs fault at once, on pages of their own and on pages they share, in RAM and
 * through a window.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/fdt.h"
#include "guest/lib/ring3.h"
#include "guest/lib/smp.h"
#include "guest/lib/sync.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

#define PAGES 512 /* of each vCPU, and shared */

static struct window window;
static struct sync_barrier barrier;
static uint64_t ram; /* PAGES for each vCPU, then PAGES shared ones */
static uint64_t shared;

/* Ring 3: add to every shared page, mark every page of one's own. */
static uint64_t
touch_all(uint64_t cpu)
{
    uint64_t own = ram + cpu * PAGES * PAGE_SIZE;
    uint64_t wrong = 0;

    sync_barrier_wait(&barrier);
    for (uint64_t i = 0; i < PAGES; i++) {
        __atomic_fetch_add((uint64_t *)(shared + i * PAGE_SIZE), 1, __ATOMIC_RELAXED);
        *ram_word(own + i * PAGE_SIZE) += cpu + i;
        __atomic_fetch_add((uint64_t *)window_address(&window, i), 1, __ATOMIC_RELAXED);
    }
    for (uint64_t i = 0; i < PAGES; i++)
        wrong += *ram_word(own + i * PAGE_SIZE) != cpu + i;
    return wrong;
}

static uint64_t
run_ring3(uint64_t cpu)
{
    return ring3_call(touch_all, cpu);
}

int
guest_main(void)
{
    unsigned ncpus;
    uint64_t wrong = 0, lost = 0;

    access_init();
    ncpus = fdt_machine()->ncpus;
    test_begin("faults of all vCPUs at once, on their own and on shared pages");
    ram = ram_alloc_run((ncpus + 1) * PAGES, PAGE_SIZE);
    shared = ram + (uint64_t)ncpus * PAGES * PAGE_SIZE;
    window_init(&window, &vpte64, PAGES);
    for (uint64_t i = 0; i < PAGES; i++)
        window_map_new(&window, i, VPTE_RW);
    barrier.count = ncpus;
    for (unsigned cpu = 1; cpu < ncpus; cpu++)
        smp_start(cpu, run_ring3, cpu);
    wrong = run_ring3(0);
    for (unsigned cpu = 1; cpu < ncpus; cpu++)
        wrong += smp_wait(cpu);
    EXPECT(wrong == 0, "%lu pages of one vCPU have wrong data", wrong);
    for (uint64_t i = 0; i < PAGES; i++) {
        lost += *ram_word(shared + i * PAGE_SIZE) != ncpus;
        lost += *ram_word(vpte_frame(vpte_get(&window.table, i))) != ncpus;
    }
    EXPECT(lost == 0, "%lu shared pages lost an addition", lost);
    test_note("%u vCPUs", ncpus);
    test_end();
    return test_summary();
}

void
guest_secondary(unsigned cpu)
{
    smp_serve(cpu);
}
