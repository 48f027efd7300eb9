/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that the guest says it does not use: free page reporting.
 *
 * A page that is discarded is as one that was never touched: no frame, no mapping, nothing of it in
 * swap; the next touch finds zeros.  The guest may be wrong, or lie, and go on using the page: it
 * finds either what was there or zeros, and nobody else finds anything else than before.
 */
#ifndef VM_DISCARD_H
#define VM_DISCARD_H

#include "vmm/vpagetable/vm_map.h"

/*
 * Discard what can be of the pages in [start, end), any addresses; a page that is there in part only
 * stays.  Left alone are also: what is no NORMAL entry that can be written; an entry that must be
 * copied before that; an object with a pager's copy that outlives it, a backing
 * object or shadows, where a page that goes would show another or be missed by others; a page that
 * is busy, held or wired.
 * Locks: none held; takes M shared, for a portion at a time, and O; waits for no page and no I/O.
 * *map->stop ends it between portions.
 * Returns how many pages were resident until now.  Counts v_reported (whole pages of the range) and
 * v_discarded (those that it returns).
 */
uint64_t vm_discard(struct vm_map *map, gpa_t start, gpa_t end);

#endif
