/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bottom-up merge sort of 2^20 random 32-bit numbers, between two arrays of 4 MiB.
 */
#include "guest/vkernel/user.h"

#define SORT_COUNT (UINT64_C(1) << 20)
#define SORT_PAGES (SORT_COUNT * sizeof(uint32_t) / USER_PAGE)

/* What sorting must not change. */
struct sort_sum {
    uint64_t sum;
    uint64_t squares;
    uint32_t xor ;
};

static void
sort_add(struct sort_sum *sum, uint32_t value)
{
    sum->sum += value;
    sum->squares += (uint64_t)value * value;
    sum->xor ^= value;
}

/* Merge from[low, middle) and from[middle, high) to to[low, high). */
static void
sort_merge(const uint32_t *from, uint32_t *to, uint64_t low, uint64_t middle, uint64_t high)
{
    uint64_t a = low;
    uint64_t b = middle;

    for (uint64_t i = low; i < high; i++) {
        if (a < middle && (b == high || from[a] <= from[b]))
            to[i] = from[a++];
        else
            to[i] = from[b++];
    }
}

int
user_sort(void)
{
    uint32_t *from = user_grow(SORT_PAGES);
    uint32_t *to = user_grow(SORT_PAGES);
    uint32_t *swap;
    struct sort_sum before = { 0, 0, 0 };
    struct sort_sum after = { 0, 0, 0 };
    uint64_t random = 1;

    for (uint64_t i = 0; i < SORT_COUNT; i++) {
        from[i] = (uint32_t)user_random(&random);
        sort_add(&before, from[i]);
    }
    for (uint64_t run = 1; run < SORT_COUNT; run *= 2) {
        for (uint64_t low = 0; low < SORT_COUNT; low += 2 * run)
            sort_merge(from, to, low, low + run, low + 2 * run);
        swap = from;
        from = to;
        to = swap;
        user_yield();
    }
    for (uint64_t i = 0; i < SORT_COUNT; i++) {
        USER_CHECK(i == 0 || from[i - 1] <= from[i]);
        sort_add(&after, from[i]);
    }
    user_print("  sort: %lu numbers, smallest %lu, largest %lu\n", SORT_COUNT, (uint64_t)from[0],
               (uint64_t)from[SORT_COUNT - 1]);
    USER_CHECK(before.sum == after.sum && before.squares == after.squares &&
               before.xor == after.xor);
    return 0;
}
