/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which of many disjoint ranges is a page in?  A sorted array of their ends, and a table
 * of hints, so that a search costs the same however many ranges there are: windows of a
 * pmap, entries of a map.
 *
 * A hint is where the last search for pages nearby ended, and only says where the next one
 * begins: from any beginning it finds the same.  So nothing keeps hints up to date when
 * ranges come and go, and they may be read and written while others do.
 *
 * Locks: the owner's: shared to search, exclusive to change.
 */
#ifndef VM_RANGES_H
#define VM_RANGES_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Only the owner knows where it begins: not before the end of the range before. */
struct vm_range {
    uint64_t end; /* page number of the first page after it */
    void *owner;  /* borrowed */
};

/* All zero = empty. */
struct vm_ranges {
    struct vm_range *ranges; /* owned: n of `capacity`, by end */
    unsigned n;
    unsigned reserved;       /* so many inserts more are promised to succeed */
    unsigned capacity;       /* 0, or a power of two; there are as many hints */
    unsigned shift;          /* 64 - log2 of capacity */
    _Atomic unsigned *hints; /* (a) owned: indexes in ranges, right or not, by hash of the page */
};

/* Index of the first range that ends after the page; n = none does. */
unsigned vm_ranges_search(const struct vm_ranges *r, uint64_t page);

/* The owner of that range, or NULL. */
static inline void *
vm_ranges_after(const struct vm_ranges *r, uint64_t page)
{
    unsigned i = vm_ranges_search(r, page);

    return i < r->n ? r->ranges[i].owner : NULL;
}

/* See that one vm_ranges_insert more cannot fail.  Returns 0 or -ENOMEM. */
int vm_ranges_reserve(struct vm_ranges *r) __attribute__((warn_unused_result));

/* The insert will not come. */
void vm_ranges_unreserve(struct vm_ranges *r);

/* Add a range before index i, for which there is a reservation. */
void vm_ranges_insert(struct vm_ranges *r, unsigned i, uint64_t end, void *owner);

void vm_ranges_remove(struct vm_ranges *r, unsigned i);

/* Free what an array without ranges has. */
void vm_ranges_fini(struct vm_ranges *r);

#endif
