/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest that writes garbage: random page tables, random roots, random doorbell calls, random
 * accesses.  Whatever comes back, the VM must live to print the result.
 * "seed=N" and "rounds=N" choose the garbage.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/fdt.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

#define PAGES 64
#define TABLE_PAGES 8

static uint64_t state;
static uint64_t tables;

static uint64_t
random64(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* An entry that often points into the garbage itself, so that walks go deep. */
static uint64_t
random_entry(void)
{
    uint64_t flags = random64() & 0x7ff;
    uint64_t frame = random64() & 3 ? tables + random64() % TABLE_PAGES * PAGE_SIZE
                                    : random64() & VKVM_VPTE_FRAME;

    return frame | flags | (random64() & 1 ? VPTE_RW : 0);
}

static uint64_t
random_argument(const struct window *window)
{
    switch (random64() % 6) {
    case 0:
        return window->start + random64() % (2 * PAGES) * PAGE_SIZE;
    case 1:
        return random64() % 64 * PAGE_SIZE;
    case 2:
        return random64();
    case 3:
        return random64() & 0xff;
    case 4:
        return (uint64_t)0 - PAGE_SIZE;
    default:
        return fdt_machine()->memory_size - random64() % 3 * PAGE_SIZE;
    }
}

/*
 * Any call but EXIT, which would end the test, FAULT_DELIVERY, which would take our own faults away,
 * and STATISTICS, which may write over us.
 */
static void
random_call(const struct window *window)
{
    uint64_t number = VKVM_CALL_SETMAP + random64() % (VKVM_CALL_COUNT - VKVM_CALL_SETMAP);
    uint64_t argument[5];

    for (unsigned i = 0; i < 5; i++)
        argument[i] = random_argument(window);
    if (number == VKVM_CALL_VMSPACE_DESTROY || number == VKVM_CALL_VMSPACE_UNMAP)
        argument[0] = WINDOW_VMSPACE + 1 + random64() % 8;
    if (number == VKVM_CALL_PROTECT && argument[0] < VKVM_WINDOW_BASE)
        argument[0] = window->start;
    (void)doorbell_call(number, argument, (uint64_t *)0);
}

static void
one_round(const struct window *window)
{
    struct access_fault fault;
    uint64_t *table = (uint64_t *)tables;

    for (unsigned i = 0; i < 16; i++)
        table[random64() % (TABLE_PAGES * 512)] = random_entry();
    if (random64() % 4 == 0)
        doorbell_setmap(window->start, window->size, random_entry());
    if (random64() % 4 == 0)
        random_call(window);
    (void)access_load(window_address(window, random64() % PAGES), &fault);
    (void)access_load(random64() % (UINT64_C(4) << 30) & ~UINT64_C(7), &fault);
    if (random64() % 8 == 0)
        doorbell_inval(window->start, window->size);
}

int
guest_main(void)
{
    struct window window;
    uint64_t rounds;

    access_init();
    state = fdt_argument_number("seed", 12345);
    rounds = fdt_argument_number("rounds", 500);
    tables = ram_alloc_run(TABLE_PAGES, PAGE_SIZE);
    window_init(&window, &vpte64, PAGES);
    test_begin("garbage in page tables and doorbell calls hurts only the guest");
    for (uint64_t i = 0; i < rounds; i++)
        one_round(&window);
    EXPECT(doorbell_version() == VKVM_ABI_VERSION, "the doorbell is gone");
    test_note("seed %lu, %lu rounds", fdt_argument_number("seed", 12345), rounds);
    test_end();
    return test_summary();
}
