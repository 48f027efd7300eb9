/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file pager (the seed's vnode pager): an object over a range of a regular file.
 *
 * Page `pindex` is the bytes of the file from offset + pindex * PAGE_SIZE on.
 * The last page may be short: the rest of it reads as zeros and is never
 * written.  The file may be truncated or grow while it is in use; its size is
 * asked for at each transfer.  A page wholly beyond the end cannot be read, which the
 * guest sees as VM_IO_ERROR, as a process that maps a file sees SIGBUS; it is not
 * written back either, so the file never grows, and stays dirty.  A page that was
 * read before the file was truncated lives on until it is paged out.  After a failed
 * transfer of several pages the others are still tried, so that a bad neighbour does
 * not fail the page that is needed.
 *
 * Locks: none of its own; `error` is atomic, all else is constant.
 */
#ifndef FILE_PAGER_H
#define FILE_PAGER_H

#include "vmm/pager/page_io.h"
#include "vmm/vpagetable/vm_pager.h"

/*
 * Without flags the object is private: its dirty pages are never written back.
 * SHARED: they go to the file, at the latest when the object dies.
 * READ_ONLY: nothing is written, and the object is not to be mapped writable.
 */
#define FILE_PAGER_SHARED 0x1u
#define FILE_PAGER_READ_ONLY 0x2u

/* Most pages before, and most pages after, that haspage offers for the same I/O. */
#define FILE_PAGER_CLUSTER 128

/* The host's side; tests replace it.  Errors are -1 and errno, as from the system calls. */
struct file_pager_io {
    page_io_call read;
    page_io_call write;
    off_t (*size)(int fd);
};

/*
 * Make an object of npages pages over the file behind fd, from byte `offset` on
 * (any alignment); npages 0 means up to the file's end, rounded up.
 * Owns: fd stays the caller's, the object has a duplicate.
 * Returns 0 and *objectp, whose one reference is the caller's; else
 *  -EINVAL     an unknown flag; npages 0 and no byte of the file at or after
 *              offset; an O_APPEND descriptor for a written object, since Linux
 *              then ignores where a write is to go
 *  -EOVERFLOW  the range ends beyond the largest file offset
 *  -EBADF      fd is not open, or is O_PATH
 *  -EACCES     fd is not open for reading; SHARED without READ_ONLY: nor for writing
 *  -ENODEV     not a regular file
 *  -EMFILE     no file descriptor left
 *  -ENOSPC, -ENOMEM  as vm_object_create
 */
int file_pager_create(struct vm_system *sys, int fd, uint64_t offset, uint64_t npages,
                      unsigned flags, struct vm_object **objectp)
    __attribute__((warn_unused_result));

/*
 * file_pager_create for a path, opened for what the flags need.
 * Returns also -errno of open: -ENOENT, -EACCES, ...
 */
int file_pager_open(struct vm_system *sys, const char *path, uint64_t offset, uint64_t npages,
                    unsigned flags, struct vm_object **objectp) __attribute__((warn_unused_result));

/* file_pager_create with another host side, which is borrowed. */
int file_pager_create_io(struct vm_system *sys, int fd, uint64_t offset, uint64_t npages,
                         unsigned flags, const struct file_pager_io *io, struct vm_object **objectp)
    __attribute__((warn_unused_result));

/* What a mapping of the object may allow at most. */
vm_prot_t file_pager_max_protection(const struct vm_object *object);

/*
 * The negative errno of the object's latest failed transfer, 0 if there was none;
 * -ENXIO for a page beyond the file's end.
 */
int file_pager_error(const struct vm_object *object);

#endif
