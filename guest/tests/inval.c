/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * INVAL after a change: the next access walks the new table, data stays, and only the range
 * given is affected.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

static void
a_changed_entry_is_seen_after_inval(void)
{
    struct window window;
    struct access_fault fault;
    uint64_t first, second, old;

    test_begin("a changed entry is seen after INVAL, and the old page keeps its data");
    window_init(&window, &vpte64, 16);
    first = window_map_new(&window, 1, VPTE_RW);
    access_store(window_address(&window, 1), 11, &fault);
    old = vpte_unmap(&window.table, 1);
    EXPECT(doorbell_inval(window_address(&window, 1), PAGE_SIZE) == 0, "INVAL");
    EXPECT((old & VPTE_AM) == VPTE_AM, "old entry 0x%lx", old);
    second = window_map_new(&window, 1, VPTE_RW);
    *ram_word(second) = 22;
    EXPECT(access_load(window_address(&window, 1), &fault) == 22, "stale data");
    access_store(window_address(&window, 1), 23, &fault);
    EXPECT(*ram_word(first) == 11 && *ram_word(second) == 23, "pages have %lu and %lu",
           *ram_word(first), *ram_word(second));
    window_fini(&window);
    test_end();
}

static void
an_unmapped_entry_faults_after_inval(void)
{
    struct window window;
    struct access_fault fault;

    test_begin("an entry that was swapped out faults after INVAL");
    window_init(&window, &vpte64, 16);
    window_map_new(&window, 1, VPTE_RW);
    window_map_new(&window, 2, VPTE_RW);
    access_store(window_address(&window, 1), 1, &fault);
    access_store(window_address(&window, 2), 2, &fault);
    (void)vpte_unmap(&window.table, 1);
    doorbell_inval(window_address(&window, 1), PAGE_SIZE);
    (void)access_load(window_address(&window, 1), &fault);
    EXPECT(access_faulted_with(&fault, 0), "count %u", fault.count);
    EXPECT(access_load(window_address(&window, 2), &fault) == 2 && fault.count == 0,
           "the neighbour went too");
    window_fini(&window);
    test_end();
}

static void
inval_refuses_nonsense(void)
{
    struct window window;

    test_begin("INVAL refuses what is not mapped, empty or unaligned");
    window_init(&window, &vpte64, 16);
    EXPECT(doorbell_inval(window.start + 1, PAGE_SIZE) == -VKVM_EINVAL, "unaligned start");
    EXPECT(doorbell_inval(window.start, 100) == -VKVM_EINVAL, "unaligned size");
    EXPECT(doorbell_inval(window.start, 0) == -VKVM_EINVAL, "empty");
    EXPECT(doorbell_inval(window.start + window.size, PAGE_SIZE) == -VKVM_ENOENT, "not mapped");
    EXPECT(doorbell_inval(window.start, UINT64_MAX & ~PAGE_MASK) < 0, "wraps around");
    EXPECT(doorbell_inval(0, PAGE_SIZE) == 0, "RAM may be invalidated too");
    window_fini(&window);
    test_end();
}

int
guest_main(void)
{
    access_init();
    a_changed_entry_is_seen_after_inval();
    an_unmapped_entry_faults_after_inval();
    inval_refuses_nonsense();
    return test_summary();
}
