/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pager interface: where an object's pages come from and go to.
 *
 * Pagers run without engine locks (but see haspage); the pages they are given are busy.  Whoever
 * calls a pager counts v_pagein and v_pageout.
 */
#ifndef VM_PAGER_H
#define VM_PAGER_H

#include "vmm/vpagetable/vm_page.h"

/* The seed's results. */
enum vm_pager_result {
    VM_PAGER_OK,   /* done */
    VM_PAGER_FAIL, /* the pager has no such page: look further down the chain */
    VM_PAGER_BAD,  /* outside what the pager can ever hold */
    VM_PAGER_ERROR /* I/O error; vm_pager_error says which */
};

struct vm_pager_ops {
    const char *name;

    /*
     * Does the pager hold the page?  before/after (may be NULL) receive how
     * many pages directly before and after it could be read in the same I/O.
     * Called with O held while the page is not resident or is busy with the
     * caller, so that the answer stays true: it takes no engine lock and does no I/O.
     */
    bool (*haspage)(struct vm_object *object, vm_pindex_t pindex, unsigned *before,
                    unsigned *after);

    /*
     * Read `count` busy pages with consecutive indexes; m[reqpage] is the one
     * that is needed.  Fills the frames through the direct map (vm_page_address),
     * clears VM_PAGE_ZERO of each frame it touches, zeroes what a short read
     * leaves, and says for which pages it succeeded in done[0..count).  Returns
     * the result for m[reqpage].  Changes no other page state: the caller makes
     * the pages valid.
     */
    enum vm_pager_result (*getpages)(struct vm_object *object, struct vm_page **m, unsigned count,
                                     unsigned reqpage, bool *done);

    /*
     * Copy the page, which the pager held a moment ago, into `page` (PAGE_SIZE bytes), and leave
     * everything as it is.  Called without O, with paging in progress.  Returns VM_PAGER_FAIL: it
     * was moved or given up meanwhile, look again.  NULL in pagers that never hold a page.
     */
    enum vm_pager_result (*peek)(struct vm_object *object, vm_pindex_t pindex, void *page);

    /*
     * Write `count` busy, valid, unheld pages with consecutive indexes, which no
     * mapping allows to be written; done[] as above.  Clears dirty of the pages
     * written; a page whose write failed stays dirty.
     * Returns VM_PAGER_OK when all were written, else the first failure.
     */
    enum vm_pager_result (*putpages)(struct vm_object *object, struct vm_page **m, unsigned count,
                                     bool *done);

    /* The negative errno of the latest failure where the object's pages are kept, 0 if there
     * was none.  Takes no lock.  NULL in pagers without I/O. */
    int (*error)(const struct vm_object *object);

    /* The object is going away: free its handle.  May be NULL. */
    void (*dealloc)(struct vm_object *object);

    /*
     * The swap pager's only, NULL in others; called by the functions below.  All
     * with O held (move: of both objects); no I/O.
     */
    int (*adopt)(struct vm_object *object);
    void (*freespace)(struct vm_object *object, vm_pindex_t pindex, uint64_t npages);
    int (*move)(struct vm_object *from, struct vm_object *to, vm_pindex_t offset);

    /*
     * The swap pager's only too.  keeps, with O held: is there room enough for the copies of
     * pages that may be out of date?  same: is this the page that swap has at pindex?  Called
     * while that page is busy with the caller, who need not hold O; no I/O.
     */
    bool (*keeps)(const struct vm_object *object);
    bool (*same)(struct vm_object *object, vm_pindex_t pindex, const void *page);
};

/* Zero-fill: has no page, never reads or writes. */
extern const struct vm_pager_ops vm_default_pager;

/* The pager's error(); 0 where it has none. */
int vm_pager_error(const struct vm_object *object);

/*
 * Make a DEFAULT object a SWAP object, before its first page-out.
 * Locks: O held.  Returns 0, also if it is one already; -ENODEV when the system has
 * no swap or the object is of another type; -ENOMEM.
 */
int vm_pager_adopt_swap(struct vm_object *object) VM_REQUIRES(object->lock)
    __attribute__((warn_unused_result));

/*
 * May a page of the object be mapped writable before it is written to, to be compared with its
 * copy later (same)?  Not when swap gets full: then the copies are given up.  Locks: O held.
 */
bool vm_pager_compares(const struct vm_object *object) VM_REQUIRES(object->lock);

/*
 * The pages' copies in swap are out of date, or the pages are gone for good: free
 * their swap space.  Does nothing for objects that are not SWAP.  Locks: O held.
 * Source: DragonFly swap_pager_unswapped, swap_pager_freespace.
 */
void vm_pager_unswapped(struct vm_object *object, vm_pindex_t pindex) VM_REQUIRES(object->lock);
void vm_pager_freespace(struct vm_object *object, vm_pindex_t pindex, uint64_t npages)
    VM_REQUIRES(object->lock);

/*
 * Collapse: `to`, DEFAULT or SWAP, takes over what its backing object `from` has in
 * swap; page p of `from` becomes page p - offset of `to`.  Pages that `to` has itself,
 * resident or in swap, and those outside of it, lose their swap space.
 * Locks: O of both held.
 * Returns 0, and `from` has nothing in swap any more; -ENOMEM: a part moved, each page
 * is found in one of the two.
 * Source: DragonFly swap_pager_copy.
 */
int vm_pager_move_swap(struct vm_object *from, struct vm_object *to, vm_pindex_t offset)
    VM_REQUIRES(from->lock, to->lock) __attribute__((warn_unused_result));

#endif
