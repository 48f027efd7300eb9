/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An audit of a whole engine at rest: every structure against every other.
 *
 *  entries    lie in windows; each page of a wired one is in its object and wired once
 *             per entry
 *  objects    references = entries + shadows + the test's; links both ways; disjoint
 *             extents; nothing in progress
 *  pages      page structs against the resident bitmaps; none busy, wanted, held, being
 *             freed or not valid; each on the queue it names, wired ones on none
 *  frames     a permutation of the slots; a slot without a page is all zeros
 *  mappings   forward tables against reverse links; an address maps the page that
 *             shows there, writable only as entry, chain and M allow; a page that is
 *             mapped writable is dirty, one in the cache is not mapped
 *  swap       the slots in use are those that objects know
 *  budget     resident and wired pages are as many as counted, and no more than allowed
 *  counters   faults and their kinds add up
 *  locks      nobody has one
 *
 * Nothing else may be running.  A broken invariant is named on stderr, and the test aborts.
 */
#ifndef AUDIT_H
#define AUDIT_H

#include "vmm/vpagetable/vm_map.h"

struct audit {
    struct vm_system *sys;
    struct vm_map *const *maps; /* all of the system's */
    unsigned nmaps;
    struct vm_object *const *objects; /* once for each reference of the test's own */
    unsigned nobjects;
    uint64_t swap_slots; /* that the test has taken itself */
    bool frames;         /* also ask the host that frames of slots without a page are holes: slow */
};

void audit_engine(const struct audit *audit);

#endif
