/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest-physical address space: sorted, disjoint entries [start, end), each a
 * view of a range of an object.
 *
 * Locks: M (map->lock), held shared by faults, INVAL and SETMAP, exclusively by
 * whatever adds, removes, clips or changes entries.  Who dropped M looks everything up again
 * (a fault), or holds E and counts on what follows (an edit).
 *
 * E (map->edit_lock) comes before M and makes edits exclude each other from their
 * first check to their end, through sleeps and while a window comes or goes: the
 * host then waits for vCPUs that are inside a fault.  So a fault never takes E.
 * What a fault changes itself it does with M alone: it shadows an entry's object
 * (object, offset, MAP_ENTRY_NEEDS_COPY) and grows an entry into the space that is
 * reserved for it; never those of a wired entry.  An edit that dropped M must expect
 * that and nothing else.
 *
 * Windows: every page of an entry that has an object lies in a window, but a window
 * may hold several entries, and an entry several windows: clipping does not touch
 * them, and a window goes with the last entry in it.  An access to a window where
 * no entry is (any more) is a fault like any other, and VM_INVALID_ADDRESS.
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

#include <bsd/sys/queue.h>

enum vm_maptype {
    VM_MAPTYPE_NORMAL,
    VM_MAPTYPE_VPAGETABLE
};

enum vm_map_advice {
    VM_ADVICE_NORMAL,
    VM_ADVICE_RANDOM,
    VM_ADVICE_SEQUENTIAL
};

#define MAP_ENTRY_NOFAULT 0x1     /* guard: an access is refused with VM_NOFAULT */
#define MAP_ENTRY_NOSYNC 0x2      /* pages dirtied here are VM_PAGE_NOSYNC */
#define MAP_ENTRY_NEEDS_COPY 0x4  /* shadow the object before the first write */
#define MAP_ENTRY_GROWDOWN 0x8    /* grows towards lower addresses */
#define MAP_ENTRY_USER_WIRED 0x10 /* one of wired_count is the user's (not for insert) */

struct vm_map_entry {
    gpa_t start;                      /* M */
    gpa_t end;                        /* M */
    uint64_t growth;                  /* M: GROWDOWN: pages reserved below `start` */
    struct vm_object *object;         /* M: counted; NULL only for a guard */
    vm_pindex_t offset;               /* M: page index in object of `start` */
    enum vm_maptype maptype;          /* M */
    const struct vpte_format *format; /* M: VPAGETABLE: borrowed */
    _Atomic vpte_t root;              /* M, and I of the whole entry to write: the root vpte */
    vm_prot_t protection;             /* M */
    vm_prot_t max_protection;         /* M */
    enum vm_map_advice advice;        /* M */
    unsigned eflags;                  /* M: MAP_ENTRY_* */
    unsigned wired_count;             /* M: wirings; with any, each page of it is in `object`
                                           and wired once */
    TAILQ_ENTRY(vm_map_entry) link;   /* M */
    SLIST_ENTRY(vm_map_entry) picked; /* E: an edit's list of entries, in the map or not */
    gpa_t wired_end;                  /* E: an edit's, of a picked entry: its wirings are of the
                                           pages before this */
};

TAILQ_HEAD(vm_map_entries, vm_map_entry);
SLIST_HEAD(vm_map_picked, vm_map_entry);

/* Held or waited for; of two that overlap the older one goes first. */
struct vm_map_ilock {
    LIST_ENTRY(vm_map_ilock) link; /* ilock: youngest first */
    gpa_t start;                   /* (c) */
    gpa_t end;                     /* (c) */
    bool held;                     /* ilock_mutex */
};
LIST_HEAD(vm_map_ilock_list, vm_map_ilock);

struct vm_fault_trace; /* vm_fault_trace.h */
struct vm_inject;      /* vm_inject.h */

struct vm_map {
    struct vm_system *sys;         /* (c) borrowed */
    struct pmap *pmap;             /* (c) borrowed */
    struct vm_mutex edit_lock;     /* E */
    struct vm_rwlock lock;         /* M */
    _Atomic bool handles_loss;     /* (a) whoever runs on the map handles faults on memory that swap
                                        has lost: VM_IO_ERROR; else they are VM_HOST_FAILURE */
    struct vm_map_entries entries; /* M, E: by address */
    struct vm_ranges ranges;       /* M, E: the same, to search; hints are (a) */
    unsigned nentries;             /* M, E */
    struct vm_mutex ilock_mutex;   /* ilock */
    struct vm_cond ilock_cond;     /* ilock: an interlock was dropped */
    unsigned ilock_waiters;        /* ilock */
    struct vm_map_ilock_list ilocks; /* ilock */
    const _Atomic bool *stop;        /* (c) borrowed, set after vm_map_init: ends long calls and
                                        waits for good (vm_stop.h); NULL = none */
    struct vm_map_picked abandoned;  /* M: entries in no map, which a stopped call left to be
                                        unmapped and destroyed */
    _Atomic(const struct vm_fault_trace *) trace; /* (a) borrowed; NULL = faults are not traced */
    struct vm_inject *inject;  /* (c) borrowed, set after vm_map_init; NULL = nothing is injected */
    struct vm_map_meter meter; /* of the VM whose map it is */
};

/* What vm_map_insert makes. */
struct vm_map_insert {
    gpa_t start;
    gpa_t end;
    struct vm_object *object; /* a reference of the caller's passes to the map on success; no other
                                 map maps it (a guest's vmspaces are ranges of its one map), but
                                 for a file's */
    vm_pindex_t offset;
    enum vm_maptype maptype;
    const struct vpte_format *format; /* VPAGETABLE only */
    vpte_t root;                      /* VPAGETABLE only */
    vm_prot_t protection;
    vm_prot_t max_protection;
    enum vm_map_advice advice;
    unsigned eflags;
    uint64_t growth; /* GROWDOWN only: pages below `start`, of the object too; the lowest is a
                        guard that is never grown into */
};

/* What a lookup found; copies, so that they stay usable while M is dropped. */
struct vm_map_lookup {
    struct vm_map_entry *entry; /* valid while M is held */
    struct vm_object *object;   /* borrowed from the entry: ref it before M is dropped */
    vm_pindex_t pindex;         /* index the entry assigns to the address (input of a walk) */
    vm_prot_t access;           /* what it was looked up as, WRITE perhaps added */
    vm_prot_t prot;             /* what the entry allows */
    bool wired;
    int error; /* VM_HOST_FAILURE: negative errno */
};

void vm_map_init(struct vm_map *map, struct vm_system *sys, struct pmap *pmap);

/*
 * Remove everything, what stopped calls left too.  Nobody else uses the map any more, and `stop`
 * does not count; the pmap must still be there.
 */
void vm_map_fini(struct vm_map *map);

/*
 * Add an entry and see that there are pmap windows all over it and its growth
 * (natural frames: the object's extent for NORMAL, none for VPAGETABLE; a guard
 * needs no window).
 * Locks: takes E, O, and M exclusively; no fault sees the entry before its window is there.
 * Returns 0; -EINVAL (alignment, empty range, beyond PMAP_GPA_END, protection above
 * the maximum, VPAGETABLE without format, object missing or given to a guard, a NORMAL
 * range beyond the object, page indexes that wrap, growth without GROWDOWN or beyond the
 * object's or the address space's begin), -EEXIST (overlaps an entry or what one may
 * grow into), -ENOMEM, -ECANCELED, or the machine's -errno.  On failure the caller keeps the
 * object's reference.
 *
 * An object may be mapped by several maps if none of them writes to it (each entry is
 * NEEDS_COPY, or its max_protection has no WRITE), or if it has OBJ_WRITEBACK: vm_map_copy
 * looks for those who share its pages in its own map only.  A guest's vmspaces are ranges of
 * its one map.
 */
int vm_map_insert(struct vm_map *map, const struct vm_map_insert *args)
    __attribute__((warn_unused_result));

/*
 * The calls below take any page-aligned range; entries that stick out of it are
 * clipped, and entries that a call made alike are merged (-ENOMEM, or -ENOSPC for the
 * shadow that a clipped VPAGETABLE entry may need: nothing changed).
 *
 * Those that can take long return -ECANCELED once *map->stop is set, with a part of their work
 * done: the entries are in order, but mappings may be left that the call was to drop, so that
 * nobody may insert anything or run a guest on the map any more.
 */

/*
 * Remove what lies inside [start, end): entries, mappings, references, and windows
 * that hold no entry any more.  Wired pages are unwired.  Space that a GROWDOWN
 * entry may grow into goes with its lowest page.
 * Locks: takes E, and M exclusively; sleeps for the objects' pages if these were
 * the last references.
 * Returns 0; -EINVAL (alignment, empty), -ENOENT (no entry inside), -ENOMEM; -ECANCELED: the
 * entries are gone, and what they had goes with vm_map_fini.
 */
int vm_map_remove(struct vm_map *map, gpa_t start, gpa_t end) __attribute__((warn_unused_result));

/*
 * Set the protection of [start, end).
 * Mappings lose what is no longer allowed: those of entries that lose WRITE become
 * read-only, those of entries that lose READ or EXECUTE are dropped.
 * Locks: takes E, and M exclusively.
 * Returns 0; -EINVAL (alignment, range not covered by entries), -EACCES (above
 * max_protection), -ENOMEM, -ECANCELED.
 */
int vm_map_protect(struct vm_map *map, gpa_t start, gpa_t end, vm_prot_t prot)
    __attribute__((warn_unused_result));

/*
 * What mappings of an entry's pages may allow when nobody writes now: its protection,
 * but no writes while the object must be shadowed first.  Locks: M shared.
 */
static inline vm_prot_t
vm_map_entry_prot(const struct vm_map_entry *entry)
{
    if ((entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0)
        return entry->protection & (vm_prot_t)~VM_PROT_WRITE;
    return entry->protection;
}

/*
 * Find the entry for an access, and make it ready for it:
 *  - a read or fetch of a writable VPAGETABLE entry is looked up as a write too,
 *    because the walk sets A;
 *  - a write to a NEEDS_COPY entry gives the entry a new object first, which shadows
 *    the one it had; or, when nobody else refers to that one, just keeps it;
 *  - an access below a GROWDOWN entry, within its growth, makes the entry larger.
 * With VM_PROT_OVERRIDE in `access` the entry's max_protection is what counts.
 * Locks: on VM_OK M is held shared: end it with vm_map_lookup_done.  None held, and
 * not E, on entry; takes M exclusively for the last two.
 * Returns VM_OK, VM_INVALID_ADDRESS, VM_NOFAULT (a guard, or the last page an entry
 * could grow into); VM_PROTECTION with out->prot set; VM_HOST_FAILURE with
 * out->error (-ENOMEM, -ENOSPC: no room for the new object or entry).
 * Source: DragonFly vm_map_lookup, vm_map_growstack.
 */
enum vm_result vm_map_lookup(struct vm_map *map, gpa_t gpa, vm_prot_t access,
                             struct vm_map_lookup *out) __attribute__((warn_unused_result));
void vm_map_lookup_done(struct vm_map *map);

/*
 * Do two addresses show one page, and will go on doing so as long as their entries stay?  So it is
 * if both entries are NORMAL, on one object, and neither is to shadow it before it is written.
 * Locks: none held; takes M shared.
 */
bool vm_map_shows_same(struct vm_map *map, gpa_t a, gpa_t b);

/*
 * Take and drop the range interlock.  Overlapping ranges are served in order of
 * arrival; disjoint ones never wait for each other.
 * Locks: M held shared; sleeps, but never for longer than others hold theirs.
 */
void vm_map_interlock(struct vm_map *map, struct vm_map_ilock *ilock, gpa_t start, gpa_t end);
void vm_map_deinterlock(struct vm_map *map, struct vm_map_ilock *ilock);

/*
 * SETMAP: replace the root vpte of [start, end), which VPAGETABLE entries cover, and
 * drop the range's mappings.  Counts v_setmap.
 * Locks: takes M shared and I; E and M exclusively only to clip.
 * Source: DragonFly mcontrol(MADV_SETMAP).
 * Returns 0; -EINVAL (alignment, empty, another map type), -ENOENT (not covered by
 * entries), -ENOMEM, -ECANCELED.
 */
int vm_map_setmap(struct vm_map *map, gpa_t start, gpa_t end, vpte_t root)
    __attribute__((warn_unused_result));

/*
 * INVAL: drop the mappings of [start, end), which entries of any type cover; data stays.
 * On return no access of a vCPU through an older walk is possible or under way, one that KVM
 * emulates (vm_map_read, vm_map_write) included; a page that a device holds it may go on writing
 * to (vm_fault_page).  Counts v_inval.
 * Locks: takes M shared and I.
 * Returns 0; -EINVAL (alignment, empty), -ENOENT (not covered by entries), -ECANCELED.
 */
int vm_map_inval(struct vm_map *map, gpa_t start, gpa_t end) __attribute__((warn_unused_result));

/*
 * Set the advice of all that is mapped inside [start, end).
 * Locks: takes E, and M exclusively.
 * Returns 0; -EINVAL (alignment, empty, unknown advice), -ENOENT (no entry inside), -ENOMEM.
 */
int vm_map_advise(struct vm_map *map, gpa_t start, gpa_t end, enum vm_map_advice advice)
    __attribute__((warn_unused_result));

/*
 * Virtual copy: [dst, dst + size), where nothing is, becomes a copy of
 * [src, src + size).  Gaps stay gaps, guards become guards; everything else is
 * as in the source, but not wired.  No page is copied now: both sides need a copy
 * before the first write (MAP_ENTRY_NEEDS_COPY), and the source's mappings become
 * read-only.  Costs nothing per page but that.
 *
 * Two kinds of source cannot give up their object and are copied for real, page by
 * page, into a new one (vm_fault_copy_entry): wired entries, and entries whose pages
 * must stay shared, because another entry maps them too, or the pager's copy outlives
 * the object (OBJ_WRITEBACK).  For these the copy is not of one moment.  Other entries are
 * looked for in this map only (vm_map_insert).
 *
 * A write through the direct map to a page that is held since before the copy
 * (vm_fault_page) shows on both sides.
 *
 * Locks: takes E, M exclusively, O; sleeps for pages.
 * Returns 0; -EINVAL (alignment, empty, beyond PMAP_GPA_END, ranges overlap), -ENOENT
 * (no entry in the source), -EEXIST (something in the destination), -EOPNOTSUPP
 * (a VPAGETABLE entry whose pages must stay shared), -EACCES (to be copied for real,
 * and even max_protection lacks READ), -ENOMEM, -ENOSPC, -ECANCELED, the machine's
 * -errno, or what the pager's read gave (-EIO).  On failure the map is what it was.
 * Source: DragonFly vm_map_copy_entry, vmspace_fork.
 */
int vm_map_copy(struct vm_map *map, gpa_t src, gpa_t dst, uint64_t size)
    __attribute__((warn_unused_result));

/*
 * Wire [start, end): every page is made resident, as for a write where the entry
 * allows writes, and stays until vm_map_unwire.  `user` wirings do not nest (mlock);
 * the others count, and need entries that allow writes.  A user-wired entry that does
 * not allow writes loses WRITE in max_protection: a write would exchange the wired page.
 * What is grown later is not wired.
 * Locks: takes E throughout, M exclusively; sleeps for pages.  Faults go on.
 * Returns 0; -EINVAL (alignment, empty), -ENOENT (not covered by entries, or a guard),
 * -EOPNOTSUPP (a VPAGETABLE entry: which page is mapped there is the guest's to change;
 * it wires the RAM behind it), -EACCES, -ENOMEM, -ENOSPC, or the fault's errno (vm_fault_wire).
 * On failure nothing is wired that was not; on -ECANCELED a part may be, in entries that say so.
 * Source: DragonFly vm_map_wire, vm_map_unwire.
 */
int vm_map_wire(struct vm_map *map, gpa_t start, gpa_t end, bool user)
    __attribute__((warn_unused_result));

/*
 * Undo one vm_map_wire of [start, end).
 * Locks: takes E, and M exclusively, O.
 * Returns 0; -EINVAL (alignment, empty, a part is not wired this way), -ENOENT (not
 * covered by entries), -ENOMEM; -ECANCELED: a part may still be wired, in entries that say so.
 */
int vm_map_unwire(struct vm_map *map, gpa_t start, gpa_t end, bool user)
    __attribute__((warn_unused_result));

/* Abort unless the map's invariants hold (tests). */
void vm_map_audit(struct vm_map *map);

#endif
