/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file pager (the seed's vnode pager): an object over a range of a regular file.
 *
 * One file (its device and inode) has one object in a vm_system as long as somebody maps it:
 * whoever asks for it gets a reference of the same object, so that each sees what another writes.
 * (One from another offset on is another object.)  A private mapping puts a shadow in front.
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
 * Locks: N guards the table of the files that have an object.  It comes before O and X, and an
 * object is made with it held; nobody holds it for I/O.
 */
#ifndef FILE_PAGER_H
#define FILE_PAGER_H

#include "vmm/pager/page_io.h"
#include "vmm/vpagetable/vm_pager.h"

/*
 * SHARED: dirty pages go to the file, at the latest when the object dies.
 * READ_ONLY: the caller does not write, and does not map the object writable.
 * Without flags the mapping is private: the caller writes to a shadow of the object only.
 * Where one caller is SHARED and not READ_ONLY, pages of the object are written back for all.
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
 * The object over the file behind fd, from byte `offset` on (any alignment), of npages pages or
 * more; npages 0 means up to the file's end, rounded up.  It is made if the file has none; then
 * it has as many pages as the file if that is more, and the file is not very large.
 * Owns: fd stays the caller's, the object has a duplicate.
 * Locks: none held; takes N, O.  May sleep until the file's last object is gone.
 * Returns 0 and *objectp, a reference of which is the caller's; else
 *  -EINVAL     an unknown flag; npages 0 and no byte of the file at or after
 *              offset; an O_APPEND descriptor for a written object, since Linux
 *              then ignores where a write is to go
 *  -EFBIG      the file has an object, and one with fewer than npages pages
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

/*
 * The negative errno of the object's latest failed transfer, 0 if there was none;
 * -ENXIO for a page beyond the file's end.
 */
int file_pager_error(const struct vm_object *object);

#endif
