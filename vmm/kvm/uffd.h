/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * userfaultfd's range operations with all their odd answers taken care of:
 * partial counts, EAGAIN, pages that are already there, frames that are or are
 * not filled, ranges that cross VMAs (fact 4 of docs/hosts.md).
 *
 * Addresses are host addresses of windows; the ranges lie in registered
 * mappings of shared memory.  Nothing here takes a lock.
 */
#ifndef UFFD_H
#define UFFD_H

#include <stdbool.h>
#include <stdint.h>

/* Most pages of one uffd_enter. */
#define UFFD_RUN_MAX 512

struct uffd {
    int fd;           /* borrowed: non-blocking, UFFDIO_API done */
    bool continue_wp; /* CONTINUE can install write-protected */
    _Atomic uint64_t
        *continued;    /* borrowed: pages so installed are counted there; NULL = nowhere */
    const void *zeros; /* (c) owned: UFFD_RUN_MAX pages of zeros */
    int (*ioctl)(int fd, unsigned long request, void *argument); /* replaced by tests */
};

/* How uffd_enter enters. */
#define UFFD_FILL 0x1u  /* the frames are holes: make them pages of zeros */
#define UFFD_WRITE 0x2u /* writable; otherwise write-protected */
#define UFFD_QUIET 0x4u /* do not wake */

/* Returns 0 or -ENOMEM. */
int uffd_init(struct uffd *u, int fd, bool continue_wp) __attribute__((warn_unused_result));
void uffd_fini(struct uffd *u);

/* Report missing pages, unmapped filled pages and write-protected pages of the range.
 * Returns 0 or -errno. */
int uffd_register(const struct uffd *u, void *start, uint64_t npages)
    __attribute__((warn_unused_result));

/*
 * Install npages page table entries and wake their waiters, atomically for each
 * page: no moment in which a page that is to be write-protected can be written.
 * A frame that turns out filled (or, without FILL, to be a hole) is entered all
 * the same.  A page that is there already gets its protection set.
 * *done: how many pages from the first on are installed and, unless QUIET, woken.
 * Returns 0 when all are; -EOPNOTSUPP when the next one is filled, to be
 * protected, and continue_wp is false; -ENOENT when its address is in no
 * registered mapping; -EAGAIN when the kernel says so without end; -ENOMEM, -ESRCH ...
 */
int uffd_enter(const struct uffd *u, void *start, unsigned npages, unsigned how, unsigned *done)
    __attribute__((warn_unused_result));

/*
 * The same for holes that are to have the given bytes, each in one go: UFFD_FILL is implied.  A frame
 * that turns out filled is -EEXIST, and not touched: bytes of nobody knows whom.
 */
int uffd_copy(const struct uffd *u, void *start, const void *content, unsigned npages, unsigned how,
              unsigned *done) __attribute__((warn_unused_result));

/* Write-protect what is there, and what is entered by a kernel fault later.
 * Addresses in no registered mapping are passed over.  Returns 0 or -errno. */
int uffd_protect(const struct uffd *u, void *start, uint64_t npages)
    __attribute__((warn_unused_result));

/* Wake whoever waits for the range.  Returns 0 or -errno. */
int uffd_wake(const struct uffd *u, void *start, uint64_t npages);

#endif
