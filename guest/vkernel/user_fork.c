/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Copy-on-write fork: three generations over 1 MiB.  Each writes to its own part before
 * it forks, and to every page right after it, and sees its own version of the whole.
 */
#include "guest/vkernel/user.h"

#define FORK_PAGES UINT64_C(256)
#define FORK_WORDS (FORK_PAGES * USER_PAGE / sizeof(uint64_t))
#define FORK_STEP 64  /* words: eight places to a page */
#define FORK_LATE 512 /* words: one place to a page, behind the first of the others */
#define FORK_GENERATIONS 3

static uint64_t fork_data = 42; /* in the initial data, which is shared with the image */

static uint64_t
fork_value(uint64_t generation, uint64_t i)
{
    return (generation + 1) * 0x100000001 + i;
}

/* Generation g writes to all words i with i / FORK_STEP % (g + 1) == 0. */
static void
fork_write(uint64_t *words, uint64_t generation)
{
    for (uint64_t i = 0; i < FORK_WORDS; i += FORK_STEP) {
        if (i / FORK_STEP % (generation + 1) == 0)
            words[i] = fork_value(generation, i);
    }
    fork_data = generation;
}

/* After the fork: through what was mapped writable before, if anybody forgot to unmap it. */
static void
fork_write_late(uint64_t *words, uint64_t late)
{
    for (uint64_t i = 1; i < FORK_WORDS; i += FORK_LATE)
        words[i] = late;
}

/* What a process sees that has its ancestors' writes before their forks, and its own. */
static void
fork_check(const uint64_t *words, uint64_t generation, uint64_t late)
{
    for (uint64_t i = 0; i < FORK_WORDS; i += FORK_STEP) {
        uint64_t writer = generation;

        while (i / FORK_STEP % (writer + 1) != 0)
            writer--;
        USER_CHECK(words[i] == fork_value(writer, i));
    }
    for (uint64_t i = 1; i < FORK_WORDS; i += FORK_LATE)
        USER_CHECK(words[i] == late);
    USER_CHECK(fork_data == generation);
}

/* Write as this generation, let the next one loose on a copy, and be unimpressed by it. */
static int
fork_generation(uint64_t *words, uint64_t generation)
{
    int64_t child;

    fork_write(words, generation);
    fork_check(words, generation, 0);
    if (generation + 1 == FORK_GENERATIONS)
        return 0;
    child = user_fork();
    USER_CHECK(child >= 0);
    if (child == 0)
        return fork_generation(words, generation + 1);
    fork_write_late(words, generation + 1);
    user_yield();
    fork_check(words, generation, generation + 1);
    USER_CHECK(user_wait() == 0);
    fork_check(words, generation, generation + 1);
    return 0;
}

int
user_forks(void)
{
    USER_CHECK(fork_data == 42);
    return fork_generation(user_grow(FORK_PAGES), 0);
}
