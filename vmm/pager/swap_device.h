/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A swap device: a file or a block device, cut into *slots* of one page.
 *
 * It knows which slots are in use and moves pages to and from them; whose page a slot
 * holds the swap pager knows (swap_pager.h).  What was in swap is meaningless when the
 * device is closed.  A page comes back only as it was written: its checksum is kept in memory
 * (swap_sums.h), and what does not agree with it cannot be read.
 *
 * Invariant: a slot is in use exactly while one page of one object has it, or one
 * thread is about to give it to one.
 *
 * Locks: the device's own for its slots and what it told; innermost, never held during I/O.
 */
#ifndef SWAP_DEVICE_H
#define SWAP_DEVICE_H

#include "vmm/pager/page_io.h"

struct swap_device; /* swap_device.c */

/* Most slots a device can have, and most that are allocated in a row. */
#define SWAP_PAGES_MAX ((uint64_t)UINT32_MAX - 1)
#define SWAP_CLUSTER 32

/* The host's side; tests replace it.  Errors are -1 and errno, as from the system calls. */
struct swap_device_io {
    page_io_call read;
    page_io_call write;
    int (*open)(const char *path, int flags, mode_t mode); /* NULL = open(2) */
};

/*
 * Open a file or block device for swapping; its contents are lost.
 * max_pages: how many pages it may take, 0 = as many as its size says.  A file that
 * does not exist is created, and one that is too short grows as it is used.
 * Owns: the caller closes the device, after the system it was attached to.
 * Returns 0 and *devicep; -ENODEV neither file nor block device; -EINVAL no page fits
 * (max_pages 0 and an empty or missing file); -ENOSPC a block device smaller than
 * max_pages; -EOVERFLOW more than SWAP_PAGES_MAX pages; -EBUSY something else uses it: the host
 * has the block device mounted or the like (it is opened exclusively), or another process, or
 * device of ours, swaps there; -ENOMEM; -errno of open.
 */
int swap_device_open(const char *path, uint64_t max_pages, struct swap_device **devicep)
    __attribute__((warn_unused_result));

/* The same with another host side, which is borrowed. */
int swap_device_open_io(const char *path, uint64_t max_pages, const struct swap_device_io *io,
                        struct swap_device **devicep) __attribute__((warn_unused_result));

/* Close it.  No object has a slot any more. */
void swap_device_close(struct swap_device *device);

/* How many slots there are, and how many are in use. */
uint64_t swap_device_pages(const struct swap_device *device);
uint64_t swap_device_used(struct swap_device *device);

/* The negative errno of the device's latest failure, 0 if there was none. */
int swap_device_error(const struct swap_device *device);

/*
 * Have `lost` called with a line, without its end, that names the device, the offset and the
 * cause, when a page that is needed cannot be read.  Not twice in a row for one offset and
 * cause, and SWAP_LOSSES_TOLD times at most.  From any thread, without locks; before the first page
 * is written.
 */
#define SWAP_LOSSES_TOLD 8
void swap_device_on_loss(struct swap_device *device, void (*lost)(void *context, const char *line),
                         void *context);

/* --- For the swap pager -------------------------------------------------- */

/* Is more than an eighth of the slots free? */
bool swap_device_is_roomy(struct swap_device *device);

/*
 * Is this, PAGE_SIZE bytes, the page that was written to the slot?  By its checksum, without I/O.
 * Locks: none of the device's; the slot is the caller's page's, which is busy.
 */
bool swap_device_has(const struct swap_device *device, uint64_t slot, const void *page);

/* Take up to n slots in a row.  Returns how many, and *slot the first; 0 = there is none; -ENOMEM. */
int swap_slots_alloc(struct swap_device *device, unsigned n, uint64_t *slot);

/* Give a slot back. */
void swap_slot_free(struct swap_device *device, uint64_t slot);

/* Note a failure that was not the device's I/O: swap_device_error tells it. */
void swap_device_note(struct swap_device *device, int error);

/*
 * Read or write `count` busy pages, SWAP_CLUSTER + 1 at most, from or to slots in a row.  A page
 * that cannot be moved is stepped over and noted.  Locks: none held.
 * needed: the page that somebody waits for, and is told about if it is lost; `count` = none.
 * Returns nothing but done[i]: was page i moved?  The error that is noted for reads is an errno
 * of the host, or -ENODATA: the file ends before the page, or -EBADMSG: that is not what was
 * written.
 */
void swap_device_read(struct swap_device *device, struct vm_page **m, unsigned count, uint64_t slot,
                      unsigned needed, bool *done);
/*
 * Copy a slot's page into `page`; nothing is noted or told.  Returns 0; -EBADMSG: not what was
 * written, or not any more; -ENODATA; -errno of the read.
 */
int swap_device_peek(struct swap_device *device, uint64_t slot, void *page)
    __attribute__((warn_unused_result));
void swap_device_write(struct swap_device *device, struct vm_page **m, unsigned count,
                       uint64_t slot, bool *done);

#endif
