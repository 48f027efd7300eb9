/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shared memory objects: a fixed table of them, each with a page of GPAs.
 */
#include "guest/vkernel/shm.h"

#include "guest/vkernel/page.h"

#include <stddef.h>

struct shm {
    uint32_t refs; /* 0 = free */
    uint64_t key;
    uint64_t npages;
    uint64_t pages[SHM_MAX_PAGES]; /* GPA; 0 = never touched */
};

static struct shm shm_objects[SHM_MAX_OBJECTS];

struct shm *
shm_get(uint64_t key, uint64_t npages)
{
    struct shm *free = NULL;

    for (struct shm *shm = shm_objects; shm < shm_objects + SHM_MAX_OBJECTS; shm++) {
        if (shm->refs == 0) {
            free = shm;
        } else if (shm->key == key) {
            if (shm->npages != npages)
                return NULL;
            shm->refs++;
            return shm;
        }
    }
    if (free == NULL || npages == 0 || npages > SHM_MAX_PAGES)
        return NULL;
    free->refs = 1;
    free->key = key;
    free->npages = npages;
    return free;
}

void
shm_ref(struct shm *shm)
{
    shm->refs++;
}

void
shm_unref(struct shm *shm)
{
    if (--shm->refs > 0)
        return;
    for (uint64_t i = 0; i < shm->npages; i++) {
        if (shm->pages[i] != 0)
            page_unref(shm->pages[i]);
        shm->pages[i] = 0;
    }
}

uint64_t
shm_page(struct shm *shm, uint64_t index)
{
    if (shm->pages[index] == 0)
        shm->pages[index] = page_alloc(PAGE_SHM);
    return shm->pages[index];
}

unsigned
shm_in_use(void)
{
    unsigned n = 0;

    for (const struct shm *shm = shm_objects; shm < shm_objects + SHM_MAX_OBJECTS; shm++)
        n += shm->refs != 0;
    return n;
}
