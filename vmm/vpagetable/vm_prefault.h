/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Prefault: which neighbours of a faulting page are mapped together with it.
 *
 * The neighbours are collected before the faulting page is entered, so that all
 * of them go into one run for one pmap_enter: one machine operation, one wake.
 *
 *     vm_prefault_init            the run is the demanded page alone
 *     vm_prefault_normal or       O held: neighbours join the run, busy
 *     vm_prefault_vpagetable
 *     (O is dropped, pmap_enter)
 *     vm_prefault_finish          neighbours go to their queues, not busy any more
 *
 * How many: as many as lie directly behind the faulting page already, so that a
 * sequential stream doubles its run by itself and an isolated access gets
 * nothing.  Pages that are resident anyway cost less: a few on both sides always.
 *
 * Nothing here sleeps, does I/O or sets M.
 */
#ifndef VM_PREFAULT_H
#define VM_PREFAULT_H

#include "vmm/vpagetable/vm_map.h"

#define VM_PREFAULT_BEHIND 4 /* resident pages on each side that are always entered */
#define VM_PREFAULT_AHEAD 4
#define VM_PREFAULT_SEQUENTIAL 16 /* least run where sequential access was promised */
#define VM_PREFAULT_VPAGETABLE 64 /* longest run through a virtual page table */
#define VM_PREFAULT_RUN (VM_PREFAULT_BEHIND + 1 + VM_PREFAULT_MAX)

/*
 * Pages at consecutive guest addresses.  The demanded page has the index
 * VM_PREFAULT_BEHIND; [first, end) are in use.
 */
struct vm_prefault_run {
    uint64_t page;                    /* guest page number of the demanded page */
    const struct pmap_window *window; /* around it: neighbours are of this one */
    bool own;                         /* pages of backing objects stay out: the fault copies one */
    unsigned first;
    unsigned end;
    struct vm_page *m[VM_PREFAULT_RUN]; /* busy; NULL = left alone */
    vm_prot_t prot[VM_PREFAULT_RUN];
    bool fresh[VM_PREFAULT_RUN]; /* made of zeros for this run */
    bool hole[VM_PREFAULT_RUN];  /* ... which pmap_enter is to write */
};

/* How many pages may be made on suspicion: none when memory is short (vm_page_count_min). */
uint64_t vm_prefault_room(const struct vm_system *sys);

/*
 * How an entry maps a page of its own object when nobody writes now: writable if
 * the entry allows it, so as to save the fault of the first write (seed).  Not a
 * clean page of a file: Linux has no M bit for us, so that a writable mapping would make
 * it dirty.  One from swap is compared when it leaves (vm_page_may_be_modified).
 * Locks: m is busy.
 */
vm_prot_t vm_prefault_prot(const struct vm_map_entry *entry, const struct vm_page *m);

/*
 * Mark the page VM_PAGE_NOSYNC if the entry says so and the page is not dirty yet:
 * what was written to be synced is.  An entry that does not say so clears the mark.
 * Locks: m is busy.  Source: DragonFly vm_set_nosync.
 */
void vm_set_nosync(struct vm_page *m, const struct vm_map_entry *entry);

/*
 * The page, one of the entry's own object, is about to be mapped writable: it counts as
 * dirty from now on.  Locks: O held, m is busy.
 */
void vm_prefault_writeable(const struct vm_map_entry *entry, struct vm_page *m);

/*
 * The run of the demanded page alone, which is to be mapped at a guest page with prot.
 * `own`: no pages of backing objects are to join.
 */
void vm_prefault_init(struct vm_prefault_run *run, uint64_t page, struct vm_page *m, vm_prot_t prot,
                      bool own);

/*
 * Add neighbours of the page at `pindex` of a NORMAL entry's object, its own or those
 * that show through from backing objects.
 * `fresh`: the page was made of zeros just now.
 * Locks: M shared, O held.
 */
void vm_prefault_normal(struct vm_prefault_run *run, const struct pmap_window *window,
                        struct vm_map *map, const struct vm_map_entry *entry,
                        struct vm_object *object, vm_pindex_t pindex, bool fresh)
    VM_REQUIRES(object->lock);

/*
 * How many pages after a guest page of the window a fault in this VPAGETABLE entry may enter: what
 * the range interlock must cover beyond the page itself.  Locks: M shared.
 */
unsigned vm_prefault_cluster(struct vm_map *map, const struct vm_map_entry *entry,
                             const struct pmap_window *window, uint64_t page);

/*
 * Add up to `npages` pages that follow in the last table page of a finished walk.
 * Locks: M shared, the range interlocked, O held since before the walk.
 */
void vm_prefault_vpagetable(struct vm_prefault_run *run, const struct pmap_window *window,
                            const struct vm_map_entry *entry, struct vm_object *object,
                            struct vpte_walk *walk, unsigned npages) VM_REQUIRES(object->lock);

/*
 * End the busy state of the neighbours; one that was made for the run and not
 * entered is freed.  Counts the zero-filled ones.
 * Locks: none of the objects held; takes O of each page's object.
 */
void vm_prefault_finish(struct vm_prefault_run *run, struct vm_map_meter *meter);

#endif
