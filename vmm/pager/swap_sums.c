/* SPDX-License-Identifier: BSD-2-Clause */
/* See swap_sums.h. */
#include "vmm/pager/swap_sums.h"

#include <assert.h>
#include <stdlib.h>
#include <xxhash.h>

#define CHUNK_SLOTS 256

struct chunk {
    unsigned used; /* slots */
    XXH128_hash_t sum[CHUNK_SLOTS];
};

struct swap_sums {
    uint64_t nchunks;
    struct chunk *chunks[]; /* owned; NULL: none of its slots is in use */
};

struct swap_sums *
swap_sums_create(uint64_t nslots)
{
    uint64_t nchunks = (nslots + CHUNK_SLOTS - 1) / CHUNK_SLOTS;
    struct swap_sums *sums = calloc(1, sizeof(*sums) + nchunks * sizeof(sums->chunks[0]));

    if (sums != NULL)
        sums->nchunks = nchunks;
    return sums;
}

void
swap_sums_destroy(struct swap_sums *sums)
{
    free(sums);
}

bool
swap_sums_use(struct swap_sums *sums, uint64_t slot)
{
    struct chunk **chunk = &sums->chunks[slot / CHUNK_SLOTS];

    assert(slot / CHUNK_SLOTS < sums->nchunks);
    if (*chunk == NULL) {
        *chunk = malloc(sizeof(**chunk));
        if (*chunk == NULL)
            return false;
        (*chunk)->used = 0;
    }
    (*chunk)->used++;
    return true;
}

void
swap_sums_free(struct swap_sums *sums, uint64_t slot)
{
    struct chunk **chunk = &sums->chunks[slot / CHUNK_SLOTS];

    assert((*chunk)->used > 0);
    if (--(*chunk)->used == 0) {
        free(*chunk);
        *chunk = NULL;
    }
}

void
swap_sums_set(struct swap_sums *sums, uint64_t slot, const void *page)
{
    sums->chunks[slot / CHUNK_SLOTS]->sum[slot % CHUNK_SLOTS] = XXH3_128bits(page, PAGE_SIZE);
}

bool
swap_sums_match(const struct swap_sums *sums, uint64_t slot, const void *page)
{
    const struct chunk *chunk = sums->chunks[slot / CHUNK_SLOTS];

    return XXH128_isEqual(chunk->sum[slot % CHUNK_SLOTS], XXH3_128bits(page, PAGE_SIZE)) != 0;
}
