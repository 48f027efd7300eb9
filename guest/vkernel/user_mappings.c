/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shared and private mappings of one object, in parent and child: writes to the shared
 * one are seen by both, through any address; writes to a private one by nobody else.
 */
#include "guest/vkernel/user.h"

#define MAPPINGS_PAGES UINT64_C(128)
#define MAPPINGS_WORDS (MAPPINGS_PAGES * USER_PAGE / sizeof(uint64_t))
#define MAPPINGS_STEP 512 /* words: one to a page */
#define MAPPINGS_KEY 1000

static void
mappings_check(const uint64_t *words, uint64_t base, uint64_t odd_base)
{
    for (uint64_t i = 0; i < MAPPINGS_WORDS; i += MAPPINGS_STEP)
        USER_CHECK(words[i] == i + ((i / MAPPINGS_STEP) % 2 ? odd_base : base));
}

/* Write to every word of step * MAPPINGS_STEP. */
static void
mappings_write(uint64_t *words, uint64_t base, uint64_t first, uint64_t step)
{
    for (uint64_t i = first * MAPPINGS_STEP; i < MAPPINGS_WORDS; i += step * MAPPINGS_STEP)
        words[i] = i + base;
}

static int
mappings_child(uint64_t *shared, uint64_t *private, uint64_t key)
{
    uint64_t *again = user_map(CALL_MAP_SHARED, key, MAPPINGS_PAGES);

    mappings_check(private, 1, 2); /* 1 from the object, 2 the parent's own */
    mappings_write(private, 3, 0, 1);
    mappings_check(shared, 1, 1);
    mappings_write(again, 4, 1, 2);
    mappings_check(shared, 1, 4); /* the same pages at two addresses */
    mappings_write(shared, 5, 0, 2);
    mappings_check(again, 5, 4);
    mappings_check(private, 3, 3);
    return 0;
}

int
user_mappings(void)
{
    uint64_t key = MAPPINGS_KEY + (uint64_t)user_call(CALL_GETPID, 0, 0, 0);
    uint64_t *shared = user_map(CALL_MAP_SHARED, key, MAPPINGS_PAGES);
    uint64_t *private = user_map(CALL_MAP_PRIVATE, key, MAPPINGS_PAGES);
    int64_t child;

    mappings_write(shared, 1, 0, 1);
    mappings_check(private, 1, 1);
    mappings_write(private, 2, 1, 2);
    mappings_check(private, 1, 2);
    mappings_check(shared, 1, 1);
    child = user_fork();
    USER_CHECK(child >= 0);
    if (child == 0)
        return mappings_child(shared, private, key);
    USER_CHECK(user_wait() == 0);
    mappings_check(shared, 5, 4);
    mappings_check(private, 5, 2); /* pages it never wrote to are still the object's */
    return 0;
}
