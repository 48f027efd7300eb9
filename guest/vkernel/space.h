/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The address space of a process: a vmspace of vkvm's, and regions that say what belongs
 * where.  Pages are counted from USER_BASE: `pindex`.
 *
 * There are two ways to keep the memory of a region (struct region_ops), and two kinds of
 * space by which of them they use:
 *
 *     region                      SPACE_VPTE        SPACE_COPY
 *     TEXT, DATA, ZERO            space_vpte.c      space_copy.c
 *     SHARED, PRIVATE             space_vpte.c      space_vpte.c
 *
 * space_vpte.c: pages of the kernel's own RAM, arranged by vptes in a window.  The kernel
 * fills them, copies them on write, and pages them out.  A fork shares them vpte by vpte.
 *
 * space_copy.c: memory of vkvm's, a host region for each region here.  A fork is the COPY
 * call; zero-fill, copy on write and page-out are vkvm's business and the kernel sees no fault.
 * It has no A and M either, so the page scanner (scan.h) and the kernel's swap (swap.h) know
 * nothing of it, and a space's quota does not count it.  Mappings are pages that several
 * processes see, which a host region cannot be.
 *
 * In the guest-physical space, for the space with number `slot`:
 *
 *     window = VKVM_WINDOW_BASE + slot * USER_SIZE                  the vptes'; page pindex there
 *     memory = VKVM_WINDOW_BASE + (SPACE_MAX + slot) * USER_SIZE    host regions; also by pindex
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

#define SPACE_MAX 16
#define SPACE_MAX_REGIONS 12

enum space_kind {
    SPACE_VPTE,
    SPACE_COPY,
    SPACE_KINDS
};

enum region_kind {
    REGION_TEXT,   /* the image's pages, read and execute */
    REGION_DATA,   /* the image's pages, copied when written */
    REGION_ZERO,   /* zeros */
    REGION_SHARED, /* the pages of a shared memory object */
    REGION_PRIVATE /* the same, copied when written */
};

struct space;

struct region {
    enum region_kind kind;
    uint64_t start; /* pindex: [start, end) */
    uint64_t end;
    struct shm *shm; /* counted; SHARED and PRIVATE only */
    const struct region_ops *ops;
};

/* How the memory of a region is kept. */
struct region_ops {
    bool vptes; /* can be extended just so; needs an INVAL of the parent's window after a fork */

    /* The region is new.  False: no RAM, or vkvm refuses; nothing was done. */
    bool (*add)(struct space *space, const struct region *region);

    /* The child's region is new and becomes what the parent's is.  False: some of it has. */
    bool (*fork)(struct space *child, struct space *parent, const struct region *region);

    /* The vmspace is gone: give up what the region refers to. */
    void (*drop)(struct space *space, const struct region *region);

    /* The process could not access a page.  True: now it can; false: it must die. */
    bool (*fault)(struct space *space, uint64_t pindex, bool write);

    /* Where the kernel may read or write the page, or 0: the process could not. */
    uint64_t (*find)(struct space *space, const struct region *region, uint64_t pindex, bool write);
};

extern const struct region_ops space_vpte_ops; /* space_vpte.c */
extern const struct region_ops space_copy_ops; /* space_copy.c */

struct space {
    enum space_kind kind;
    unsigned slot;
    uint64_t id;             /* of the vmspace */
    uint64_t window;         /* GPA */
    uint64_t memory;         /* GPA */
    uint64_t cr3;            /* x86 page tables */
    struct vpte_table table; /* root 0: there is no window yet */
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
 * A space with the programs' image and a stack.  Returns false when there are SPACE_MAX or
 * no RAM, or vkvm refuses.
 */
bool space_create(struct space *space, enum space_kind kind, uint64_t quota);

/*
 * A copy of `parent`, of its kind, sharing every page of it until one of the two writes.
 * Returns as space_create.
 */
bool space_fork(struct space *child, struct space *parent);

/* Drop window and host regions, then everything that was mapped or swapped. */
void space_destroy(struct space *space);

/* npages more of zeroed heap: its address, or 0. */
uint64_t space_grow(struct space *space, uint64_t npages);

/* Map a shared memory object, whose reference passes to the space on success: its address, or 0. */
uint64_t space_map(struct space *space, enum region_kind kind, struct shm *shm, uint64_t npages);

/* The region around pindex, or NULL. */
const struct region *space_region(const struct space *space, uint64_t pindex);

/* What a guest-physical address is to the process: bytes from USER_BASE, or UINT64_MAX. */
uint64_t space_offset(const struct space *space, uint64_t gpa);

/* The process could not access the page.  True: now it can; false: it must die. */
bool space_fault(struct space *space, uint64_t pindex, bool write);

/* INVAL of npages of the window from pindex on. */
void space_inval(const struct space *space, uint64_t pindex, uint64_t npages);

/* A vpte of the space goes away or comes: count it in `resident`. */
void space_count(struct space *space, uint64_t gpa, int change);

/*
 * Copy between a process's memory and the kernel's, page by page, faulting pages in as the
 * process would.  False: a bad address; part may be copied.
 */
bool space_copy_in(struct space *space, uint64_t address, void *to, uint64_t size);
bool space_copy_out(struct space *space, uint64_t address, const void *from, uint64_t size);

#endif
