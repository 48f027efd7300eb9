/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest-physical address space: sorted, disjoint entries [start, end), each a
 * view of a range of an object.
 *
 * Locks: M (map->lock), held shared by faults, INVAL and SETMAP, exclusively by
 * whatever adds, removes, clips or changes entries; such a change increments
 * `timestamp`, which a fault compares after it slept.
 *
 * E (map->edit_lock) comes before M and makes such changes exclude each other
 * from their first check to their end.  It is what insert and remove hold while a
 * window comes or goes: the host then waits for vCPUs that are inside a fault,
 * and a fault needs M.  Entries are read with E or M held, written with both.
 *
 * Range interlock (I): a fault through a virtual page table holds the range it
 * may enter from before the walk until after pmap_enter; INVAL and SETMAP hold
 * theirs while they drop mappings.  Overlapping holders exclude each other, so
 * a walk of the old table never enters a page after INVAL returned.  It is taken
 * after M (shared) and before O; nobody sleeps for a page or for I/O with it.
 */
#ifndef VM_MAP_H
#define VM_MAP_H

#include "vmm/vpagetable/pmap.h"
#include "vmm/vpagetable/vm_object.h"
#include "vmm/vpagetable/vpte.h"

#include <bsd/sys/tree.h>

enum vm_maptype {
    VM_MAPTYPE_NORMAL,
    VM_MAPTYPE_VPAGETABLE
};

enum vm_map_advice {
    VM_ADVICE_NORMAL,
    VM_ADVICE_RANDOM,
    VM_ADVICE_SEQUENTIAL
};

#define MAP_ENTRY_NOFAULT 0x1    /* guard: an access is refused with VM_NOFAULT */
#define MAP_ENTRY_NOSYNC 0x2     /* pages dirtied here are VM_PAGE_NOSYNC */
#define MAP_ENTRY_NEEDS_COPY 0x4 /* shadow the object before the first write */
#define MAP_ENTRY_GROWDOWN 0x8   /* grows towards lower addresses */

struct vm_map_entry {
    RB_ENTRY(vm_map_entry) link;       /* M */
    SLIST_ENTRY(vm_map_entry) removed; /* vm_map_remove's, once out of the tree */
    gpa_t start;                       /* M */
    gpa_t end;                         /* M */
    struct vm_object *object;          /* M: counted; NULL only for a guard */
    vm_pindex_t offset;                /* M: page index in object of `start` */
    enum vm_maptype maptype;           /* M */
    const struct vpte_format *format;  /* M: VPAGETABLE: borrowed */
    _Atomic vpte_t root;               /* M, and I of the whole entry to write: the root vpte */
    vm_prot_t protection;              /* M */
    vm_prot_t max_protection;          /* M */
    enum vm_map_advice advice;         /* M */
    unsigned eflags;                   /* M: MAP_ENTRY_* */
    unsigned wired_count;              /* M */
};

RB_HEAD(vm_map_tree, vm_map_entry);

/* Held or waited for; of two that overlap the older one goes first. */
struct vm_map_ilock {
    LIST_ENTRY(vm_map_ilock) link; /* ilock_mutex: youngest first */
    gpa_t start;                   /* (c) */
    gpa_t end;                     /* (c) */
    bool held;                     /* ilock_mutex */
};
LIST_HEAD(vm_map_ilock_list, vm_map_ilock);

struct vm_map {
    struct vm_system *sys;           /* (c) borrowed */
    struct pmap *pmap;               /* (c) borrowed */
    struct vm_mutex edit_lock;       /* E */
    struct vm_rwlock lock;           /* M */
    struct vm_map_tree entries;      /* M, E */
    unsigned nentries;               /* M, E */
    unsigned timestamp;              /* M, E */
    struct vm_mutex ilock_mutex;     /* guards the interlocks */
    struct vm_cond ilock_cond;       /* an interlock was dropped */
    unsigned ilock_waiters;          /* ilock_mutex */
    struct vm_map_ilock_list ilocks; /* ilock_mutex */
};

/* What vm_map_insert makes. */
struct vm_map_insert {
    gpa_t start;
    gpa_t end;
    struct vm_object *object; /* a reference of the caller's passes to the map on success */
    vm_pindex_t offset;
    enum vm_maptype maptype;
    const struct vpte_format *format; /* VPAGETABLE only */
    vpte_t root;                      /* VPAGETABLE only */
    vm_prot_t protection;
    vm_prot_t max_protection;
    enum vm_map_advice advice;
    unsigned eflags;
};

/* What a lookup found; copies, so that they stay usable while M is dropped. */
struct vm_map_lookup {
    struct vm_map_entry *entry; /* valid while M is held */
    struct vm_object *object;   /* borrowed from the entry: ref it before M is dropped */
    vm_pindex_t pindex;         /* index the entry assigns to the address (input of a walk) */
    vm_prot_t access;           /* what it was looked up as, WRITE perhaps added */
    vm_prot_t prot;             /* what the entry allows */
    bool wired;
    unsigned timestamp;
};

void vm_map_init(struct vm_map *map, struct vm_system *sys, struct pmap *pmap);

/* Remove everything.  Nobody else uses the map any more; the pmap must still be there. */
void vm_map_fini(struct vm_map *map);

/*
 * Add an entry and give it a pmap window (natural frames: the object's extent
 * for NORMAL, none for VPAGETABLE; a guard has no window).
 * Locks: takes E, O, and M exclusively; no fault sees the entry before its window is there.
 * Returns 0; -EINVAL (alignment, empty range, beyond PMAP_GPA_END, protection above
 * the maximum, VPAGETABLE without format, object missing or given to a guard, a NORMAL
 * range beyond the object, page indexes that wrap), -EEXIST (overlap), -ENOMEM, or
 * the machine's -errno.  On failure the caller keeps the object's reference.
 */
int vm_map_insert(struct vm_map *map, const struct vm_map_insert *args)
    __attribute__((warn_unused_result));

/*
 * Remove all entries inside [start, end), with their windows and references.
 * Locks: takes E, and M exclusively; sleeps for the objects' pages if these were
 * the last references.
 * Returns 0; -EINVAL (alignment, or an entry sticks out of the range), -ENOENT (none inside).
 */
int vm_map_remove(struct vm_map *map, gpa_t start, gpa_t end) __attribute__((warn_unused_result));

/*
 * Set the protection of the entries that make up [start, end) exactly.
 * Mappings lose what is no longer allowed: those of entries that lose WRITE become
 * read-only, those of entries that lose READ or EXECUTE are dropped.
 * Locks: takes E, and M exclusively.
 * Returns 0; -EINVAL (alignment, range not covered by whole entries), -EACCES (above max_protection).
 */
int vm_map_protect(struct vm_map *map, gpa_t start, gpa_t end, vm_prot_t prot)
    __attribute__((warn_unused_result));

/*
 * Find the entry for an access.  A read or fetch of a writable VPAGETABLE entry
 * is looked up as a write too, because the walk sets A (seed: vm_map_lookup).
 * Locks: on VM_OK M is held shared: end it with vm_map_lookup_done.
 * Returns VM_OK, VM_INVALID_ADDRESS, VM_NOFAULT; VM_PROTECTION with out->prot set.
 */
enum vm_result vm_map_lookup(struct vm_map *map, gpa_t gpa, vm_prot_t access,
                             struct vm_map_lookup *out) __attribute__((warn_unused_result));
void vm_map_lookup_done(struct vm_map *map);

/*
 * Take and drop the range interlock.  Overlapping ranges are served in order of
 * arrival; disjoint ones never wait for each other.
 * Locks: M held shared; sleeps, but never for longer than others hold theirs.
 */
void vm_map_interlock(struct vm_map *map, struct vm_map_ilock *ilock, gpa_t start, gpa_t end);
void vm_map_deinterlock(struct vm_map *map, struct vm_map_ilock *ilock);

/*
 * SETMAP: replace the root vpte of the VPAGETABLE entry that is exactly
 * [start, end) and drop the range's mappings.  Counts v_setmap.
 * Locks: takes M shared and I.  Source: DragonFly mcontrol(MADV_SETMAP).
 * Returns 0; -EINVAL (alignment, another map type, range is not one entry), -ENOENT
 * (no entry at start).
 */
int vm_map_setmap(struct vm_map *map, gpa_t start, gpa_t end, vpte_t root)
    __attribute__((warn_unused_result));

/*
 * INVAL: drop the mappings of [start, end), which entries of any type cover; data stays.
 * On return no access through an older walk is possible or under way.  Counts v_inval.
 * Locks: takes M shared and I.
 * Returns 0; -EINVAL (alignment, empty), -ENOENT (not covered by entries).
 */
int vm_map_inval(struct vm_map *map, gpa_t start, gpa_t end) __attribute__((warn_unused_result));

/*
 * Set the advice of all entries inside [start, end).
 * Locks: takes E, and M exclusively.
 * Returns 0; -EINVAL (alignment, unknown advice, or an entry sticks out of the range),
 * -ENOENT (none inside).
 */
int vm_map_advise(struct vm_map *map, gpa_t start, gpa_t end, enum vm_map_advice advice)
    __attribute__((warn_unused_result));

/* Abort unless the map's invariants hold (tests). */
void vm_map_audit(struct vm_map *map);

#endif
