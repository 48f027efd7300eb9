/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The memory system: the frame store, the direct map, the page array, the RAM budget, the
 * page queues, the counters of memory (vm_meter.h) and tunables.
 *
 * One serves any number of VMs.  Each VM has a pmap and a map of its own; objects, and so
 * pages, may be mapped by several.  The budget and page-out are for all of them together:
 * whose page it is does not matter, only how it is used.
 *
 * Frame store: one sparse memfd.  An object that may hold pages owns an
 * *extent*, a contiguous range of slots; page `pindex` has slot
 * `extent + pindex`.  Holes cost nothing.  Each slot owns exactly one frame,
 * normally the frame of the same number; moving a page between objects
 * exchanges the frames of two slots, so frames stay a permutation of slots and
 * no frame allocator exists.  They go home when nobody needs them elsewhere.
 *
 * Page array: `struct vm_page pages[]`, indexed by slot, sparse as the file is.
 * Looking a page up is an addition.
 *
 * Direct map: the whole memfd, mapped once for the monitor.  Only frames of
 * resident pages may be touched through it: touching a hole allocates it.
 *
 * Swap is attached by the swap pager (vmm/pager/swap_pager.h), which is above; so is the file
 * pager, which finds here the objects of files that are mapped already.
 *
 * No mutable globals: everything hangs off this struct.
 */
#ifndef VM_SYSTEM_H
#define VM_SYSTEM_H

#include "vmm/vpagetable/vm_lock.h"
#include "vmm/vpagetable/vm_meter.h"
#include "vmm/vpagetable/vm_stop.h"
#include "vmm/vpagetable/vm_types.h"

#include <bsd/sys/queue.h>
#include <stdatomic.h>

struct file_pager;
struct pmap;
struct swap_device;
struct vm_page;
struct vm_pager_ops;
TAILQ_HEAD(vm_pageq, vm_page);
LIST_HEAD(file_pager_list, file_pager);

/* Page queues, in the seed's terms. */
enum vm_page_queue {
    PQ_NONE = 0,
    PQ_INACTIVE,
    PQ_ACTIVE,
    PQ_CACHE,
    PQ_HOLD,
    PQ_COUNT
};

/* Tunables, set before the first fault.  The seed's vm.fast_fault, vm.prefault_pages, vm.load_enable. */
struct vm_tunables {
    bool fast_fault;         /* (c) prefault may make zero-fill pages; default true */
    bool load_enable;        /* (c) slow faults down as memory gets short; default false */
    unsigned prefault_pages; /* (c) most neighbours entered per fault, 0..VM_PREFAULT_MAX */
    bool superpages;         /* (c) streams may make superpages (vm_fault_super.c); default false */
};

#define VM_PREFAULT_MAX 128
#define VM_PREFAULT_DEFAULT 128

/* The most slots a frame store has, 2 TiB: a page's entry in a forward table is 32 bits. */
#define VM_STORE_ORDER_MAX 29
#define VM_STORE_PAGES_MAX ((uint64_t)1 << VM_STORE_ORDER_MAX)

struct vm_system_config {
    uint64_t store_pages; /* slots of the frame store, <= VM_STORE_PAGES_MAX; 0 = 2^28 (1 TiB) */
    uint64_t ram_budget;  /* most resident pages, VM_RAM_BUDGET_MIN or more; 0 = no limit */
};

/*
 * The smallest RAM budget, pages: one fault needs a page per level of its walk, its
 * result and what that is copied from, all at once, and page-out needs some play.
 */
#define VM_RAM_BUDGET_MIN 16

/* Pages that were taken from the budget for the threads of one part, and are none yet. */
struct vm_budget_stock {
    _Atomic uint64_t pages; /* (a) */
    uint8_t gap[VM_PART_GAP];
};

/* The budget's marks, who waits for memory, the page-out thread's orders; see vm_budget.h. */
struct vm_budget {
    uint64_t free_severe;     /* (c) pages: fewer are left to the first waiter */
    uint64_t free_min;        /* (c) ... with fewer page-out begins, nothing is made on suspicion */
    uint64_t free_target;     /* (c) ... so many page-out frees up to */
    uint64_t inactive_target; /* (c) ... so many it keeps on PQ_INACTIVE */
    uint64_t wake_at;         /* (c) resident pages that page-out begins at */
    uint64_t stock_below;     /* (c) pages taken: stocks are filled with fewer */
    struct vm_mutex lock;     /* F */
    struct vm_cond needed;    /* F: wanted or stop was set */
    struct vm_cond freed;     /* F: memory was freed, or `first` went */
    const void *first;        /* F: the one that may wait for memory and keep pages meanwhile */
    _Atomic bool stop;        /* (a), F to write: the thread ends */
    const char *failing;      /* F: why pages cannot be written, static text; NULL = they can */
    _Atomic bool wanted;      /* (a) set: page-out is asked to work */
    _Atomic bool futile;      /* (a) the last scan freed nothing, and nothing was freed since */
    _Atomic unsigned waiters; /* (a), F to write: threads that wait for `freed` */
    _Atomic uint64_t supply;  /* (a) pages until vm_fault_ratelimit looks again */
    struct vm_budget_stock stock[VM_PARTS];
};

/*
 * Mapping lists are locked in parts: 2 MiB of slots, then the next part, so that threads that fault
 * in different places do not meet, and a run of pages needs one or two of them.
 */
#define PV_PARTS 64u
#define PV_PART_SLOTS 512u

struct pv_part {
    struct vm_mutex lock; /* V */
    uint64_t nlinks;      /* V: reverse links of its pages */
    uint8_t gap[VM_PART_GAP];
};

struct vm_extents; /* vm_system.c */

#define VM_MAX_PMAPS 64

struct vm_system {
    int memfd;             /* (c) owned */
    uint8_t *direct_map;   /* (c) owned, store_pages * PAGE_SIZE bytes */
    struct vm_page *pages; /* (c) owned, store_pages elements, by slot */
    uint64_t store_pages;  /* (c) */
    uint64_t ram_budget;   /* (c) pages, UINT64_MAX = none */
    struct vm_tunables tunables;
    struct vm_system_meter meter;
    struct swap_device *swap;              /* (c) borrowed; NULL = no swap */
    const struct vm_pager_ops *swap_pager; /* (c) borrowed; NULL = no swap */
    /* Told once each time page-out begins to fail, without locks; may be NULL.  error: the
     * negative errno behind it, 0 if there is none. */
    void (*pageout_error)(void *context, const char *message, int error); /* (c) */
    void *pageout_error_context;                                          /* (c) */
    struct vm_budget budget;
    _Atomic bool superpages_refused;                        /* (a) the machine makes none */
    _Atomic uint64_t nobjects;                              /* (a) made so far */
    _Atomic(const struct vm_pageout_trace *) pageout_trace; /* (a) borrowed; NULL = not traced */
    _Atomic uint64_t taken_pages;     /* (a) of the budget: an object's, or in a stock */
    _Atomic uint64_t wired_pages;     /* (a) of these, wired ones */
    _Atomic uint64_t *moved;          /* (c) owned, (a) words: bit per slot whose frame was moved */
    _Atomic uint64_t moved_slots;     /* (a) bits set in moved */
    _Atomic uint64_t window_slots;    /* (a) slots of extents that windows own (pmap.h) */
    struct vm_mutex moved_lock;       /* D: frames of FREE slots, and which of the moved ones are */
    _Atomic uint64_t *left;           /* (c) owned, (a) D to write: bit per frame that is left */
    uint64_t *left_groups;            /* (c) owned, D: bit per 4096 frames that may have some */
    _Atomic uint64_t left_frames;     /* (a) bits set in left */
    uint64_t left_max;                /* (c) when there are more they are due */
    struct vm_mutex extent_lock;      /* X */
    struct vm_extents *extents;       /* X: owned */
    struct vm_mutex files_lock;       /* N: which files have an object (vmm/pager/file_pager.h) */
    struct vm_cond file_gone;         /* N: one of them has no more */
    struct file_pager_list files;     /* N: borrowed */
    struct vm_mutex shadow_lock;      /* S: links between objects (vm_shadow.h) */
    struct pv_part pv_part[PV_PARTS]; /* every page's mapping list */
    struct vm_rwlock pmaps_lock;      /* L; outermost of the pmap's locks */
    struct pmap *pmaps[VM_MAX_PMAPS]; /* L: borrowed; the pmap of id i + 1, or NULL */
    struct vm_mutex queue_lock;       /* Q */
    struct vm_cond scan_ended;        /* Q: an object's scan_pins dropped to 0 */
    struct vm_pageq queues[PQ_COUNT]; /* Q */
    uint64_t queue_length[PQ_COUNT];  /* Q */
};

/*
 * Make an empty memory system in the caller's storage.
 * Returns 0, or -errno of memfd_create, ftruncate or mmap; -ENOMEM; -EINVAL for
 * store_pages above VM_STORE_PAGES_MAX or a RAM budget below VM_RAM_BUDGET_MIN.  On failure nothing
 * is held.
 */
int vm_system_init(struct vm_system *sys, const struct vm_system_config *config)
    __attribute__((warn_unused_result));

/* Undo vm_system_init.  No object may be left. */
void vm_system_fini(struct vm_system *sys);

/*
 * Reserve npages contiguous slots (rounded up inside to a power of two, or from 1 GiB on to a
 * sixteenth of one, and aligned to that power).  No page is resident in them and their frames are holes.
 * Locks: takes the extent lock.  Returns 0 and *first; -ENOSPC when the store
 * has no such range, -ENOMEM, -EINVAL for 0 pages.
 */
int vm_extent_alloc(struct vm_system *sys, uint64_t npages, uint64_t *first)
    __attribute__((warn_unused_result));

/*
 * Give a range from vm_extent_alloc back, and the memory of its part of the page
 * array to the host; no slot in it may hold a page.  Locks: takes the extent lock.
 */
void vm_extent_free(struct vm_system *sys, uint64_t first, uint64_t npages);

/* The direct map's address of a frame.  The frame must belong to a resident page. */
static inline void *
vm_frame_address(const struct vm_system *sys, vm_frame_t frame)
{
    return sys->direct_map + (frame << PAGE_SHIFT);
}

/* Give a frame's memory back to the host (punch a hole).  Returns 0 or -errno. */
int vm_frame_punch(struct vm_system *sys, vm_frame_t frame);

/* The same for npages frames in a row. */
int vm_frame_punch_run(struct vm_system *sys, vm_frame_t frame, uint64_t npages);

/*
 * Make frames that no page has holes again.  Should the host refuse, the memory stays, but
 * no old byte may show up in the next page that lives there.
 */
void vm_frames_discard(struct vm_system *sys, vm_frame_t frame, uint64_t npages);

/*
 * The same, later and together with their neighbours: they belong to FREE slots and are `left`.
 * Memory that is left is bounded, comes back before page-out takes any, and counts for nothing.
 * Locks: takes D.
 */
void vm_frames_leave(struct vm_system *sys, vm_frame_t frame, uint64_t npages);

/* Is it left?  Locks: D, or who is about to have the frame's slot. */
bool vm_frame_is_left(const struct vm_system *sys, vm_frame_t frame);

/* Somebody is going to use the frame: it is a hole afterwards. */
void vm_frame_reclaim(struct vm_system *sys, vm_frame_t frame) VM_REQUIRES(sys->moved_lock);

/* Make all holes that are left.  Locks: takes D for a portion at a time. */
void vm_frames_reclaim_all(struct vm_system *sys);

/* Is it time for that? */
bool vm_frames_are_due(const struct vm_system *sys);

/* For vm_system_init: how many may be left. */
uint64_t vm_frames_left_max(const struct vm_system *sys);

/*
 * Say that the slot's frame is (or is no longer) another than its own, so that
 * its element of the page array must outlive the object.
 * Locks: who may change the frame (vm_page.h).
 */
void vm_slot_set_moved(struct vm_system *sys, uint64_t slot, bool moved);

/* Is the frame of one of npages slots another than its own?  Whole words of `moved`; locks as below. */
bool vm_slots_are_moved(struct vm_system *sys, uint64_t slot, uint64_t npages);

/* Is it?  Locks: the same, or O of the object that a FREE slot belongs to: it may only end. */
bool vm_slot_is_moved(struct vm_system *sys, uint64_t slot);

#endif
