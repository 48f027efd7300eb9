/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Trapped pages: guest pages that somebody, a debugger, wants to hear of before they are touched.
 *
 * A trap is a page that is not mapped: the first touch faults, and who enters the page tells.  Then the
 * page is mapped, until the traps are closed again.
 */
#ifndef PMAP_TRAP_H
#define PMAP_TRAP_H

#include "vmm/vpagetable/pmap.h"

/*
 * From now on these are the trapped pages, instead of those before.  `touched` is called by whoever is
 * about to enter one because it is touched, with W and P held: it may take what is innermost only.
 * Mappings that are there stay.  The function and its context are the same at each call with
 * npages != 0; npages is PMAP_TRAPS_MAX at most.
 */
void pmap_trap_set(struct pmap *pmap, const uint64_t *pages, unsigned npages,
                   void (*touched)(void *context, uint64_t page), void *context);

/* Drop the mappings of the trapped pages: the next touch of each is told.  Locks: as pmap_remove. */
void pmap_trap_close(struct pmap *pmap);

/*
 * By pmap_enter, P held: a page is about to be entered.  Returns whether it must not be: it is trapped,
 * and not the demanded one.
 */
bool pmap_trap_spring(const struct pmap *pmap, uint64_t page, bool demanded);

#endif
