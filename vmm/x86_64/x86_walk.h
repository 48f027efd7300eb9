/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Walks of the processor's own tables: 4-level and 5-level paging, and EPT.
 *
 * Pure: no ioctl, no object.  The caller finds each table page and hands in its
 * address, as with vpte.h.  Unlike there the tables are a private copy or at
 * rest: entries are read and written plainly, nobody else changes them.
 *
 * Source: Intel SDM volume 3 (chapters as numbered in 2022): 4.5 "4-level paging
 * and 5-level paging", 4.6 "access rights", 4.7 "page-fault exceptions", 4.8
 * "accessed and dirty flags"; 24.6.11 EPTP; 28.3.2 "EPT translation mechanism",
 * 28.3.3 "EPT-induced VM exits", 28.3.5 "accessed and dirty flags for EPT".
 *
 * Rules, cited by number in the code and tests:
 *  X1. An entry that is not present (P clear; EPT: bits 2:0 all clear) ends the
 *      walk; its other bits are not looked at.
 *  X2. A reserved bit or value in a present entry ends the walk (4.7: RSVD;
 *      28.3.3.1: EPT misconfiguration).
 *  X3. Large pages end the walk where a PDE (2 MiB) or PDPTE (1 GiB) has bit 7.
 *  X4. Rights are those of all entries together (4.6.1, 28.3.3.2), so they are judged
 *      when the last entry is known: not present or reserved below comes first.
 *  X5. A is set in every entry that leads on, and in the last one when the access is
 *      allowed; D in the last one on an allowed write.  (Whether a walk that fails
 *      sets A in the entries above is left to the processor; here it does.)
 *  X6. EPT: A and D only if EPTP bit 6 is set.
 *  X7. The root's own reserved bits are judged as those of an entry, at level 0.
 *  X8. A table page or a result beyond the object is a bad frame.
 *
 * Assumed: CR0.WP, IA32_EFER.NXE and 1-GiB pages on; SMEP, SMAP, protection keys,
 * shadow stacks and mode-based execute control off; EPT execute-only, 5-level and
 * A/D supported.
 */
#ifndef X86_WALK_H
#define X86_WALK_H

#include "vmm/vpagetable/vm_types.h"

#define X86_WALK_MAX_LEVELS 5
#define X86_WALK_MAXPHYADDR_MIN 32
#define X86_WALK_MAXPHYADDR_MAX 52

enum x86_walk_result {
    X86_WALK_OK,
    X86_WALK_INVALID,    /* X1 */
    X86_WALK_PROTECTION, /* X4 */
    X86_WALK_BAD_FRAME,  /* X8 */
    X86_WALK_RESERVED    /* X2 */
};

struct x86_walk_format {
    const char *name; /* "x86_64", "x86_64-la57", "ept" */
    bool ept;
    unsigned levels; /* EPT: 0, the root says */
};

extern const struct x86_walk_format x86_walk_4level;
extern const struct x86_walk_format x86_walk_5level;
extern const struct x86_walk_format x86_walk_ept;

/* What is walked. */
struct x86_walk_tables {
    const struct x86_walk_format *format;
    uint64_t root;         /* CR3 or EPTP */
    uint64_t object_pages; /* X8 */
    unsigned maxphyaddr;   /* physical address bits: X86_WALK_MAXPHYADDR_MIN to _MAX */
    bool user;             /* paging: a user-mode access, which needs U/S everywhere */
};

/* One level.  Level 0 is the root (`entry` NULL), 1 the page it points to, and so on. */
struct x86_walk_step {
    uint64_t *entry;
    uint64_t value;  /* with the bits the walk has set */
    uint64_t before; /* as read */
};

struct x86_walk {
    const struct x86_walk_tables *tables; /* borrowed */
    uint64_t address;
    uint64_t accessed; /* the format's A, 0 if not kept (X6) */
    uint64_t dirty;    /* the format's D, likewise */
    vm_prot_t access;  /* exactly one of READ, WRITE, EXECUTE */
    unsigned level;    /* of the last step taken */
    unsigned shift;    /* address bits still untranslated */
    struct x86_walk_step steps[X86_WALK_MAX_LEVELS + 1];
};

/* The format called name, or NULL. */
const struct x86_walk_format *x86_walk_format_find(const char *name);

/*
 * Address bits that the tables translate: 48 or 57.  Under paging, bits above must equal
 * the highest of them (canonical); under EPT they must be 0.
 */
unsigned x86_walk_address_bits(const struct x86_walk_format *format, uint64_t root);

/* Start at the root.  Returns X86_WALK_OK, or X86_WALK_RESERVED (X7). */
enum x86_walk_result x86_walk_start(struct x86_walk *walk, const struct x86_walk_tables *tables,
                                    uint64_t address, vm_prot_t access);

/* Has the walk reached its last entry (a large page, or no level left)? */
bool x86_walk_done(const struct x86_walk *walk);

/* The page index of the next table page.  Returns X86_WALK_OK or X86_WALK_BAD_FRAME (X8). */
enum x86_walk_result x86_walk_table(const struct x86_walk *walk, vm_pindex_t *table);

/*
 * Take the step into the table page at `table`, which is page-aligned: read the
 * entry, check it, set A and D.  The pages of all earlier steps must still be there.
 * Returns X86_WALK_OK, _INVALID, _RESERVED or, at the last entry, _PROTECTION.
 */
enum x86_walk_result x86_walk_step(struct x86_walk *walk, void *table);

/* The physical address a finished walk leads to.  Returns X86_WALK_OK or _BAD_FRAME (X8). */
enum x86_walk_result x86_walk_result(const struct x86_walk *walk, uint64_t *phys);

#endif
