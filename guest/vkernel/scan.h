/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The page scanner: it lives off the A and M bits that vkvm sets in vptes.
 *
 * To look at a page's bits it swaps the vpte to 0, INVALs, and then reads them from
 * the old value: from then on vkvm can set none, and no write can be under way.  What stays
 * is put back with A and M clear, so that the next access of the process sets
 * them anew: vkvm resolves it, the kernel is not called.  Where A was clear
 * vkvm had nothing mapped, and no INVAL is needed.
 *
 * Only vptes have such bits: what vkvm keeps of a process forked by COPY (space.h) is not looked
 * at here, and paged out by vkvm.
 *
 * A makes a page older in the good sense (its age grows), no A lets the age fall;
 * M is noted in page->dirty.
 */
#ifndef VKERNEL_SCAN_H
#define VKERNEL_SCAN_H

#include "guest/vkernel/abi.h"
#include "guest/vkernel/space.h"

/* Look at all pages of a range, evicting none. */
void scan_range(struct space *space, uint64_t pindex, uint64_t npages, struct scan_result *result);

/*
 * Evict cold pages of the space: the clock turns until some have gone or it has been
 * all the way round often enough to be sure.  False when nothing could be evicted.
 */
bool scan_reclaim(struct space *space);

#endif
