/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The swap pager: where the pages of zero-fill objects go when memory gets short.
 *
 * A swap device is a file or a block device, cut into *slots* of one page.  An object
 * becomes OBJT_SWAP with its first page-out (vm_pager_adopt_swap) and then knows a slot
 * for each of its pages that is in swap.  Slots are allocated when pages are written,
 * next to each other for pages written together, so that they are read together later.
 *
 * A resident page may have a slot too: as long as the page is clean the slot holds the
 * same bytes.  When the page is about to change the slot is freed (vm_pager_unswapped);
 * should it not be, nothing is lost: a resident page comes before its slot, and the
 * next page-out gives it another.  What was in swap is meaningless when the device is
 * closed.
 *
 * Results: putpages VM_PAGER_FAIL: no slot left; VM_PAGER_ERROR: the device or memory
 * failed, see swap_device_error.  Pages that could not be written have no slot and are
 * still dirty.  getpages VM_PAGER_FAIL: the page has no slot; VM_PAGER_ERROR: it has,
 * and could not be read (a device that ends early too: what was there is lost, and
 * must not come back as zeros); its slot is kept.
 *
 * Locks: the device's own for its slots, each object's for its index.  Both are
 * innermost: taken with O held or without, index before device, never during I/O.
 */
#ifndef SWAP_PAGER_H
#define SWAP_PAGER_H

#include "vmm/vpagetable/vm_pager.h"

#include <sys/types.h>
#include <sys/uio.h>

struct swap_device;

/* Most slots a device can have, and most pages before or after that haspage offers. */
#define SWAP_PAGES_MAX ((uint64_t)UINT32_MAX - 1)
#define SWAP_CLUSTER 32

/* The host's side; tests replace it.  Errors are -1 and errno, as from the system calls. */
struct swap_device_io {
    ssize_t (*read)(int fd, const struct iovec *iov, int count, off_t offset);
    ssize_t (*write)(int fd, const struct iovec *iov, int count, off_t offset);
};

/*
 * Open a file or block device for swapping; its contents are lost.
 * max_pages: how many pages it may take, 0 = as many as its size says.  A file that
 * does not exist is created, and one that is too short grows as it is used.
 * Owns: the caller closes the device, after the system it was attached to.
 * Returns 0 and *devicep; -ENODEV neither file nor block device; -EINVAL no page fits
 * (max_pages 0 and an empty or missing file); -ENOSPC a block device smaller than
 * max_pages; -EOVERFLOW more than SWAP_PAGES_MAX pages; -EBUSY another process, or
 * device, swaps there; -ENOMEM; -errno of open.
 */
int swap_device_open(const char *path, uint64_t max_pages, struct swap_device **devicep)
    __attribute__((warn_unused_result));

/* The same with another host side, which is borrowed. */
int swap_device_open_io(const char *path, uint64_t max_pages, const struct swap_device_io *io,
                        struct swap_device **devicep) __attribute__((warn_unused_result));

/* Close it.  No object has a slot any more. */
void swap_device_close(struct swap_device *device);

/* Let the system page out to the device; before its first fault, once. */
void swap_device_attach(struct swap_device *device, struct vm_system *sys);

/* How many slots there are, and how many are in use. */
uint64_t swap_device_pages(const struct swap_device *device);
uint64_t swap_device_used(struct swap_device *device);

/* The negative errno of the device's latest failure, 0 if there was none. */
int swap_device_error(const struct swap_device *device);

/* How many slots the object has.  Locks: takes O. */
uint64_t swap_pager_count(struct vm_object *object);

#endif
