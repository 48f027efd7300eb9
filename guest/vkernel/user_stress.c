/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * More memory than the quota allows: 1.25 MiB, changed and checked in several orders, so that
 * pages go to swap and come back, dirty ones and clean ones, before and after a fork.
 */
#include "guest/vkernel/user.h"

#define STRESS_PAGES UINT64_C(320)
#define STRESS_PER_PAGE 16 /* words used in each page */
#define STRESS_STRIDE (USER_PAGE / sizeof(uint64_t) / STRESS_PER_PAGE)
#define STRESS_HOP UINT64_C(133) /* coprime to STRESS_PAGES: visits every page once */

static uint64_t
stress_value(uint64_t page, uint64_t word, uint64_t version)
{
    return (page << 32 ^ word << 16 ^ version) * 0x9e3779b97f4a7c15;
}

/* Check that one page has `version` and, if `next` is another, write that. */
static void
stress_page(uint64_t *memory, uint64_t page, uint64_t version, uint64_t next)
{
    uint64_t *words = memory + page * (USER_PAGE / sizeof(uint64_t));

    for (uint64_t i = 0; i < STRESS_PER_PAGE; i++) {
        uint64_t *word = words + i * STRESS_STRIDE;

        USER_CHECK(*word == (version != 0 ? stress_value(page, i, version) : 0));
        if (next != version)
            *word = stress_value(page, i, next);
    }
}

/* All pages, `hop` apart. */
static void
stress_pass(uint64_t *memory, uint64_t hop, uint64_t version, uint64_t next)
{
    uint64_t page = 0;

    for (uint64_t i = 0; i < STRESS_PAGES; i++) {
        stress_page(memory, page, version, next);
        page = (page + hop) % STRESS_PAGES;
    }
    user_yield();
}

int
user_stress(void)
{
    uint64_t *memory = user_grow(STRESS_PAGES);
    int64_t child;

    stress_pass(memory, 1, 0, 1);
    stress_pass(memory, 1, 1, 1);
    stress_pass(memory, STRESS_HOP, 1, 2);
    child = user_fork();
    USER_CHECK(child >= 0);
    if (child == 0) {
        stress_pass(memory, 1, 2, 3);
        stress_pass(memory, 1, 3, 3);
        return 0;
    }
    stress_pass(memory, STRESS_HOP, 2, 4);
    USER_CHECK(user_wait() == 0);
    stress_pass(memory, 1, 4, 4);
    return 0;
}
