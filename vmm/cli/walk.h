/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One access through page tables of any format vkvm knows: the engine's own
 * (vpte.h, the same code a fault runs) and the processor's (x86_walk.h).
 *
 * The tables' memory comes through struct walk_memory: a file for `vkvm walk`, an
 * array for tests and benchmarks.
 */
#ifndef WALK_H
#define WALK_H

#include "vmm/vpagetable/vpte.h"
#include "vmm/x86_64/x86_walk.h"

#define WALK_MAX_LEVELS X86_WALK_MAX_LEVELS
_Static_assert(VPTE_MAX_LEVELS <= WALK_MAX_LEVELS, "every format's levels fit");

enum walk_result {
    WALK_OK,
    WALK_INVALID,    /* an entry is not valid (not present) */
    WALK_PROTECTION, /* entries forbid the access */
    WALK_BAD_FRAME,  /* a table page or the result is not in the object */
    WALK_RESERVED,   /* x86 and EPT: a reserved bit or value */
    WALK_RESULT_COUNT
};

/* The name as it is printed, e.g. "bad_frame". */
const char *walk_result_name(enum walk_result result);

/* Exactly one member is set. */
struct walk_format {
    const struct vpte_format *vpte;
    const struct x86_walk_format *x86;
};

#define WALK_FORMAT_NAMES "vpte64, vpte32, x86_64, x86_64-la57 or ept"

/* Find the format called name; false = there is none. */
bool walk_format_find(const char *name, struct walk_format *format)
    __attribute__((warn_unused_result));

struct walk_memory {
    /*
     * Table page `table` of the object, page-aligned, which stays there until the
     * access is finished; asked for again it is the same memory.
     * Returns 0; -ENODATA when the object's memory does not have it (a bad frame);
     * another -errno when the host failed.
     */
    int (*page)(void *context, vm_pindex_t table, void **page);
    void *context; /* borrowed */
};

/* What is walked. */
struct walk_tables {
    struct walk_format format;
    uint64_t root;         /* a vpte, CR3 or EPTP */
    uint64_t object_pages; /* a frame from here on is bad */
    unsigned maxphyaddr;   /* x86 */
    bool user;             /* x86 */
};

/* An entry that was read. */
struct walk_entry {
    unsigned level;
    uint64_t at;    /* byte offset in the object */
    uint64_t value; /* as the walk read it */
    uint64_t after; /* when the whole walk was done */
};

struct walk_outcome {
    enum walk_result result;
    unsigned level;                             /* levels read; 0 = the root decided */
    vm_pindex_t pindex;                         /* if WALK_OK */
    uint64_t phys;                              /* if WALK_OK: pindex and the offset in the page */
    unsigned nentries;                          /* == level */
    struct walk_entry entries[WALK_MAX_LEVELS]; /* in the order they were read */
};

/*
 * Is this an address that the tables translate?  If not, *remedy is an address to give
 * instead (its sign extension) or else the first one that is too high.
 */
bool walk_address_fits(const struct walk_tables *tables, uint64_t address, uint64_t *remedy);

/* May the root be one of the format (a vpte32 has 32 bits)? */
bool walk_root_fits(const struct walk_tables *tables);

/*
 * Translate a byte address that fits; access is exactly one of READ, WRITE, EXECUTE.
 * Entries get A, M and D in the memory as the walk goes.
 * Returns 0 with *outcome; -EAGAIN when entries kept changing under the walk (start
 * over), or the memory's -errno; *outcome is then undefined.
 */
int walk_translate(const struct walk_tables *tables, const struct walk_memory *memory,
                   uint64_t address, vm_prot_t access, struct walk_outcome *outcome)
    __attribute__((warn_unused_result));

#endif
