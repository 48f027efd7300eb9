/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest-physical address space: sorted, disjoint entries [start, end), each a
 * view of a range of an object.
 *
 * Locks: M (map->lock), held shared by faults, INVAL and SETMAP, exclusively by
 * whatever adds, removes, clips or changes entries; such a change increments
 * `timestamp`, which a fault compares after it slept.
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
    RB_ENTRY(vm_map_entry) link;  /* M */
    gpa_t start;                  /* M */
    gpa_t end;                    /* M */
    struct vm_object *object;     /* M: counted; NULL only for a guard */
    vm_pindex_t offset;           /* M: page index in object of `start` */
    enum vm_maptype maptype;      /* M */
    const struct vpte_format *format; /* M: VPAGETABLE: borrowed */
    _Atomic vpte_t root;          /* M, and I of the whole entry to write: the root vpte */
    vm_prot_t protection;         /* M */
    vm_prot_t max_protection;     /* M */
    enum vm_map_advice advice;    /* M */
    unsigned eflags;              /* M: MAP_ENTRY_* */
    unsigned wired_count;         /* M */
};

RB_HEAD(vm_map_tree, vm_map_entry);

struct vm_map_ilock {
    LIST_ENTRY(vm_map_ilock) link;
    gpa_t start;
    gpa_t end;
};
LIST_HEAD(vm_map_ilock_list, vm_map_ilock);

struct vm_map {
    struct vm_system *sys;  /* (c) borrowed */
    struct pmap *pmap;      /* (c) borrowed */
    struct vm_rwlock lock;  /* M */
    struct vm_map_tree entries; /* M */
    unsigned nentries;      /* M */
    unsigned timestamp;     /* M */
    struct vm_mutex ilock_mutex;        /* guards ilocks */
    struct vm_cond ilock_cond;
    struct vm_map_ilock_list ilocks;
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
    vm_prot_t prot;             /* what the entry allows */
    bool wired;
    unsigned timestamp;
};

void vm_map_init(struct vm_map *map, struct vm_system *sys, struct pmap *pmap);

/* Remove everything. */
void vm_map_fini(struct vm_map *map);

/*
 * Add an entry and give it a pmap window (natural frames: the object's extent
 * for NORMAL, none for VPAGETABLE; a guard has no window).
 * Locks: takes M exclusively.
 * Returns 0; -EINVAL (alignment, empty range, protection above the maximum,
 * VPAGETABLE without format, object missing, a NORMAL range beyond the object),
 * -EEXIST (overlap), -ENOMEM, or the machine's -errno.  On failure the caller
 * keeps the object's reference.
 */
int vm_map_insert(struct vm_map *map, const struct vm_map_insert *args)
    __attribute__((warn_unused_result));

/*
 * Remove all entries inside [start, end).
 * Returns 0; -EINVAL (alignment, or an entry sticks out of the range), -ENOENT (none inside).
 */
int vm_map_remove(struct vm_map *map, gpa_t start, gpa_t end) __attribute__((warn_unused_result));

/*
 * Set the protection of the entries that make up [start, end) exactly.
 * Mappings that now allow too much are dropped.
 * Returns 0; -EINVAL (alignment, range not covered by whole entries), -EACCES (above max_protection).
 */
int vm_map_protect(struct vm_map *map, gpa_t start, gpa_t end, vm_prot_t prot)
    __attribute__((warn_unused_result));

/*
 * Find the entry for an access.  A read or fetch of a writable VPAGETABLE entry
 * is looked up as a write too, because the walk sets A (seed: vm_map_lookup).
 * Locks: on VM_OK M is held shared: end it with vm_map_lookup_done.
 * Returns VM_OK, VM_INVALID_ADDRESS, VM_NOFAULT, VM_PROTECTION.
 */
enum vm_result vm_map_lookup(struct vm_map *map, gpa_t gpa, vm_prot_t access,
                             struct vm_map_lookup *out) __attribute__((warn_unused_result));
void vm_map_lookup_done(struct vm_map *map);

/* Take and drop the range interlock.  Locks: M held shared; sleeps. */
void vm_map_interlock(struct vm_map *map, struct vm_map_ilock *ilock, gpa_t start, gpa_t end);
void vm_map_deinterlock(struct vm_map *map, struct vm_map_ilock *ilock);

/*
 * SETMAP: replace the root vpte of the VPAGETABLE entry that is exactly
 * [start, end) and drop the range's mappings.
 * Source: DragonFly mcontrol(MADV_SETMAP).
 * Returns 0; -EINVAL (alignment, another map type, range is not one entry), -ENOENT.
 */
int vm_map_setmap(struct vm_map *map, gpa_t start, gpa_t end, vpte_t root)
    __attribute__((warn_unused_result));

/*
 * INVAL: drop the mappings of [start, end), which entries of any type cover; data stays.
 * On return no access through an older walk is possible or under way.
 * Returns 0; -EINVAL (alignment, empty), -ENOENT (not covered by entries).
 */
int vm_map_inval(struct vm_map *map, gpa_t start, gpa_t end) __attribute__((warn_unused_result));

/* Advice for whole entries inside [start, end).  Returns 0, -EINVAL, -ENOENT. */
int vm_map_advise(struct vm_map *map, gpa_t start, gpa_t end, enum vm_map_advice advice)
    __attribute__((warn_unused_result));

/* Abort unless the map's invariants hold (tests). */
void vm_map_audit(struct vm_map *map);

#endif
