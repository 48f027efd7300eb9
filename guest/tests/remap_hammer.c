/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One vCPU increments a counter through a window, as fast as it can, while another remaps the
 * page under it, again and again.  After INVAL no write may reach the old frame, and no write
 * may be lost: the counts of all frames add up to what was counted.
 * Needs 2 vCPUs; "rounds=N" says how often to remap.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/fdt.h"
#include "guest/lib/ring3.h"
#include "guest/lib/smp.h"
#include "guest/lib/test.h"
#include "guest/lib/traps.h"
#include "guest/lib/window.h"
#include "guest/lib/x86.h"

#define FRAMES 3
#define PAGE 5
#define SETTLE 200 /* reads of an old frame, to catch a late write */

static struct window window;
static uint64_t frames[FRAMES];
static uint32_t stop;
static uint64_t progress; /* increments begun, as the hammering vCPU counts them */

/* In ring 3, on the second vCPU. */
static uint64_t
hammer(uint64_t argument)
{
    uint64_t count = 0;

    (void)argument;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        __asm__ volatile("incq (%0)" ::"r"(window_address(&window, PAGE)) : "memory", "cc");
        count++;
        __atomic_store_n(&progress, count, __ATOMIC_RELAXED);
    }
    return count;
}

static uint64_t
hammer_on_second(uint64_t argument)
{
    return ring3_call(hammer, argument);
}

/* A fault of the hammering vCPU: the entry is swapped out just now; try again. */
static void
wait_for_entry(struct trap_frame *frame)
{
    (void)frame;
    while ((vpte_get(&window.table, PAGE) & VKVM_VPTE_V) == 0)
        x86_pause();
}

static void
await_progress(uint64_t from)
{
    while (__atomic_load_n(&progress, __ATOMIC_RELAXED) == from)
        x86_pause();
}

/* Move the page from frame `from` to frame `to`; false when something was stale or unseen. */
static void
remap(uint64_t from, uint64_t to, uint64_t before)
{
    void *entry = vpte_entry(&window.table, PAGE);
    uint64_t old = vpte_swap(&window.table, entry, 0);
    uint64_t count;

    doorbell_inval(window_address(&window, PAGE), PAGE_SIZE);
    count = *ram_word(from);
    EXPECT(vpte_frame(old) == from, "entry 0x%lx was not ours", old);
    EXPECT(count == before || (old & VPTE_AM) == VPTE_AM, "%lu writes went unseen: entry 0x%lx",
           count - before, old);
    for (unsigned i = 0; i < SETTLE; i++)
        EXPECT(*ram_word(from) == count, "a write came after INVAL");
    vpte_write(&window.table, entry, to | VPTE_RW);
}

int
guest_main(void)
{
    uint64_t rounds, count, sum = 0;

    access_init();
    test_begin("two vCPUs: no stale and no lost write while a page is remapped");
    if (fdt_machine()->ncpus < 2) {
        test_skip("needs 2 vCPUs");
        test_end();
        return test_summary();
    }
    rounds = fdt_argument_number("rounds", 300);
    trap_set_handler(TRAP_PF, wait_for_entry);
    window_init(&window, &vpte64, 16);
    for (unsigned i = 0; i < FRAMES; i++)
        frames[i] = ram_alloc();
    vpte_map(&window.table, PAGE, frames[0], VPTE_RW);
    smp_start(1, hammer_on_second, 0);
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t before = *ram_word(frames[i % FRAMES]);

        await_progress(__atomic_load_n(&progress, __ATOMIC_RELAXED));
        remap(frames[i % FRAMES], frames[(i + 1) % FRAMES], i < FRAMES ? 0 : before);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    count = smp_wait(1);
    for (unsigned i = 0; i < FRAMES; i++)
        sum += *ram_word(frames[i]);
    EXPECT(sum == count, "counted %lu, found %lu", count, sum);
    test_note("%lu remaps, %lu writes", rounds, count);
    test_end();
    return test_summary();
}

void
guest_secondary(unsigned cpu)
{
    smp_serve(cpu);
}
