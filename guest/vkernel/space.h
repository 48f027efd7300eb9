/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The address space of a process: a vmspace of vkvm's with one window, the vptes that
 * arrange it, and regions that say what belongs where.
 *
 * Pages are counted from USER_BASE and are at the same time the window's: `pindex`.
 *
 * What the vpte of a page says:
 *   V            mapped: to its frame, of which it is a reference.
 *                W only if writing there concerns nobody else (or is meant to)
 *   SWAP_VPTE    in the swap area, of whose slot it is a reference
 *   0            nothing yet: the region says what
 */
#ifndef VKERNEL_SPACE_H
#define VKERNEL_SPACE_H

#include "guest/lib/vpte.h"
#include "guest/vkernel/shm.h"

#include <stdbool.h>
#include <stdint.h>

#define SPACE_MAX 16 /* windows */
#define SPACE_MAX_REGIONS 12

enum region_kind {
    REGION_TEXT,   /* the image's pages, read and execute */
    REGION_DATA,   /* the image's pages, copied when written */
    REGION_ZERO,   /* zeros */
    REGION_SHARED, /* the pages of a shared memory object */
    REGION_PRIVATE /* the same, copied when written */
};

struct region {
    enum region_kind kind;
    uint64_t start; /* pindex: [start, end) */
    uint64_t end;
    struct shm *shm; /* counted; SHARED and PRIVATE only */
};

struct space {
    unsigned slot;   /* which window */
    uint64_t id;     /* of the vmspace */
    uint64_t window; /* GPA */
    uint64_t cr3;    /* x86 page tables of this window */
    struct vpte_table table;
    struct region regions[SPACE_MAX_REGIONS];
    unsigned nregions;
    uint64_t heap_end;     /* pindex of the next grow */
    uint64_t mappings_end; /* pindex of the next mapping */
    uint64_t resident;     /* valid vptes that map PAGE_ANON pages */
    uint64_t quota;        /* most of them */
    uint64_t hand;         /* pindex where the clock stands */
};

/* Make the kernel's half of the processes' x86 page tables.  Once. */
void space_boot(void);

/*
 * A space with the programs' image and a stack, in a free window.  Returns false when there is
 * no window or no RAM, or vkvm refuses.
 */
bool space_create(struct space *space, uint64_t quota);

/*
 * A copy of `parent`, sharing every page of it until one of the two writes.  Returns as
 * space_create.
 */
bool space_fork(struct space *child, struct space *parent);

/* Drop the window, then everything that was mapped or swapped. */
void space_destroy(struct space *space);

/* npages more of zeroed heap: its address, or 0. */
uint64_t space_grow(struct space *space, uint64_t npages);

/* Map a shared memory object, whose reference passes to the space on success: its address, or 0. */
uint64_t space_map(struct space *space, enum region_kind kind, struct shm *shm, uint64_t npages);

/* The region around pindex, or NULL. */
const struct region *space_region(const struct space *space, uint64_t pindex);

/* INVAL of npages from pindex on. */
void space_inval(const struct space *space, uint64_t pindex, uint64_t npages);

/* A vpte of the space goes away or comes: count it in `resident`. */
void space_count(struct space *space, uint64_t gpa, int change);

/*
 * Copy between a process's memory and the kernel's: page by page through the vptes and RAM at
 * GPA 0, faulting pages in as the process would.  False: a bad address; part may be copied.
 */
bool space_copy_in(struct space *space, uint64_t address, void *to, uint64_t size);
bool space_copy_out(struct space *space, uint64_t address, const void *from, uint64_t size);

#endif
