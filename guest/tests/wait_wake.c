/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * WAIT and WAKE.  A lost wake-up shows as the end of the VM: all vCPUs wait then.
 *
 *   all=1  every vCPU waits for ever
 *   one=1  vCPU 0 waits for an hour
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/fdt.h"
#include "guest/lib/smp.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

#include <stddef.h>

#define SPACE 5
#define BASE (VKVM_WINDOW_BASE + (UINT64_C(16) << 20))
#define REGION_SIZE (8 * PAGE_SIZE)
#define RW (VKVM_MAP_READ | VKVM_MAP_WRITE)
#define PAGES 4
#define ROUNDS 200
#define PRESSURE 1024 /* pages, more than a budget that the test is run with */
#define HOUR_NS UINT64_C(3600000000000)

static struct window window;
static uint64_t frames[PAGES]; /* of the window's pages */

static uint32_t *
word_at(uint64_t address)
{
    return (uint32_t *)address;
}

static uint32_t
load(uint64_t address)
{
    return __atomic_load_n(word_at(address), __ATOMIC_ACQUIRE);
}

static uint64_t
now_ns(void)
{
    struct vkvm_statistics statistics = { 0 };

    doorbell_statistics(&statistics);
    return statistics.time_ns;
}

/* Wait until the word at the address is not 0; how often WAIT came back. */
static uint64_t
wait_until_set(uint64_t address)
{
    uint64_t n = 0;

    while (load(address) == 0) {
        int64_t result = doorbell_wait(word_at(address), 0, VKVM_WAIT_FOREVER);

        if (result != 0 && result != -VKVM_EBUSY)
            return UINT64_MAX;
        n++;
    }
    return n;
}

/* A WAKE that finds the waiter asleep, perhaps after some that do not. */
static void
wake_sleeper(uint64_t address)
{
    int64_t woken;

    do
        woken = doorbell_wake(word_at(address), 1);
    while (woken == 0);
    EXPECT(woken == 1, "WAKE: %ld", woken);
}

static void
set_and_wake(uint64_t store_at, uint64_t wake_at)
{
    __atomic_store_n(word_at(store_at), 1, __ATOMIC_RELEASE);
    doorbell_wake(word_at(wake_at), UINT32_MAX);
}

static void
arguments_are_checked(void)
{
    uint64_t end = fdt_machine()->memory_size;

    test_begin("WAIT and WAKE check everything");
    *ram_word(frames[0]) = 7;
    EXPECT(doorbell_wait(word_at(frames[0]), 8, VKVM_WAIT_FOREVER) == -VKVM_EBUSY, "not equal");
    EXPECT(doorbell_wait(word_at(frames[0] + 2), 7, 0) == -VKVM_EINVAL, "unaligned");
    EXPECT(doorbell_call(VKVM_CALL_WAIT, (uint64_t[5]){ frames[0], UINT64_C(1) << 32 | 7 }, NULL) ==
               -VKVM_EINVAL,
           "64 bits");
    EXPECT(doorbell_wait(word_at(end), 0, 0) == -VKVM_EFAULT, "behind RAM");
    EXPECT(doorbell_wait(word_at(UINT64_MAX - 3), 0, 0) == -VKVM_EFAULT, "the last word");
    EXPECT(doorbell_wait(word_at(window_address(&window, PAGES)), 0, 0) == -VKVM_EFAULT,
           "an invalid vpte");
    EXPECT(doorbell_wake(word_at(frames[0]), 0) == -VKVM_EINVAL, "count 0");
    EXPECT(doorbell_wake(word_at(frames[0] + 1), 1) == -VKVM_EINVAL, "unaligned");
    EXPECT(doorbell_wake(word_at(end), 1) == -VKVM_EFAULT, "behind RAM");
    EXPECT(doorbell_wake(word_at(frames[0]), UINT64_MAX) == 0, "nobody waits");
    test_end();
}

static void
time_outs_end_waits(void)
{
    uint64_t before = now_ns();

    test_begin("a time-out ends a WAIT, not before its time");
    *ram_word(frames[0]) = 0;
    EXPECT(doorbell_wait(word_at(frames[0]), 0, 0) == -VKVM_ETIMEDOUT, "none");
    EXPECT(doorbell_wait(word_at(frames[0]), 0, 20000000) == -VKVM_ETIMEDOUT, "20 ms");
    EXPECT(now_ns() - before >= 20000000, "after %lu ns", now_ns() - before);
    test_end();
}

static void
windows_and_ram_are_one(void)
{
    test_begin("a WAKE through a window reaches a WAIT through RAM, and the reverse");
    for (unsigned i = 0; i < 2; i++) {
        uint64_t ram = frames[i], shown = window_address(&window, i);

        *ram_word(ram) = 0;
        smp_start(1, wait_until_set, i == 0 ? ram : shown);
        wake_sleeper(i == 0 ? shown : ram);
        wake_sleeper(i == 0 ? shown : ram);
        set_and_wake(i == 0 ? shown : ram, i == 0 ? shown : ram);
        EXPECT(smp_wait(1) != UINT64_MAX, "WAIT failed");
    }
    test_end();
}

/* Take as much memory as makes a small budget page the word out. */
static void
press(void)
{
    static uint64_t pages[PRESSURE];

    for (unsigned i = 0; i < PRESSURE; i++) {
        if (pages[i] == 0)
            pages[i] = ram_alloc();
        *ram_word(pages[i]) = i;
    }
}

static void
page_out_loses_nothing(void)
{
    test_begin("a WAKE reaches a WAIT whose page went to swap meanwhile");
    *ram_word(frames[2]) = 0;
    smp_start(1, wait_until_set, window_address(&window, 2));
    wake_sleeper(frames[2]);
    press();
    wake_sleeper(frames[2]);
    press();
    set_and_wake(frames[2], frames[2]);
    EXPECT(smp_wait(1) != UINT64_MAX, "WAIT failed");
    test_end();
}

static void
copies_lose_nothing(void)
{
    test_begin("a WAKE reaches a WAIT in memory that was copied and written meanwhile");
    EXPECT(doorbell_vmspace_create(SPACE) == 0, "VMSPACE_CREATE");
    for (unsigned i = 0; i < 2; i++) {
        EXPECT(doorbell_region_map(SPACE, BASE, REGION_SIZE, RW) == 0, "REGION_MAP");
        smp_start(1, wait_until_set, BASE);
        wake_sleeper(BASE);
        EXPECT(doorbell_copy(SPACE, BASE, BASE + REGION_SIZE, REGION_SIZE) == 0, "COPY");
        if (i == 0)
            set_and_wake(BASE + REGION_SIZE, BASE + REGION_SIZE);
        EXPECT(load(BASE) == 0, "the copy's word is another");
        set_and_wake(BASE, BASE);
        EXPECT(smp_wait(1) != UINT64_MAX, "WAIT failed");
        EXPECT(doorbell_vmspace_unmap(SPACE, BASE, REGION_SIZE) == 0, "UNMAP");
        EXPECT(doorbell_vmspace_unmap(SPACE, BASE + REGION_SIZE, REGION_SIZE) == 0, "UNMAP");
    }
    EXPECT(doorbell_vmspace_destroy(SPACE) == 0, "VMSPACE_DESTROY");
    test_end();
}

/* Take turns: this side's turn is when the word modulo 2 is `side`. */
static uint64_t
play(uint64_t side)
{
    uint64_t address = side == 0 ? frames[3] : window_address(&window, 3);
    uint32_t value;

    for (unsigned i = 0; i < ROUNDS; i++) {
        while ((value = load(frames[3])) % 2 != side) {
            int64_t result = doorbell_wait(word_at(address), value, VKVM_WAIT_FOREVER);

            if (result != 0 && result != -VKVM_EBUSY)
                return 1;
        }
        __atomic_store_n(word_at(frames[3]), value + 1, __ATOMIC_RELEASE);
        doorbell_wake(word_at(address), 1);
    }
    return 0;
}

static void
turns_are_taken(void)
{
    test_begin("two vCPUs that take turns never both sleep");
    *ram_word(frames[3]) = 0;
    smp_start(1, play, 1);
    EXPECT(play(0) == 0, "WAIT failed");
    EXPECT(smp_wait(1) == 0, "WAIT failed");
    EXPECT(*ram_word(frames[3]) == 2 * ROUNDS, "%lu turns", *ram_word(frames[3]));
    test_end();
}

int
guest_main(void)
{
    static const uint32_t never;

    access_init();
    if (fdt_argument_number("all", 0) != 0)
        doorbell_wait(&never, 0, VKVM_WAIT_FOREVER);
    if (fdt_argument_number("one", 0) != 0)
        doorbell_wait(&never, 0, HOUR_NS);
    window_init(&window, &vpte64, 16);
    for (unsigned i = 0; i < PAGES; i++)
        frames[i] = window_map_new(&window, i, VPTE_RW);
    arguments_are_checked();
    time_outs_end_waits();
    windows_and_ram_are_one();
    page_out_loses_nothing();
    copies_lose_nothing();
    turns_are_taken();
    window_fini(&window);
    return test_summary();
}

void
guest_secondary(unsigned cpu)
{
    smp_serve(cpu);
}
