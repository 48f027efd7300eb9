/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Moving a run of pages between the direct map and consecutive bytes of a file.
 *
 * A partial transfer is gone on with; a page that fails is stepped over, so that a bad
 * neighbour does not fail the others.  Pages whose frames are neighbours share an iovec.
 */
#ifndef PAGE_IO_H
#define PAGE_IO_H

#include "vmm/vpagetable/vm_page.h"

#include <sys/types.h>
#include <sys/uio.h>

/* preadv or pwritev, or what a test has instead: -1 and errno. */
typedef ssize_t (*page_io_call)(int fd, const struct iovec *iov, int count, off_t offset);

struct page_io {
    page_io_call call;
    int fd;             /* borrowed */
    struct vm_page **m; /* borrowed: busy */
    bool *done;         /* borrowed: per page; page_io_run clears that of each page that fails */
    uint64_t start;     /* byte of the file where m[0] begins */
    uint64_t size;      /* bytes to move */
    int end;   /* 0 bytes moved: that negative errno; 0 = the file ends there, size shrinks */
    int error; /* negative errno of the last page that failed; else as it was */
    int *why;  /* borrowed: per page, set for each that fails; NULL = nobody asks */
};

/*
 * Read up to a page from byte `start` of the file into `page`, which is no page of the engine's.
 * Locks: none held; sleeps.  Returns how many bytes there were, or -errno.
 */
int page_io_peek(page_io_call call, int fd, uint64_t start, void *page)
    __attribute__((warn_unused_result));

/* Locks: none held; sleeps. */
void page_io_run(struct page_io *io);

#endif
