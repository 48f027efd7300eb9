/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The checksums of what is in swap: 128 bits for each slot in use, in memory, so that a swap
 * file which was truncated, overwritten or has rotted is noticed when a page comes back; and that a
 * page which may have been written to unseen is compared without being read.
 *
 * They lie in chunks, and a chunk exists while one of its slots is in use: the memory follows what
 * is in swap and not the size of the device.
 *
 * Locks: those functions that say so are called with the device's lock held.  The sum of a slot
 * in use belongs to whoever the slot belongs to, and its chunk stays where it is.
 *
 * Source: XXH3, 128 bits, of libxxhash; against accidents, not against somebody who computes a
 * page with the same sum: a guest that does has the older of two pages, both of which it wrote.
 */
#ifndef SWAP_SUMS_H
#define SWAP_SUMS_H

#include "vmm/vpagetable/vm_types.h"

struct swap_sums; /* swap_sums.c */

/* Sums for a device of nslots slots, none of them in use.  NULL: no memory. */
struct swap_sums *swap_sums_create(uint64_t nslots);

/* No slot is in use any more. */
void swap_sums_destroy(struct swap_sums *sums);

/*
 * The slot is in use from now on; its sum is to be set.  Locks: the device's.
 * Returns false when there is no memory: it is not.
 */
bool swap_sums_use(struct swap_sums *sums, uint64_t slot) __attribute__((warn_unused_result));

/* The slot is free again.  Locks: the device's. */
void swap_sums_free(struct swap_sums *sums, uint64_t slot);

/* Remember the page, of PAGE_SIZE bytes, that is written to the slot. */
void swap_sums_set(struct swap_sums *sums, uint64_t slot, const void *page);

/* Is this what was written to the slot? */
bool swap_sums_match(const struct swap_sums *sums, uint64_t slot, const void *page);

#endif
