/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The state of one fault, and what the files of the fault engine call in each other.
 * Internal to vm_fault*.c; callers use vm_fault.h, and the picture of it all is in vm_fault.c.
 *
 *     vm_fault.c         the driver: attempts, choosing, filling, mapping, counting
 *     vm_fault_walk.c    vm_fault_vpagetable: from the root to the page index
 *     vm_fault_object.c  vm_fault_object: from the page index to a busy page
 *     vm_fault_page.c    vm_fault_page, vm_fault_page_quick, vm_fault_object_page
 *     vm_fault_trace.c   the record of a fault, for who traces it
 *     vm_fault_start.c   vm_fault_start, vm_fault_resume, vm_fault_end
 *     vm_fault_super.c   the hole around the page becomes a superpage
 *     vm_inject.c        vm_fault_inject: what a user has happen to it
 *     vm_copy.c          vm_map_read, vm_map_write, vm_map_peek, vm_poke
 *
 * Locks: a faultstate belongs to one thread at a time.
 */
#ifndef VM_FAULT_STATE_H
#define VM_FAULT_STATE_H

#include "vmm/vpagetable/vm_fault_trace.h"
#include "vmm/vpagetable/vm_prefault.h"

/* Bytes of the page that are copied instead of mapping it: to the guest if `from` is set. */
struct fault_bytes {
    void *to;
    const void *from;
    size_t offset; /* in the page */
    size_t size;
};

/*
 * Each field is set by the step that stands above it, and read by the steps after it.  What an
 * attempt sets, the next attempt sets anew; in between nothing is cleared.  `object` is short for
 * vm_fault_object_page, which faults on an object and does these things itself.
 */
struct faultstate {
    /* vm_fault_init, once. */
    struct vm_map_meter *meter; /* borrowed: of the VM whose fault it is */
    struct vm_fault_info *info; /* borrowed; vm_fault_resume: what is filled from now on */
    vm_prot_t access;
    unsigned flags;          /* VM_FAULT_* */
    struct vm_errand errand; /* vm_errand_leave_* in an attempt, vm_errand_run between two */
    /* vm_fault_init: NULL, which means "enter it".  Who wants something else sets one of them. */
    struct vm_page **held;           /* vm_fault_page, object: where the held page goes */
    const struct fault_bytes *bytes; /* vm_map_read, vm_map_write: what to copy */
    /* vm_fault_set_place, once; object. */
    struct vm_map *map;                   /* object: NULL */
    gpa_t gpa;                            /* of the page; object: its index, as an address */
    struct vm_inject *inject;             /* borrowed; NULL = there is none, or it was asked */
    const struct vm_fault_trace *trace;   /* borrowed; NULL = nobody traces it */
    uint64_t begun;                       /* with a trace: what its `begin` returned */
    const struct vm_fault_origin *origin; /* borrowed; NULL = the monitor.  vm_fault_resume: whose
                                             it is from now on */
    /* vm_fault_attempt, each time; object, once. */
    struct vm_map_lookup lookup;
    struct vm_object *first_object; /* borrowed from the entry */
    uint64_t object_number;         /* its: it may be gone when a trace is told */
    /* vm_fault_attempt: NULL; vm_fault_window, when it is first asked.  With a map only. */
    struct pmap_window *window; /* around gpa; NULL: not asked for yet */
    /* vm_fault_attempt, and each step as it begins.  With a map; a trace reads it. */
    enum fault_step step; /* how far it came */
    /* fault_resolve_interlocked. */
    unsigned cluster; /* VPAGETABLE: pages beyond the first that are interlocked */
    /* fault_choose. */
    bool walked; /* through a virtual page table */
    /* vm_fault_vpagetable. */
    struct vpte_walk walk; /* VPAGETABLE */
    bool unread_table;     /* m is a table page that is not valid yet; vm_fault_resolve clears it */
    /* vm_fault_object, also for a table page of the walk. */
    vm_pindex_t pindex;     /* of m in first_object */
    unsigned depth;         /* objects passed in the chain */
    struct vm_page *m;      /* busy: the page; NULL: none yet */
    struct vm_page *source; /* busy: copy it to m first; or NULL */
    bool sole_view;         /* with a source: first_object shows in this entry only */
    bool keep_frame;        /* ... its frame stays where it is mapped, and becomes m's */
    enum fault_kind kind;   /* with m */
    bool from_file;         /* PAGE_IN: a file's pager had it, not swap */
    /* fault_choose_page: m, how it is mapped, and its neighbours; vm_prefault_* adds these. */
    struct vm_prefault_run run;
    bool super;            /* instead of these, all pages of the chunk around m were made, busy */
    struct vm_page *guard; /* ... and the page behind it, so that nobody maps one there; or NULL */
};

/* Is the page to be mapped, not held or copied? */
static inline bool
vm_fault_enters(const struct faultstate *fs)
{
    return fs->held == NULL && fs->bytes == NULL;
}

static inline bool
vm_fault_is_vpagetable(const struct faultstate *fs)
{
    return fs->lookup.entry->maptype == VM_MAPTYPE_VPAGETABLE;
}

/* The window around the address, looked for once in an attempt.  Locks: M held, so that it stays. */
static inline struct pmap_window *
vm_fault_window(struct faultstate *fs)
{
    if (fs->window == NULL)
        fs->window = pmap_window_look(fs->map->pmap, fs->gpa.value >> PAGE_SHIFT);
    return fs->window;
}

static inline enum vm_result
vm_fault_host_failure(struct faultstate *fs, int error, const char *cause)
{
    fs->info->error = error;
    fs->info->cause = cause;
    return VM_HOST_FAILURE;
}

/* --- vm_fault_object.c --------------------------------------------------- */

/*
 * The core: bring in (first_object, pindex) for reading or for writing.
 * Locks: O of the first object, held on return too.  Those of backing objects
 * are taken hand over hand, which lock analysis cannot express.
 * Returns VM_OK: fs->m is busy; it is valid, or fs->source is to be copied to it,
 * or it has VM_PAGE_ZERO.  VM_RETRY: an errand was left.  Else: nothing is busy.
 */
enum vm_result vm_fault_object(struct faultstate *fs, vm_pindex_t pindex, bool write)
    VM_REQUIRES(fs->first_object->lock);

/* --- vm_fault_walk.c ----------------------------------------------------- */

/*
 * Translate the entry's page index into the object's by the guest's own tables, setting A
 * and M; tables[l] becomes the table page that holds the entry of level l.
 * Locks: O of the first object, held on return too: vm_fault_walk_settle comes before it is
 * let go of, whatever the result.
 * Returns VM_OK and *pindex; VM_VPTE_INVALID, VM_VPTE_PROTECTION, VM_BAD_FRAME with the
 * details in fs->info; VM_RETRY: an errand was left, or fs->unread_table says that fs->m, busy,
 * is a table page to be made first; else as vm_fault_object.
 */
enum vm_result vm_fault_vpagetable(struct faultstate *fs, struct vm_page **tables,
                                   vm_pindex_t *pindex) VM_REQUIRES(fs->first_object->lock);

/*
 * Settle what a walk, and prefault with it, did: changed table pages are dirty,
 * bits are counted.
 */
void vm_fault_walk_settle(struct faultstate *fs, struct vm_page *const *tables)
    VM_REQUIRES(fs->first_object->lock);

/* --- vm_fault_super.c ---------------------------------------------------- */

/*
 * fs->m is a new page of zeros of a NORMAL entry, and to be mapped: if a stream came up to its chunk, which is
 * a hole but for it, make all the chunk's pages, busy, valid and dirty.
 * Locks: M shared and O of the first object held.  Returns whether they were made.
 */
bool vm_fault_super_choose(struct faultstate *fs) VM_REQUIRES(fs->first_object->lock);

/*
 * Map the pages that were so made, fs->m among them, as a superpage, and end the busy state of all but fs->m.
 * Locks: none of O held.
 * Returns 0; or the error of pmap_super_enter: the others are freed, fs->m is as it was.
 */
int vm_fault_super_enter(struct faultstate *fs) __attribute__((warn_unused_result));

/* --- vm_fault_trace.c ---------------------------------------------------- */

/* Hand the ended fault's record to fs->trace, which is not NULL. */
void vm_fault_trace_end(const struct faultstate *fs);

/* --- vm_inject.c --------------------------------------------------------- */

/*
 * Ask fs->inject, which is not NULL, about the access; it is NULL then.  From now on the fault enters
 * no more than the access needs.
 * Locks: M held shared.
 * Returns VM_OK: go on; VM_RETRY: it is to wait, an errand was left; VM_IO_ERROR, VM_PROTECTION.
 */
enum vm_result vm_fault_inject(struct faultstate *fs);

/* --- vm_fault.c ---------------------------------------------------------- */

/*
 * Everything but where: the map and address, or the object.  The page is to be entered; `stop`
 * (vm_stop.h) ends the waits.
 */
void vm_fault_init(struct faultstate *fs, struct vm_system *sys, struct vm_map_meter *meter,
                   const _Atomic bool *stop, vm_prot_t access, unsigned flags,
                   struct vm_fault_info *info);

/* Where: an address of a map, and whose fault it is.  Fills *info. */
void vm_fault_set_place(struct faultstate *fs, struct vm_map *map, gpa_t gpa,
                        const struct vm_fault_origin *origin);

/*
 * One attempt at fs->first_object, with fs->lookup filled: choose, fill; enter, hold or copy.
 * Locks: none of O held; with a map, M held shared and, through a virtual page table, I.
 * Returns VM_RETRY when an errand was left.
 */
enum vm_result vm_fault_resolve(struct faultstate *fs);

/* An attempt at fs->map and fs->gpa. */
enum vm_result vm_fault_attempt(struct faultstate *fs);

/*
 * Attempts, until the fault is over and counted, or has an errand to run: VM_RETRY.
 * Locks: none held; sleeps for no page, no I/O and no memory.
 */
enum vm_result vm_fault_advance(struct faultstate *fs,
                                enum vm_result (*attempt)(struct faultstate *fs));

/* From what vm_fault_advance returned on: errands and attempts by turns.  Locks: none held; sleeps. */
enum vm_result vm_fault_finish(struct faultstate *fs,
                               enum vm_result (*attempt)(struct faultstate *fs),
                               enum vm_result result);

/* One fault from beginning to end.  Locks: none held; sleeps. */
enum vm_result vm_fault_run(struct faultstate *fs,
                            enum vm_result (*attempt)(struct faultstate *fs));

/* The same for an address of a map; fills *info. */
enum vm_result vm_fault_run_map(struct faultstate *fs, struct vm_map *map, gpa_t gpa,
                                const struct vm_fault_origin *origin);

#endif
