/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One vCPU writes in ring 0 and one in ring 3, to the same pages, while memory is short: every locked
 * addition counts, whichever way its page came.  Runs with --ram 1M, swap and 2 vCPUs.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/fdt.h"
#include "guest/lib/pressure.h"
#include "guest/lib/ring3.h"
#include "guest/lib/smp.h"
#include "guest/lib/sync.h"
#include "guest/lib/window.h"

#define PAGES 32
#define ROUNDS 40

static struct window window;

/* Either ring. */
static uint64_t
add_all(uint64_t amount)
{
    for (unsigned round = 0; round < ROUNDS; round++)
        for (uint64_t i = 0; i < PAGES; i++)
            __atomic_fetch_add((uint64_t *)window_address(&window, i), amount, __ATOMIC_RELAXED);
    return 0;
}

static uint64_t
add_in_ring0(uint64_t amount)
{
    return add_all(amount);
}

static uint64_t
add_in_ring3(uint64_t amount)
{
    return ring3_call(add_all, amount);
}

int
guest_main(void)
{
    struct vkvm_statistics since;
    uint64_t wrong = 0;

    access_init();
    test_begin("ring 0 and ring 3 add to the same pages while those page out");
    EXPECT(fdt_machine()->ncpus >= 2, "one vCPU");
    window_init_mapped(&window, &vpte64, PAGES);
    since = counters_now();
    for (unsigned pass = 0; pass < 2; pass++) {
        smp_start(1, pass == 0 ? add_in_ring0 : add_in_ring3, 1);
        (void)(pass == 0 ? add_in_ring3 : add_in_ring0)(1000);
        (void)smp_wait(1);
        pressure();
    }
    for (uint64_t i = 0; i < PAGES; i++)
        wrong += *ram_word(vpte_frame(vpte_get(&window.table, i))) != 2 * ROUNDS * 1001;
    EXPECT(wrong == 0, "%lu pages lost an addition", wrong);
    EXPECT_COUNT(since, pages_out, >= PAGES);
    test_end();
    return test_summary();
}

void
guest_secondary(unsigned cpu)
{
    smp_serve(cpu);
}
