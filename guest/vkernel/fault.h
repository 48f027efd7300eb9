/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The faults of processes: what vkvm could not resolve from the vptes.
 *
 *     the vpte     the region    read                     write
 *     0            TEXT          the image's page         killed
 *     0            DATA          the image's page         a copy of it
 *     0            ZERO          a page of zeros          the same
 *     0            SHARED        the object's page        the same
 *     0            PRIVATE       the object's page        a copy of it
 *     swapped      any           the page, from swap      the same, or a copy if the
 *                                                         swap slot has other users
 *     V, not W     DATA, ZERO,   (allowed)                W is added if the page has become
 *                  PRIVATE                                exclusive, else a copy of it
 *     V, W         any           (allowed: another vCPU was scanning just then)
 */
#ifndef VKERNEL_FAULT_H
#define VKERNEL_FAULT_H

#include "guest/vkernel/space.h"

/*
 * Make the vpte of pindex allow the access, evicting other pages when the quota or RAM
 * demands it.  False: no region allows it, or there is no memory: the process must die.
 */
bool fault_resolve(struct space *space, uint64_t pindex, bool write);

#endif
