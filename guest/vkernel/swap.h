/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The swap area: slots of one page each, for pages that vptes arrange.  Here it is RAM of its
 * own; nothing but swap.c knows that.
 *
 * A swapped page leaves its slot number in the vpte (V clear: vkvm does not look at the
 * rest).  Such a vpte is a reference of the slot.  A slot is free when it has no
 * reference and no page belongs to it (page.h).
 */
#ifndef VKERNEL_SWAP_H
#define VKERNEL_SWAP_H

#include "guest/include/vkvm_abi.h"

#include <stdbool.h>
#include <stdint.h>

#define SWAP_VPTE 0x100u /* in a vpte without V: the frame field is a slot number */

/* Make an area of nslots. */
void swap_init(uint32_t nslots);

/*
 * Make a slot hold what the page holds, copying only if it does not yet.  Nobody
 * may be able to write to the page.  Returns the slot, or 0 when the area is full.
 */
uint32_t swap_out(uint64_t gpa);

/*
 * A page with the slot's contents: the one that belongs to it, or a new one; with a
 * reference for the caller.  The slot keeps its references.  0 when RAM is out.
 */
uint64_t swap_in(uint32_t slot);

/* References of vptes. */
void swap_ref(uint32_t slot);
void swap_unref(uint32_t slot);
uint32_t swap_refs(uint32_t slot);

/* The page that belonged to the slot is gone. */
void swap_forget_page(uint32_t slot);

/* Slots not free. */
uint32_t swap_in_use(void);

static inline bool
swap_is_vpte(uint64_t vpte)
{
    return (vpte & (VKVM_VPTE_V | SWAP_VPTE)) == SWAP_VPTE;
}

static inline uint64_t
swap_vpte(uint32_t slot)
{
    return (uint64_t)slot << 12 | SWAP_VPTE;
}

static inline uint32_t
swap_slot(uint64_t vpte)
{
    return (uint32_t)(vpte >> 12);
}

#endif
