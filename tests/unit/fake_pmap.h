/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A machine half of the pmap for unit tests: per window an array that says which
 * frame each page maps and with which protection.
 *
 * It is strict: what the pmap_ops contract promises to the machine half is
 * checked in every call, and a breach aborts the test with a message.  Guest
 * accesses and operations exclude each other, so an access sees the mapping
 * either before or after an operation, as on hardware.
 *
 *     fake_pmap_init(&fake);
 *     pmap_init(&pmap, &sys, &fake_pmap_ops, &fake);
 *     ...
 *     pmap_fini(&pmap);
 *     fake_pmap_fini(&fake);
 */
#ifndef FAKE_PMAP_H
#define FAKE_PMAP_H

#include "vmm/vpagetable/pmap.h"

struct fake_window; /* fake_pmap.c */

enum fake_operation {
    FAKE_WINDOW_CREATE,
    FAKE_WINDOW_REBASE,
    FAKE_ENTER,
    FAKE_PROMOTE
};

struct fake_pmap {
    struct vm_mutex lock; /* guards everything below */
    struct fake_window *windows;

    /* Failures to order.  Set them while no operation is under way. */
    unsigned fail_enter;    /* the n-th enter from now on fails, 1 = the next; 0 = none */
    unsigned fail_repeat;   /* ... and so do this many after it */
    unsigned fail_entered;  /* ... with this many pages of its run entered (less than the run) */
    int fail_errno;         /* ... with this negative errno */
    int fail_window_create; /* negative errno of the next window_create; 0 = none */
    int fail_window_rebase; /* negative errno of the next window_rebase; 0 = none */
    int fail_promote;       /* negative errno of the next promote; 0 = none */

    /*
     * Called at the start of every enter, remove and protect, without the fake's lock but with those
     * of the pmap: they must not use the pmap itself.  May be NULL.
     */
    void (*before_enter)(void *context, gpa_t gpa, unsigned npages);
    void *before_enter_context;
    void (*before_remove)(struct fake_pmap *fake, gpa_t gpa);
    void (*before_protect)(struct fake_pmap *fake, gpa_t gpa);
    void (*before_demote)(struct fake_pmap *fake, gpa_t gpa);

    /*
     * Asked at each operation that may fail: does it?  0 = no, else the negative errno; an
     * enter may still do the first *entered (0) pages of its run.  May be NULL.
     */
    int (*refuse)(enum fake_operation operation, unsigned npages, unsigned *entered);

    /* Counters; calls and pages. */
    unsigned windows_created;
    unsigned windows_destroyed;
    unsigned rebases;
    unsigned enters;
    unsigned entered_pages;   /* mapped, or given more protection */
    unsigned refreshed_pages; /* were mapped just so already */
    unsigned filled_pages;    /* holes that became pages of zeros */
    uint64_t copied_pages;    /* of the entered ones, with bytes that the pmap gave */
    unsigned foreign_pages;   /* of the entered ones, those whose frame is not the natural one */
    unsigned removes;
    unsigned removed_pages; /* that were mapped */
    unsigned protects;
    unsigned protected_pages; /* that were writable */
    unsigned promotes;
    unsigned promoted_holes; /* of these, such with the page behind them guarded */
    unsigned demotes;
    unsigned wakes;
    gpa_t last_wake;
};

extern const struct pmap_ops fake_pmap_ops; /* md is a struct fake_pmap * */

void fake_pmap_init(struct fake_pmap *fake);

/* All windows must have been destroyed. */
void fake_pmap_fini(struct fake_pmap *fake);

/* The next enter fails with `error` after `entered` pages of its run. */
void fake_pmap_fail_next_enter(struct fake_pmap *fake, int error, unsigned entered);

/* What the page at gpa maps; false = nothing.  frame and prot may be NULL. */
bool fake_pmap_lookup(struct fake_pmap *fake, gpa_t gpa, vm_frame_t *frame, vm_prot_t *prot);

/* How many pages are mapped in all windows. */
uint64_t fake_pmap_mapped(struct fake_pmap *fake);

/* Would a guest's access go through without a fault? */
bool fake_guest_access(struct fake_pmap *fake, gpa_t gpa, vm_prot_t access);

/*
 * A guest's aligned 64-bit load or store, through the direct map of the mapped
 * frame.  Returns false, and does nothing, where it would fault.
 */
bool fake_guest_load(struct fake_pmap *fake, gpa_t gpa, uint64_t *value);
bool fake_guest_store(struct fake_pmap *fake, gpa_t gpa, uint64_t value);

/* Is the frame a hole in the frame store? */
bool fake_frame_is_hole(const struct vm_system *sys, vm_frame_t frame);

/*
 * Abort unless the fake maps exactly what the pmap's tables say, and nothing
 * maps a frame that is a hole.  Nothing else may be running.
 */
void fake_pmap_audit(struct fake_pmap *fake);

#endif
