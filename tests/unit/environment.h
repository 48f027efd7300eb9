/* SPDX-License-Identifier: BSD-2-Clause */
/* What the environment asks of random tests: VKVM_SEED and the like. */
#ifndef ENVIRONMENT_H
#define ENVIRONMENT_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

static inline uint64_t
environment_number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? strtoull(text, NULL, 0) : otherwise;
}

/* Seed rand() with VKVM_SEED, or else with another number each time, and print it. */
static inline void
environment_seed(const char *suite)
{
    unsigned seed;

    if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
        cr_fatal("no seed");
    seed = (unsigned)environment_number("VKVM_SEED", seed);
    fprintf(stderr, "%s: VKVM_SEED=%u\n", suite, seed);
    srand(seed);
}

#endif
