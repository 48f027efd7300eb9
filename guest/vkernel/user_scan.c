/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A and M, as the kernel's scanner reports them, against what was really read and written.
 * A may be set early, so "hot" is at least what was touched; M never is, so "dirty" is exact.
 */
#include "guest/vkernel/user.h"

#define SCAN_PAGES UINT64_C(256)

static struct scan_result
scan(volatile uint8_t *memory)
{
    struct scan_result result = { 0, 0, 0, 0 };

    USER_CHECK(user_call(CALL_SCAN, (uint64_t)memory, SCAN_PAGES, (uint64_t)&result) == 0);
    return result;
}

/* Read or write a byte in every step-th page. */
static void
touch(volatile uint8_t *memory, uint64_t step, int write)
{
    for (uint64_t page = 0; page < SCAN_PAGES; page += step) {
        if (write)
            memory[page * USER_PAGE] = (uint8_t)page;
        else
            USER_CHECK(memory[page * USER_PAGE] == (uint8_t)page);
    }
}

static void
expect(volatile uint8_t *memory, uint64_t hot, uint64_t dirty)
{
    struct scan_result found = scan(memory);

    user_print("  scan: %lu present, %lu hot, %lu dirty\n", found.present, found.hot, found.dirty);
    USER_CHECK(found.present == SCAN_PAGES && found.swapped == 0);
    USER_CHECK(found.hot >= hot && (hot != 0 || found.hot == 0));
    USER_CHECK(found.dirty == dirty);
}

int
user_scan(void)
{
    volatile uint8_t *memory = user_grow(SCAN_PAGES);

    touch(memory, 1, 1);
    scan(memory);
    expect(memory, 0, 0);
    touch(memory, 4, 0);
    expect(memory, SCAN_PAGES / 4, 0);
    touch(memory, 8, 1);
    expect(memory, SCAN_PAGES / 8, SCAN_PAGES / 8);
    touch(memory, 2, 0);
    touch(memory, 16, 1);
    expect(memory, SCAN_PAGES / 2, SCAN_PAGES / 16);
    touch(memory, 1, 0);
    touch(memory, 1, 1);
    expect(memory, SCAN_PAGES, SCAN_PAGES);
    expect(memory, 0, 0);
    return 0;
}
