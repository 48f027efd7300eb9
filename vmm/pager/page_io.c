/* SPDX-License-Identifier: BSD-2-Clause */
/* See page_io.h. */
#include "vmm/pager/page_io.h"

#include <errno.h>

#define IOV_BATCH 32

/* The memory from byte `at` on, as far as iov reaches.  Returns the entries used. */
static int
collect(const struct page_io *io, uint64_t at, struct iovec *iov)
{
    int count = 0;

    while (at < io->size) {
        uint64_t skip = at & PAGE_MASK;
        uint64_t length = PAGE_SIZE - skip;
        uint8_t *base = (uint8_t *)vm_page_address(io->m[at >> PAGE_SHIFT]) + skip;

        if (length > io->size - at)
            length = io->size - at;
        if (count > 0 && (uint8_t *)iov[count - 1].iov_base + iov[count - 1].iov_len == base)
            iov[count - 1].iov_len += length;
        else if (count == IOV_BATCH)
            break;
        else
            iov[count++] = (struct iovec){ .iov_base = base, .iov_len = length };
        at += length;
    }
    return count;
}

/* The page of byte `at` cannot be moved.  Returns where the next one begins. */
static uint64_t
give_up_page(struct page_io *io, uint64_t at, int error)
{
    io->error = error;
    if (io->why != NULL)
        io->why[at >> PAGE_SHIFT] = error;
    io->done[at >> PAGE_SHIFT] = false;
    return (at | PAGE_MASK) + 1;
}

void
page_io_run(struct page_io *io)
{
    struct iovec iov[IOV_BATCH];
    uint64_t at = 0;

    while (at < io->size) {
        int count = collect(io, at, iov);
        ssize_t moved = io->call(io->fd, iov, count, (off_t)(io->start + at));

        if (moved > 0)
            at += (uint64_t)moved;
        else if (moved == 0 && io->end == 0)
            io->size = at;
        else if (moved == 0)
            at = give_up_page(io, at, io->end);
        else if (errno != EINTR)
            at = give_up_page(io, at, -errno);
    }
}

int
page_io_peek(page_io_call call, int fd, uint64_t start, void *page)
{
    unsigned got = 0;

    while (got < PAGE_SIZE) {
        const struct iovec iov = { (uint8_t *)page + got, PAGE_SIZE - got };
        ssize_t moved = call(fd, &iov, 1, (off_t)(start + got));

        if (moved == 0)
            break;
        if (moved > 0)
            got += (unsigned)moved;
        else if (errno != EINTR)
            return -errno;
    }
    return (int)got;
}
