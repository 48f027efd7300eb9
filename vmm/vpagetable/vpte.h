/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Virtual page table entries: formats, checks, and one step of a walk.
 *
 * Pure: no locks, no objects.  The caller finds each table page and hands in its
 * address; vm_fault_vpagetable does that for faults.
 *
 * Rules, cited by number in the code and tests:
 *  W1. Every level is checked, the root included: V; R for a read; W for a
 *      write; X for a fetch.
 *  W2. PS ends the walk at any level; PS in the root is a linear map.
 *  W3. Result = (frame >> 12) + (pindex & low bits): an addition, not an or.
 *  W4. A and M are set with compare-exchange on the value that was checked; if it
 *      changed meanwhile, check again.
 *  W5. Nothing is set on an entry that fails its check (W1).  What upper entries got
 *      before stays: they were used.  An entry that passes gets its bits before it is
 *      followed, so one that then leads out of the object (W9) has them too, as in the
 *      seed and in a processor.
 *  W6. A write sets A and M at each level it passes; a read or fetch sets A.
 *  W7. When the walk is about to change an entry, the entry one level up, which
 *      points to the changed table page, gets A and M first (whatever its W), and
 *      so on upwards.  First, so that a guest that swaps the upper entry out
 *      either sees M or stops this walk.
 *  W8. The root has no memory: it never gets A or M.
 *  W9. A table page or a result beyond the object is VM_BAD_FRAME.
 */
#ifndef VPTE_H
#define VPTE_H

#include "vmm/vpagetable/vm_types.h"

/* An entry's value; vpte32 entries are zero-extended. */
typedef uint64_t vpte_t;

#define VPTE_V 0x001u  /* valid */
#define VPTE_PS 0x002u /* ends the walk here */
#define VPTE_R 0x004u
#define VPTE_W 0x008u
#define VPTE_X 0x010u
#define VPTE_A 0x020u /* accessed */
#define VPTE_M 0x040u /* modified */
#define VPTE_U 0x080u
#define VPTE_MANAGED 0x100u
#define VPTE_G 0x200u
#define VPTE_WIRED 0x400u

struct vpte_format {
    const char *name;    /* "vpte64", "vpte32" */
    unsigned frame_end;  /* address bits translated: 48, 32 */
    unsigned page_bits;  /* index bits per level: 9, 10 */
    unsigned entry_size; /* bytes: 8, 4 */
    unsigned levels;     /* table levels below the root: 4, 2 */
    vpte_t frame_mask;   /* 0x000FFFFFFFFFF000, 0xFFFFF000 */
};

#define VPTE_MAX_LEVELS 4

extern const struct vpte_format vpte64_format;
extern const struct vpte_format vpte32_format;

/* The format called name, or NULL. */
const struct vpte_format *vpte_format_find(const char *name);

/* W1.  Returns VM_OK, VM_VPTE_INVALID or VM_VPTE_PROTECTION. */
enum vm_result vpte_check(vpte_t vpte, vm_prot_t access);

/*
 * One level of a walk.  Level 0 is the root; it has no memory (`entry` NULL).  The two
 * values are not neighbours: stored as one, `value` could not be read back at once.
 */
struct vpte_step {
    vpte_t value;  /* the value that was checked, with the bits the walk has set */
    void *entry;   /* address in the direct map of the entry; NULL for the root */
    vpte_t before; /* the value first read */
};

struct vpte_walk {
    const struct vpte_format *format;
    vm_prot_t access;      /* exactly one of READ, WRITE, EXECUTE */
    vm_pindex_t pindex;    /* what is translated */
    uint64_t object_pages; /* W9 */
    vpte_t settled;        /* an entry with these bits allows the access and has its A and M */
    unsigned level;        /* of the last step taken */
    unsigned shift;        /* index bits still untranslated */
    struct vpte_step steps[VPTE_MAX_LEVELS + 1];
    unsigned a_set; /* bits set so far, for the statistics */
    unsigned m_set;
    unsigned dir_m_set;
    unsigned dirtied; /* bit l: the table page that holds steps[l].entry was changed */
};

/*
 * Start at the root.
 * Returns VM_OK; VM_VPTE_INVALID or VM_VPTE_PROTECTION when the root forbids the
 * access; VM_BAD_FRAME when pindex has bits beyond the format.
 */
enum vm_result vpte_walk_start(struct vpte_walk *walk, const struct vpte_format *format,
                               vpte_t root, vm_pindex_t pindex, vm_prot_t access,
                               uint64_t object_pages);

/* Has the walk reached its last entry (PS, or no bits left)? */
static inline bool
vpte_walk_done(const struct vpte_walk *walk)
{
    return walk->shift == 0 || (walk->steps[walk->level].value & VPTE_PS) != 0; /* W2 */
}

/*
 * The page of the object that the walk's last entry leads to, perhaps beyond its end: a
 * table page, or the result (W3).
 */
static inline vm_pindex_t
vpte_walk_target(const struct vpte_walk *walk)
{
    vpte_t value = walk->steps[walk->level].value;
    vm_pindex_t frame = (value & walk->format->frame_mask) >> PAGE_SHIFT;

    if ((value & VPTE_PS) != 0)
        frame += walk->pindex & (((uint64_t)1 << walk->shift) - 1);
    return frame;
}

/* The page index of the next table page.  Returns VM_OK, or VM_BAD_FRAME (W9). */
static inline enum vm_result
vpte_walk_table(const struct vpte_walk *walk, vm_pindex_t *table)
{
    vm_pindex_t target = vpte_walk_target(walk);

    if (target >= walk->object_pages) /* W9 */
        return VM_BAD_FRAME;
    *table = target;
    return VM_OK;
}

/*
 * Take the step into the table page at `table`: read the entry, check it, set A and M.
 * The pages of all earlier steps must still be addressable.
 * Returns VM_OK; VM_VPTE_INVALID or VM_VPTE_PROTECTION; VM_RETRY when an upper
 * entry changed under the walk or this one keeps changing: start over.
 */
enum vm_result vpte_walk_step(struct vpte_walk *walk, void *table);

/* The result of a finished walk (W3).  Returns VM_OK or VM_BAD_FRAME (W9). */
enum vm_result vpte_walk_result(const struct vpte_walk *walk, vm_pindex_t *pindex);

/* May the page be mapped writable: W at every level and M set in the last entry (or a PS root
 * with W, which has no M to keep). */
bool vpte_walk_writable(const struct vpte_walk *walk);

/*
 * For prefault: the page `distance` pages after (or before) the walk's page, as
 * far as the walk's last table page, or its PS entry, reaches.  Checks every
 * level as a read, sets A (never M), and says whether the page may be mapped
 * writable.
 * Returns VM_OK with *pindex and *writable; VM_VPTE_* when an entry forbids a
 * read, VM_BAD_FRAME beyond the object, VM_RETRY when entries keep changing,
 * VM_INVALID_ADDRESS when it is outside this table page or PS entry.
 */
enum vm_result vpte_walk_neighbour(struct vpte_walk *walk, int distance, vm_pindex_t *pindex,
                                   bool *writable);

#endif
