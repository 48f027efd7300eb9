/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A vCPU that waits for a flag faults on the same page without end when another one keeps
 * dropping the page's mapping.  Nobody may take it for stuck.
 * Argument: rounds, of dropping.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/fdt.h"
#include "guest/lib/ring3.h"
#include "guest/lib/smp.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"
#include "guest/lib/x86.h"

#define PAGE 5
#define PAGES 16
#define FLAG 42

static struct window window;

/* Ring 3.  Besides the flag's page only the code's and the stack's are touched. */
static uint64_t
wait_by_reading(uint64_t address)
{
    volatile uint64_t *flag = (volatile uint64_t *)address;

    while (*flag == 0)
        x86_pause();
    return *flag;
}

static uint64_t
wait_by_writing(uint64_t address)
{
    volatile uint64_t *flag = (volatile uint64_t *)address;

    while (__atomic_fetch_add(flag, 0, __ATOMIC_SEQ_CST) == 0)
        x86_pause();
    return *flag;
}

/* Some wait by reading, others by writing: so they also bring mappings back for each other. */
static uint64_t
wait(uint64_t cpu)
{
    return ring3_call(cpu % 2 != 0 ? wait_by_reading : wait_by_writing,
                      window_address(&window, PAGE));
}

static int64_t
drop_by_inval(void)
{
    return doorbell_inval(window_address(&window, PAGE), PAGE_SIZE);
}

static int64_t
drop_by_setmap(void)
{
    return doorbell_setmap(window.start, window.size, window.table.root);
}

static void
wait_while(const char *name, int64_t (*drop)(void))
{
    uint64_t rounds = fdt_argument_number("rounds", 20000), ram;
    unsigned ncpus = fdt_machine()->ncpus;

    test_begin(name);
    window_init(&window, &vpte64, PAGES);
    ram = window_map_new(&window, PAGE, VPTE_RW);
    for (unsigned cpu = 1; cpu < ncpus; cpu++)
        smp_start(cpu, wait, cpu);
    for (uint64_t i = 0; i < rounds; i++)
        EXPECT(drop() == 0, "round %lu", i);
    *ram_word(ram) = FLAG;
    for (unsigned cpu = 1; cpu < ncpus; cpu++)
        EXPECT(smp_wait(cpu) == FLAG, "vCPU %u", cpu);
    window_fini(&window);
    test_end();
}

int
guest_main(void)
{
    access_init();
    if (fdt_machine()->ncpus < 2) {
        test_begin("a vCPU may wait for a flag in a page that others drop");
        test_skip("needs 2 vCPUs");
        test_end();
        return test_summary();
    }
    wait_while("a vCPU may wait for a flag in a page that is invalidated often", drop_by_inval);
    wait_while("a vCPU may wait for a flag in a window that is switched often", drop_by_setmap);
    return test_summary();
}

void
guest_secondary(unsigned cpu)
{
    smp_serve(cpu);
}
