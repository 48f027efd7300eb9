/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Read-ahead: which pages are read along with the one a fault needs, which are read
 * before anybody needs them, and what becomes of those that a stream left behind.
 *
 * A stream in normal advice, over a file of which nothing is resident, as far as
 * prefault (vm_prefault.h) lets it be seen:
 *
 *     touch 0    reads 0-8, maps 0-4          mark on 5: the first page left unmapped
 *     touch 5    the mark: maps 5-8, then reads 9-40, mark on 9
 *     touch 9    the mark: maps 9-18, then reads 41-72, mark on 41 ...
 *
 * A mark (VM_PAGE_RAM) says: who comes here is a stream, read what follows.  The
 * page with the mark is mapped and its waiter woken first; then the thread that
 * served the fault reads on, so that the guest does not wait for what it does not
 * need yet.  (The seed leaves the same to an asynchronous pager; a thread of the
 * engine's own would be one more to place, for no gain: the thread has just become
 * idle.)  A stream whose mark was mapped along unseen is found again by the next
 * page that must be read: the pages directly before it are resident.
 *
 * What it costs others: the thread serves no further fault until the read is done.  A
 * fault ends with one such read at most, which is one call of the pager for at most
 * VM_READAHEAD_MAX pages with consecutive indexes (384 KiB); so no vCPU waits for more
 * than that and the one page that the fault itself needed, read in at most as many.
 *
 * Nothing here may fail a fault: a neighbour that cannot be had is left out.
 *
 * Source: DragonFly vm_fault_object, vm_fault_additional_pages.
 */
#ifndef VM_READAHEAD_H
#define VM_READAHEAD_H

#include "vmm/vpagetable/vm_map.h"
#include "vmm/vpagetable/vm_pager.h"

#define VM_READAHEAD_BEHIND 7      /* read along before a page, normal advice */
#define VM_READAHEAD_AHEAD 8       /* and after it, where no stream is seen */
#define VM_READAHEAD_RUNS 8        /* I/Os at most of one read of a stream */
#define VM_READAHEAD_NORMAL 32     /* cluster of a stream that was noticed */
#define VM_READAHEAD_SEQUENTIAL 64 /* and of one that was promised */
/* Most pages of one read: what is left of a cluster may be joined to the next one. */
#define VM_READAHEAD_MAX (VM_READAHEAD_SEQUENTIAL + VM_READAHEAD_SEQUENTIAL / 2)

/* Pages that a stream gives up, and how far behind they end. */
#define VM_DEACTIVATE_BEHIND 16

/* The pages of one read, busy and not valid, with consecutive indexes. */
struct vm_readahead {
    struct vm_object *object; /* borrowed; paging_in_progress counted */
    unsigned count;
    unsigned reqpage; /* the page that is needed; of a read-ahead the first one */
    unsigned mark;    /* the page that gets the mark; `count` or more = none */
    struct vm_page *m[VM_READAHEAD_MAX];
};

/*
 * Collect the pages around `m`, a new busy page that is needed: as far as the pager
 * reads them in the same I/O, for a stream in a few of them (VM_READAHEAD_RUNS), to the next resident
 * page, the end of the object, and while memory is not short.  Random advice reads the page alone.
 * Locks: O held.  The caller counted paging_in_progress.
 */
void vm_fault_additional_pages(struct vm_readahead *ra, struct vm_object *object, struct vm_page *m,
                               enum vm_map_advice advice) VM_REQUIRES(object->lock);

/*
 * Collect the cluster that follows a marked page: it starts at the first page after
 * pindex that is not resident, if that is near.  Counts paging_in_progress.
 * Locks: O held.
 * Returns false if there is nothing to read: nothing was done.
 */
bool vm_readahead_next(struct vm_readahead *ra, struct vm_object *object, vm_pindex_t pindex,
                       enum vm_map_advice advice) VM_REQUIRES(object->lock);

/*
 * Read what was collected: pages that were read become valid and inactive, the
 * others are freed; whoever waited for one looks again.  Ends paging_in_progress.
 * `hold`: hold the needed page, if it was read.  Counts in `meter`, of the VM it is read for.
 * Locks: none held; takes O, sleeps.
 * Returns VM_OK, or why the needed page was not read: VM_IO_ERROR, VM_BEYOND_OBJECT.
 */
enum vm_result vm_readahead_read(struct vm_readahead *ra, struct vm_map_meter *meter, bool hold);

/*
 * A stream has come to page pindex: let go of the VM_DEACTIVATE_BEHIND pages that
 * end so many pages before it, from the last one down to the first that is not
 * resident.  All are unmapped; dirty ones become inactive, clean ones of a pager go to
 * the cache; those that are busy, held or wired are skipped.
 * Locks: none held; takes O, does not sleep.
 */
void vm_deactivate_behind(struct vm_object *object, vm_pindex_t pindex);

#endif
