/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Virtual page tables: what a guest writes into its own RAM to arrange a window.
 *
 * A window is a range of guest-physical addresses.  When the guest touches page
 * `pindex` of it (0 is the window's first), vkvm walks the window's table, starting at
 * the root entry that was given with SETMAP or VMSPACE_MAP:
 *
 *     root entry -> table page -> ... -> table page -> page of RAM
 *     (no memory)   indexed by the       indexed by the
 *                   highest bits         lowest bits of pindex
 *
 *     vpte64: 8-byte entries, 9 bits a level, 4 levels of table pages
 *     vpte32: 4-byte entries, 10 bits a level, 2 levels of table pages
 *
 * An entry holds the GPA of a page (a table page or, at the last level, the page itself) and the
 * VKVM_VPTE_* bits.  V, and R, W or X as the access wants it, must be set at every
 * level.  PS ends the walk at once: the rest of pindex is added to the frame.  vkvm sets A and M.
 *
 * To change a valid entry: swap it out (vpte_swap with 0), doorbell_inval the addresses it
 * mapped, and only then look at A and M of the old value and reuse the page.  If A of the old
 * value is clear vkvm has mapped nothing through it and the INVAL can be left out.  An
 * invalid entry may just be filled, and permissions may just be added.
 */
#ifndef GUEST_VPTE_H
#define GUEST_VPTE_H

#include "guest/include/vkvm_abi.h"

#include <stdbool.h>
#include <stdint.h>

#define VPTE_RWX (VKVM_VPTE_R | VKVM_VPTE_W | VKVM_VPTE_X)

struct vpte_format {
    const char *name;
    unsigned levels;     /* of table pages, below the root */
    unsigned page_bits;  /* index bits a level */
    unsigned entry_size; /* bytes */
    unsigned map_flag;   /* for VMSPACE_MAP */
};

extern const struct vpte_format vpte64;
extern const struct vpte_format vpte32;

struct vpte_table {
    const struct vpte_format *format; /* borrowed */
    uint64_t root;                    /* the root entry's value */
    uint64_t ntables;                 /* table pages in use */
};

/*
 * Make an empty table: a root entry that allows everything and one table page below it.
 * Returns false when RAM is out.
 */
bool vpte_table_init(struct vpte_table *table, const struct vpte_format *format);

/* Free the table pages.  What they map is the caller's; no window may use the table. */
void vpte_table_fini(struct vpte_table *table);

/*
 * The entry for pindex at `level` (1: in the page the root points to; format->levels: the last),
 * or NULL when a table page on the way is missing or a PS entry is in the way.
 */
void *vpte_entry_at(const struct vpte_table *table, uint64_t pindex, unsigned level);

/* The last-level entry. */
void *vpte_entry(const struct vpte_table *table, uint64_t pindex);

/*
 * The last-level entry; missing table pages are made, their entries with V and
 * all permissions.  NULL when RAM is out or a PS entry is in the way.
 */
void *vpte_entry_make(struct vpte_table *table, uint64_t pindex);

/* Last-level entries from that of pindex on, itself included, to the end of its table page. */
uint64_t vpte_run(const struct vpte_table *table, uint64_t pindex);

/* The next entry of the same table page. */
static inline void *
vpte_next(const struct vpte_table *table, void *entry)
{
    return (char *)entry + table->format->entry_size;
}

/*
 * Read, write, atomically exchange an entry, atomically clear or set bits of it; the
 * last three return the value before.
 */
uint64_t vpte_read(const struct vpte_table *table, const void *entry);
void vpte_write(const struct vpte_table *table, void *entry, uint64_t value);
uint64_t vpte_swap(const struct vpte_table *table, void *entry, uint64_t value);
uint64_t vpte_clear_bits(const struct vpte_table *table, void *entry, uint64_t bits);
uint64_t vpte_set_bits(const struct vpte_table *table, void *entry, uint64_t bits);

/*
 * By pindex.  vpte_map writes frame | bits, making table pages; false when RAM is out.
 * vpte_unmap swaps in 0 and returns the old value, 0 if there was no entry; the INVAL is the
 * caller's.  vpte_get returns the entry's value, 0 if there is none.
 */
bool vpte_map(struct vpte_table *table, uint64_t pindex, uint64_t frame, uint64_t bits);
uint64_t vpte_unmap(struct vpte_table *table, uint64_t pindex);
uint64_t vpte_get(const struct vpte_table *table, uint64_t pindex);

/*
 * Translate as vkvm does, but set nothing: true and the page's GPA if every level has V and
 * all of `need` (VKVM_VPTE_R, _W, _X).
 */
bool vpte_lookup(const struct vpte_table *table, uint64_t pindex, uint64_t need, uint64_t *gpa);

/* The GPA in an entry. */
static inline uint64_t
vpte_frame(uint64_t value)
{
    return value & VKVM_VPTE_FRAME;
}

#endif
