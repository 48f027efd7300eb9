/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A vCPU counts through a window while another one takes M away again and again: if the count has grown
 * between two INVALs, M is there.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/fdt.h"
#include "guest/lib/race.h"
#include "guest/lib/window.h"

#define ROUNDS 200

static struct window window;
static uint32_t stop;

static void
count(void)
{
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
        __atomic_fetch_add((uint64_t *)window.start, 1, __ATOMIC_RELAXED);
}

/* Returns how often M was missing though the page was written. */
static uint64_t
look_for_m(void)
{
    void *entry = vpte_entry(&window.table, 0);
    volatile uint64_t *word = ram_word(vpte_frame(vpte_read(&window.table, entry)));
    uint64_t last = 0, unseen = 0;

    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t old, now;

        /* Every other time the page is mapped by a read first. */
        if (round % 2 != 0)
            (void)*(volatile uint64_t *)(window.start + 8);
        old = vpte_clear_bits(&window.table, entry, VKVM_VPTE_M);
        doorbell_inval(window.start, window.size);
        now = *word;
        /* Written before M was taken away, or set again since. */
        old |= vpte_read(&window.table, entry);
        unseen += now != last && (old & VKVM_VPTE_M) == 0;
        last = now;
    }
    return unseen;
}

static uint64_t
on_vcpu(uint64_t cpu)
{
    uint64_t unseen = 0;

    if (cpu == 0) {
        unseen = look_for_m();
        __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    } else {
        count();
    }
    return unseen;
}

int
guest_main(void)
{
    struct vkvm_statistics since;
    uint64_t unseen;

    access_init();
    test_begin("no write goes unseen while M is taken away");
    EXPECT(fdt_machine()->ncpus >= 2, "one vCPU");
    window_init_mapped(&window, &vpte64, 1);
    since = counters_now();
    unseen = race(on_vcpu);
    EXPECT(unseen == 0, "%lu times", unseen);
    EXPECT_COUNT(since, invals, == ROUNDS);
    EXPECT_COUNT(since, vpte_m, >= 2);
    test_end();
    return test_summary();
}

void
guest_secondary(unsigned cpu)
{
    smp_serve(cpu);
}
