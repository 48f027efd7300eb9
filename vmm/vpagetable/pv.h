/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reverse links: for a page, every place that maps it.  Part of the pmap.
 *
 * A place packs a pmap's id and a guest page number into a word that is never 0.
 * A guest may map one page at any number of places, so a page's links are in
 * order of place and none is searched for one by one.  Two need no memory.
 *
 * Locks: V, of the page's part (sys->pv_part).  That a link and its pte come and go together is
 * the caller's business (invariant 1 of pmap.h).
 */
#ifndef PV_H
#define PV_H

#include "vmm/vpagetable/pmap.h"

#define PV_PAGE_BITS 48

_Static_assert(PMAP_GPA_END >> PAGE_SHIFT == (uint64_t)1 << PV_PAGE_BITS, "a place fits a link");
_Static_assert(VM_MAX_PMAPS < 1 << (64 - PV_PAGE_BITS), "a pmap's id fits a link");

static inline uint64_t
pv_where(const struct pmap *pmap, uint64_t page)
{
    return (uint64_t)pmap->id << PV_PAGE_BITS | page;
}

static inline struct pmap *
pv_where_pmap(struct vm_system *sys, uint64_t where) VM_REQUIRES_SHARED(sys->pmaps_lock)
{
    return sys->pmaps[(where >> PV_PAGE_BITS) - 1];
}

static inline uint64_t
pv_where_page(uint64_t where)
{
    return where & (((uint64_t)1 << PV_PAGE_BITS) - 1);
}

/* Has the page no link at all?  For who knows that nobody changes its links. */
static inline bool
pv_none(const struct vm_page *m)
{
    return m->pv.first == 0 && m->pv.rest == 0;
}

/*
 * Hold V of the page's part, and no longer that of `held`, which is NULL or what this returned for
 * the page before.  Returns the part.
 */
struct pv_part *pv_hold(struct vm_system *sys, struct pv_part *held, const struct vm_page *m)
    __attribute__((warn_unused_result));

/* The last one of such a row; NULL: there was no page. */
void pv_let_go(struct pv_part *held);

/* Add a link the page does not have.  Locks: V held.  Returns false when there is no memory. */
bool pv_link(struct pv_part *held, struct vm_page *m, uint64_t where)
    __attribute__((warn_unused_result));

/* Take a link away that the page has.  Locks: V held. */
void pv_unlink(struct pv_part *held, struct vm_page *m, uint64_t where);

/* How many links all pages have.  Exact while nobody changes them.  Locks: takes V. */
uint64_t pv_count(struct vm_system *sys);

/*
 * Make a link of `from` one of `to`; needs no memory.  `to` has only links that
 * came from `from` this way.  Locks: takes V of both.
 */
void pv_move(struct vm_system *sys, struct vm_page *from, struct vm_page *to, uint64_t where);

/* The page's first link after `where`, 0 = none; 0 is before all links.  Locks: takes V. */
uint64_t pv_next(struct vm_system *sys, const struct vm_page *m, uint64_t where);

/* Does the page have this link?  Locks: takes V. */
bool pv_has(struct vm_system *sys, const struct vm_page *m, uint64_t where);

#endif
