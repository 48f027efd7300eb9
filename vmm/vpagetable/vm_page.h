/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A resident page of an object, and what may be done to it.
 *
 * States (vm_page_assert_state checks them at both ends of a transition):
 *
 *            vm_page_alloc                       vm_page_wakeup
 *     FREE ----------------> BUSY, not valid --------------------> VALID, on a queue
 *       ^                     |    ^                                  |
 *       | vm_page_free        |    | vm_page_busy                     |
 *       +---------------------+    +----------------------------------+
 *
 *     FREEING: freed while it was held; becomes FREE with the last vm_page_unhold.
 *
 * Invariants:
 *  1. m->object != NULL exactly while the page is resident or FREEING; it counts
 *     against the RAM budget all that time.  Its bit in the object's resident
 *     bitmap is set exactly while it is resident.
 *  2. A page that is not busy is valid.
 *  3. Only the thread that busied a page changes valid, the ZERO flag, its
 *     frame, or frees it.  No I/O, copy or pmap change without the busy bit.
 *  4. VM_PAGE_ZERO: the frame is still a hole, the page reads as zeros.  It is
 *     cleared by whoever fills the frame; a held or queued page never has it.
 *  5. A page with mappings is never freed: pmap_page_protect(m, NONE) first.
 *  6. wire_count != 0 or hold_count != 0: never paged out.
 *  7. The frame of a FREE slot is a hole, or left to become one (vm_frames_leave).  Slots that have
 *     each other's frames have their own again when all of them are FREE.  A slot of a window's extent (pmap.h) is always FREE:
 *     it has its own frame until a page is placed there, and has that of the page then.
 *  8. FREEING pages, and only they, are on PQ_HOLD; a wired page is on no queue.
 *  9. VM_PAGE_DOUBT: the page counts as dirty, because mappings allow writes that nobody sees; its
 *     copy in swap was kept, and vm_page_prove_clean can tell.  Without it a dirty page is dirty.
 * 10. A page on PQ_CACHE that is not busy is clean and not mapped: who is about to write
 *     to it where it lies takes it off first.
 *
 * Locks: fields with two letters are read with either and written with both.
 * `flags` is atomic because the busy thread changes some of its bits without O.
 */
#ifndef VM_PAGE_H
#define VM_PAGE_H

#include "vmm/vpagetable/vm_object.h"

#define VM_PAGE_BUSY 0x0001       /* exclusively owned by one thread */
#define VM_PAGE_WANTED 0x0002     /* somebody waits for the busy bit, a hold or FREEING to end */
#define VM_PAGE_REFERENCED 0x0004 /* touched since the last look */
#define VM_PAGE_WRITEABLE 0x0008  /* some mapping of it allows writes */
#define VM_PAGE_RAM 0x0010        /* read-ahead mark */
#define VM_PAGE_NOSYNC 0x0020     /* not worth writing back on its own */
#define VM_PAGE_ZERO 0x0040       /* the frame is a hole: reads as zeros */
#define VM_PAGE_FREEING 0x0080    /* freed while held; the last unhold ends it */
#define VM_PAGE_DOUBT 0x0100      /* dirty for all one knows: nobody saw it written to */

#define ACT_DECLINE 1
#define ACT_ADVANCE 3
#define ACT_INIT 5
#define ACT_MAX 64

/*
 * Where the page is mapped, for pv.c alone.  A place packs a pmap's id and a guest page
 * (pv.h).  Two fit here: of more, `rest` is the address of a tree that has all but the first.
 */
struct pv_links {
    uint64_t first; /* V: a place, 0 = none */
    uint64_t rest;  /* V: a place; or the address of a struct pv_entry, owned; 0 = none */
};

struct vm_page {
    struct vm_object *object;   /* O Q, D if moved: borrowed; NULL = FREE.  Stable while busy
                                   or held */
    TAILQ_ENTRY(vm_page) pageq; /* Q */
    int64_t frame_delta;        /* busy; D of a FREE slot: frame - slot; 0 unless it was moved */
    struct pv_links pv;         /* V */
    _Atomic uint16_t flags;     /* (a) BUSY, WANTED, FREEING: O to write; ZERO: busy to write */
    uint16_t hold_count;        /* O */
    uint32_t wire_count;        /* O */
    uint8_t valid;              /* busy; O when nobody has it busy: all of the page or nothing */
    _Atomic uint8_t dirty;      /* (a) differs from the pager's copy */
    uint8_t queue;              /* O Q: enum vm_page_queue */
    uint8_t act_count;          /* O */
    uint16_t hold_refs;         /* O: references of the object that go with the last hold */
    uint16_t places;            /* busy: how often it was placed since it was made */
};
_Static_assert(sizeof(struct vm_page) <= 64, "bookkeeping stays under 2 % of a page");

/* Set or clear VM_PAGE_* bits.  Locks: O held or the page busy, see above. */
static inline void
vm_page_flag_set(struct vm_page *m, unsigned flags)
{
    atomic_fetch_or_explicit(&m->flags, (uint16_t)flags, memory_order_relaxed);
}

static inline void
vm_page_flag_clear(struct vm_page *m, unsigned flags)
{
    atomic_fetch_and_explicit(&m->flags, (uint16_t)~flags, memory_order_relaxed);
}

/* Are any of the VM_PAGE_* bits set? */
static inline bool
vm_page_flag_test(const struct vm_page *m, unsigned flags)
{
    return (atomic_load_explicit(&m->flags, memory_order_relaxed) & flags) != 0;
}

/* The page's slot, its index in the object, its frame.  The page is resident or FREEING. */
uint64_t vm_page_slot(const struct vm_page *m);
vm_pindex_t vm_page_pindex(const struct vm_page *m);
vm_frame_t vm_page_frame(const struct vm_page *m);

/*
 * The page's bytes in the direct map.
 * Locks: the page is busy or held.  Touching them fills the frame if it is a
 * hole: the caller of a busy page must have called vm_page_zero_fill first, or
 * clear VM_PAGE_ZERO itself.
 */
void *vm_page_address(const struct vm_page *m);

/* The resident page at pindex, or NULL.  Locks: O held. */
struct vm_page *vm_page_lookup(struct vm_object *object, vm_pindex_t pindex)
    VM_REQUIRES(object->lock);

/*
 * Make a page at (object, pindex), which must have none and be inside the object.
 * Locks: O held.
 * Returns the page, busy, not valid, with VM_PAGE_ZERO, on no queue; NULL when
 * the RAM budget is used up, or when the slot is still being freed
 * (vm_page_is_freeing tells; vm_page_sleep_busy waits for the end of it).
 */
struct vm_page *vm_page_alloc(struct vm_object *object, vm_pindex_t pindex)
    VM_REQUIRES(object->lock);

/* Is the slot at pindex still occupied by a page that was freed while held?  Locks: O held. */
bool vm_page_is_freeing(const struct vm_object *object, vm_pindex_t pindex)
    VM_REQUIRES(object->lock);

/*
 * Take a page out of its object and give its frame's memory back.  The page is
 * busy, unmapped and unwired.  While it is held the frame lives on until the
 * last vm_page_unhold.  Locks: O held.
 */
void vm_page_free(struct vm_page *m);

/*
 * vm_page_free for `count` unheld pages of one object in ascending order, giving
 * contiguous frames back together.  No page of the object but these, resident or
 * FREEING, lies between the first and the last.  Locks: O held.
 */
void vm_page_free_run(struct vm_page *const *m, unsigned count);

/* Make the page busy; it must not be.  Locks: O held. */
void vm_page_busy(struct vm_page *m);

/* End the busy state of a valid page and wake the waiters.  Locks: O held. */
void vm_page_wakeup(struct vm_page *m);

/*
 * Sleep until the page at pindex is neither busy nor being freed (or is gone), or *stop is set.
 * Locks: O held; it is released while asleep and held again on return, and the
 * caller must look everything up afresh.  The caller has a reference of the
 * object, does not hold this page, and holds no other lock.
 */
void vm_page_sleep_busy(struct vm_object *object, vm_pindex_t pindex, const _Atomic bool *stop)
    VM_REQUIRES(object->lock);

/*
 * Keep the page from being paged out, moved or given back.  (vm_page_hold.c)
 * Locks: hold: O held; unhold: takes O.
 */
void vm_page_hold(struct vm_page *m);
void vm_page_unhold(struct vm_page *m);

/*
 * The same for who has no reference of the object and might be its last user: a reference
 * goes with the hold, until nobody holds the page any more.  Without it that thread could
 * come to end the object (vm_object_unref) and wait for its own hold.
 * Locks: O held.  vm_page_unhold then takes S too, and may sleep for the object's end.
 */
void vm_page_hold_object(struct vm_page *m);

/* For vm_page_unhold: hold_count dropped to 0.  Wakes the waiters, and frees a FREEING page.
 * Locks: O held, takes Q. */
void vm_page_hold_ended(struct vm_page *m);

/* Count a wiring; a wired page is on no queue.  Locks: O held. */
void vm_page_wire(struct vm_page *m);
void vm_page_unwire(struct vm_page *m, bool activate);

/* Put the page on a queue, unless it is wired; take it off.  Locks: O held, takes Q. */
void vm_page_activate(struct vm_page *m);
void vm_page_deactivate(struct vm_page *m);
void vm_page_unqueue(struct vm_page *m);

/* Put a clean, unmapped page where memory is taken from first.  Locks: O held, takes Q. */
void vm_page_cache(struct vm_page *m);

/* Move the page to the end of the queue it is on.  Locks: O held, takes Q. */
void vm_page_requeue(struct vm_page *m);

/* Mark the page as differing from its pager's copy, without a doubt.  Locks: O held or page busy. */
void vm_page_dirty(struct vm_page *m);

/*
 * The page is about to be written to: it is dirty, and a copy of it in swap is only
 * a waste of space (seed: VM_FAULT_UNSWAP).  Locks: O held.
 */
void vm_page_modified(struct vm_page *m);

/*
 * Mappings are about to allow writes to the page that nobody will see.  It counts as dirty.  If it
 * was not, and its pager can compare, its copy in swap stays, and it has VM_PAGE_DOUBT; else this
 * is vm_page_modified.  (vm_page_doubt.c)
 * Locks: O held, m is busy.
 */
void vm_page_may_be_modified(struct vm_page *m);

/*
 * End the doubt about a busy page: compare it with its copy in swap.  Nobody can write to it: it
 * has no mapping and no hold.  Returns whether it was in doubt and is clean.
 * Locks: O need not be held.
 */
bool vm_page_prove_clean(struct vm_page *m);

/* Fill a busy page with zeros through the direct map, if it is not known to be zero,
 * and in any case clear VM_PAGE_ZERO: the frame is populated afterwards. */
void vm_page_zero_fill(struct vm_page *m);

/* Are all bytes of a busy page 0? */
bool vm_page_is_zero(const struct vm_page *m);

/* Copy src (busy or held) to dst (busy) through the direct map; clears dst's VM_PAGE_ZERO. */
void vm_page_copy(const struct vm_page *src, struct vm_page *dst);

/*
 * Let two busy pages exchange their frames, and so their bytes.  Neither is held or has
 * VM_PAGE_ZERO, and what is mapped of either is about to be the other's (pmap_mapping_moved).
 * Locks: O need not be held.
 */
void vm_page_exchange_frames(struct vm_page *a, struct vm_page *b);

/*
 * Let a busy page, which is not mapped or held, exchange its frame with a FREE slot of a window's
 * extent, which must have its own: false if it has not.  Nothing is copied; what was the page's
 * frame is the caller's to copy from and, at last, to give to vm_frames_leave.
 * Locks: takes D; O need not be held.
 */
bool vm_page_place(struct vm_page *m, uint64_t slot);

/*
 * Undo vm_page_place, if nothing but the machine wrote to the window's frame: that is a hole
 * afterwards.  Locks: the same.
 */
void vm_page_unplace(struct vm_page *m);

/*
 * Move a busy page to (object, pindex), which must have no page, resident or
 * FREEING: the frames of the two slots change places, nothing is copied.  The
 * page is valid, unmapped, unwired and unheld.  The result is dirty and busy, on
 * the queue the page was on; not in the cache, but inactive.  Locks: O of both objects
 * held, takes Q.
 * Returns the page's new struct; the old one is FREE.
 */
struct vm_page *vm_page_rename(struct vm_page *m, struct vm_object *object, vm_pindex_t pindex)
    VM_REQUIRES(object->lock);

/* Abort if the invariants above do not hold for m.  Locks: O held. */
void vm_page_assert_state(const struct vm_page *m);

#endif
