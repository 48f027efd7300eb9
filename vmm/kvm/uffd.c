/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Source: ioctl_userfaultfd(2), Linux Documentation/admin-guide/mm/userfaultfd.rst.
 *
 * The operations answer in two places: the return value with errno, and a count
 * field that holds bytes done or a negative errno.  A partial run is EAGAIN with
 * a positive field; the next call reports why it stopped.
 */
#include "vmm/kvm/uffd.h"

#include "vmm/kvm/kvm_compat.h"
#include "vmm/vpagetable/vm_types.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

/* EAGAIN lasts while the kernel changes the address space: short. */
#define AGAIN_MAX 100000u

/* A page may change from hole to filled or back once while it is entered; more is a kernel bug. */
#define FLIPS_MAX 8u

/* A run under way. */
struct run {
    const struct uffd *u;
    uint8_t *start;
    const uint8_t *content; /* of the pages; NULL = zeros, whatever is there already */
    unsigned npages;
    unsigned how;
    unsigned done;
    unsigned span;  /* most pages per call: shrinks at VMA borders */
    unsigned again; /* EAGAINs since the last progress */
    unsigned flips; /* changes of mind about the page at `done` */
    bool fill;      /* what the page at `done` is entered by */
};

static int
real_ioctl(int fd, unsigned long request, void *argument)
{
    return ioctl(fd, request, argument);
}

int
uffd_init(struct uffd *u, int fd, bool continue_wp)
{
    void *zeros = mmap(NULL, UFFD_RUN_MAX * PAGE_SIZE, PROT_READ,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (zeros == MAP_FAILED)
        return -ENOMEM;
    *u = (struct uffd){ .fd = fd, .continue_wp = continue_wp, .zeros = zeros, .ioctl = real_ioctl };
    return 0;
}

void
uffd_fini(struct uffd *u)
{
    munmap((void *)(uintptr_t)u->zeros, UFFD_RUN_MAX * PAGE_SIZE);
}

static struct uffdio_range
range_of(const void *start, uint64_t npages)
{
    return (struct uffdio_range){ (uintptr_t)start, npages << PAGE_SHIFT };
}

int
uffd_register(const struct uffd *u, void *start, uint64_t npages)
{
    struct uffdio_register reg = {
        .range = range_of(start, npages),
        .mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP,
    };
    return u->ioctl(u->fd, UFFDIO_REGISTER, &reg) == 0 ? 0 : -errno;
}

int
uffd_wake(const struct uffd *u, void *start, uint64_t npages)
{
    struct uffdio_range range = range_of(start, npages);

    return u->ioctl(u->fd, UFFDIO_WAKE, &range) == 0 ? 0 : -errno;
}

/* One WRITEPROTECT call.  Clearing the protection wakes unless `quiet`. */
static int
write_protect(const struct uffd *u, void *start, uint64_t npages, bool protect, bool quiet)
{
    struct uffdio_writeprotect wp = {
        .range = range_of(start, npages),
        .mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP
                : quiet ? UFFDIO_WRITEPROTECT_MODE_DONTWAKE
                        : 0,
    };
    for (unsigned again = 0; again < AGAIN_MAX; again++) {
        if (u->ioctl(u->fd, UFFDIO_WRITEPROTECT, &wp) == 0)
            return 0;
        if (errno != EAGAIN)
            return -errno;
        sched_yield();
    }
    return -EAGAIN;
}

/* Before Linux 6.4 a range must lie in one VMA, else ENOENT: halve until it does. */
int
uffd_protect(const struct uffd *u, void *start, uint64_t npages)
{
    int error = write_protect(u, start, npages, true, true);

    if (error != -ENOENT)
        return error;
    if (npages == 1)
        return 0;
    uint64_t half = npages / 2;
    error = uffd_protect(u, start, half);
    if (error != 0)
        return error;
    return uffd_protect(u, (uint8_t *)start + (half << PAGE_SHIFT), npages - half);
}

/* The two answers of an operation as one: pages done (at least 1), or -errno. */
static int
answer(int result, int saved_errno, int64_t field, unsigned npages)
{
    if (field >= (int64_t)PAGE_SIZE)
        return (int)(field >> PAGE_SHIFT);
    if (field < 0)
        return (int)field;
    if (result == 0)
        return field == 0 ? -EAGAIN : (int)npages;
    return -saved_errno;
}

static int
call_zeropage(const struct run *r, void *at, unsigned npages)
{
    struct uffdio_zeropage op = {
        .range = range_of(at, npages),
        .mode = (r->how & UFFD_QUIET) != 0 ? UFFDIO_ZEROPAGE_MODE_DONTWAKE : 0,
    };
    int result = r->u->ioctl(r->u->fd, UFFDIO_ZEROPAGE, &op);

    return answer(result, errno, op.zeropage, npages);
}

static int
call_copy(const struct run *r, void *at, const void *from, unsigned npages)
{
    struct uffdio_copy op = {
        .dst = (uintptr_t)at,
        .src = (uintptr_t)from,
        .len = (uint64_t)npages << PAGE_SHIFT,
        .mode = ((r->how & UFFD_WRITE) == 0 ? UFFDIO_COPY_MODE_WP : 0) |
                ((r->how & UFFD_QUIET) != 0 ? UFFDIO_COPY_MODE_DONTWAKE : 0),
    };
    int result = r->u->ioctl(r->u->fd, UFFDIO_COPY, &op);

    return answer(result, errno, op.copy, npages);
}

static int
call_continue(const struct run *r, void *at, unsigned npages)
{
    bool protect = (r->how & UFFD_WRITE) == 0;
    struct uffdio_continue op = {
        .range = range_of(at, npages),
        .mode = (protect ? UFFDIO_CONTINUE_MODE_WP : 0) |
                ((r->how & UFFD_QUIET) != 0 ? UFFDIO_CONTINUE_MODE_DONTWAKE : 0),
    };
    if (protect && !r->u->continue_wp)
        return -EOPNOTSUPP;
    int result = r->u->ioctl(r->u->fd, UFFDIO_CONTINUE, &op);
    int done = answer(result, errno, op.mapped, npages);

    if (protect && done > 0 && r->u->continued != NULL)
        atomic_fetch_add_explicit(r->u->continued, (uint64_t)done, memory_order_relaxed);
    return done;
}

static void *
run_position(const struct run *r)
{
    return r->start + ((uint64_t)r->done << PAGE_SHIFT);
}

/* Enter pages at the run's position.  Returns how many, or -errno. */
static int
enter_some(const struct run *r)
{
    unsigned left = r->npages - r->done;
    unsigned npages = r->flips != 0 ? 1 : left < r->span ? left : r->span;
    void *at = run_position(r);

    if (r->content != NULL)
        return call_copy(r, at, r->content + ((uint64_t)r->done << PAGE_SHIFT), npages);
    if (!r->fill)
        return call_continue(r, at, npages);
    if ((r->how & UFFD_WRITE) != 0)
        return call_zeropage(r, at, npages);
    return call_copy(r, at, r->u->zeros, npages);
}

static void
advance(struct run *r, unsigned npages)
{
    r->done += npages;
    r->again = 0;
    r->flips = 0;
    r->fill = (r->how & UFFD_FILL) != 0;
}

/* The page is in the page table already: give it the protection wanted, and wake. */
static int
adjust_present(struct run *r)
{
    bool protect = (r->how & UFFD_WRITE) == 0;
    bool quiet = (r->how & UFFD_QUIET) != 0;
    int error = write_protect(r->u, run_position(r), 1, protect, quiet);

    if (error == 0 && protect && !quiet)
        error = uffd_wake(r->u, run_position(r), 1);
    if (error == 0)
        advance(r, 1);
    return error;
}

static int
flip(struct run *r)
{
    if (++r->flips > FLIPS_MAX)
        return -EIO;
    r->fill = !r->fill;
    return 0;
}

/* Decide what a failed call means.  Returns 0 to go on, else the run's end. */
static int
recover(struct run *r, int error)
{
    switch (error) {
    case -EAGAIN:
        sched_yield();
        return ++r->again > AGAIN_MAX ? error : 0;
    case -EEXIST: /* FILL: the frame is filled or the page entered; CONTINUE: entered */
        if (r->content != NULL)
            return error;
        return r->fill ? flip(r) : adjust_present(r);
    case -EFAULT: /* CONTINUE: the frame is a hole */
        return r->fill ? error : flip(r);
    case -ENOENT: /* crosses a VMA border, or is not registered */
        if (r->flips != 0 || r->span == 1)
            return error;
        r->span = (r->span < r->npages - r->done ? r->span : r->npages - r->done) / 2;
        r->span += r->span == 0;
        return 0;
    default:
        return error;
    }
}

static int
run_all(struct run *r, unsigned *done)
{
    int error = 0;

    while (r->done < r->npages && error == 0) {
        int n = enter_some(r);
        if (n > 0)
            advance(r, (unsigned)n);
        else
            error = recover(r, n);
    }
    *done = r->done;
    return error;
}

int
uffd_enter(const struct uffd *u, void *start, unsigned npages, unsigned how, unsigned *done)
{
    struct run r = { .u = u,
                     .start = start,
                     .npages = npages,
                     .how = how,
                     .span = UFFD_RUN_MAX,
                     .fill = (how & UFFD_FILL) != 0 };

    return run_all(&r, done);
}

int
uffd_copy(const struct uffd *u, void *start, const void *content, unsigned npages, unsigned how,
          unsigned *done)
{
    struct run r = { .u = u,
                     .start = start,
                     .content = content,
                     .npages = npages,
                     .how = how | UFFD_FILL,
                     .span = UFFD_RUN_MAX,
                     .fill = true };

    return run_all(&r, done);
}
