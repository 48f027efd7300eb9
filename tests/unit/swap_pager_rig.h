/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For the tests of the swap pager: an object on a swap device whose I/O fails on demand.  A file
 * that includes this has its own.
 */
#ifndef SWAP_PAGER_RIG_H
#define SWAP_PAGER_RIG_H

#include "tests/unit/checked_test.h"
#include "vmm/pager/swap_pager.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGES 4096
#define SLOTS 128

static struct vm_system sys;
static struct swap_device *device;
static struct vm_object *object;
static char path[64];

/* What the device's I/O does. */
static struct {
    int error;           /* errno of the calls, 0 = none */
    uint64_t bad_slot;   /* ... only of those that begin in this slot; UINT64_MAX = all */
    size_t most;         /* bytes a call moves at most; 0 = all */
    bool nothing;        /* the calls move nothing and do not fail */
    unsigned interrupts; /* so many calls are interrupted first */
    unsigned reads, writes;
} io;

static inline bool
io_fails(off_t offset)
{
    if (io.interrupts != 0) {
        io.interrupts--;
        errno = EINTR;
        return true;
    }
    errno = io.error;
    return io.error != 0 &&
           (io.bad_slot == UINT64_MAX || io.bad_slot == (uint64_t)offset >> PAGE_SHIFT);
}

/* The first bytes only, when a call is to be a short one. */
static inline struct iovec
io_first(const struct iovec *iov)
{
    struct iovec first = *iov;

    if (first.iov_len > io.most)
        first.iov_len = io.most;
    return first;
}

static inline ssize_t
io_read(int fd, const struct iovec *iov, int count, off_t offset)
{
    struct iovec first;

    io.reads++;
    if (io_fails(offset))
        return -1;
    if (io.nothing)
        return 0;
    if (io.most == 0)
        return preadv(fd, iov, count, offset);
    first = io_first(iov);
    return preadv(fd, &first, 1, offset);
}

static inline ssize_t
io_write(int fd, const struct iovec *iov, int count, off_t offset)
{
    struct iovec first;

    io.writes++;
    if (io_fails(offset))
        return -1;
    if (io.nothing)
        return 0;
    if (io.most == 0)
        return pwritev(fd, iov, count, offset);
    first = io_first(iov);
    return pwritev(fd, &first, 1, offset);
}

static const struct swap_device_io test_io = { .read = io_read, .write = io_write };

static inline void
make_path(void)
{
    strcpy(path, "/tmp/swap_pager.XXXXXX");
    close(mkstemp(path));
}

static inline struct vm_object *
swap_object(uint64_t npages)
{
    struct vm_object *o;

    cr_assert_eq(vm_object_create_default(&sys, npages, &o), 0);
    vm_mutex_lock(&o->lock);
    cr_assert_eq(vm_pager_adopt_swap(o), 0);
    vm_mutex_unlock(&o->lock);
    return o;
}

static inline void
swap_pager_setup(void)
{
    const struct vm_system_config config = { .store_pages = 1 << 16 };

    memset(&io, 0, sizeof(io));
    io.bad_slot = UINT64_MAX;
    make_path();
    cr_assert_eq(vm_system_init(&sys, &config), 0);
    cr_assert_eq(swap_device_open_io(path, SLOTS, &test_io, &device), 0);
    swap_device_attach(device, &sys);
    object = swap_object(PAGES);
}

static inline void
swap_pager_teardown(void)
{
    vm_object_unref(object);
    cr_assert_eq(swap_device_used(device), 0, "slots left behind");
    vm_system_fini(&sys);
    swap_device_close(device);
    unlink(path);
}

/* --- Pages --------------------------------------------------------------- */

/* A busy, valid, dirty page whose words say `value`. */
static inline struct vm_page *
make_page(struct vm_object *o, vm_pindex_t pindex, uint64_t value)
{
    struct vm_page *m;
    uint64_t *words;

    vm_mutex_lock(&o->lock);
    m = vm_page_alloc(o, pindex);
    cr_assert_not_null(m);
    vm_mutex_unlock(&o->lock);
    words = vm_page_address(m);
    for (unsigned i = 0; i < 512; i++)
        words[i] = value + i;
    vm_page_flag_clear(m, VM_PAGE_ZERO);
    m->valid = 1;
    vm_page_dirty(m);
    return m;
}

static inline void
free_page(struct vm_page *m)
{
    struct vm_object *o = m->object;

    vm_mutex_lock(&o->lock);
    vm_page_free(m);
    vm_mutex_unlock(&o->lock);
}

/* Write n pages from pindex on, page p of value p * 1000; they stay resident, busy. */
static inline enum vm_pager_result
put(struct vm_object *o, vm_pindex_t pindex, unsigned n, struct vm_page **m, bool *done)
{
    for (unsigned i = 0; i < n; i++)
        m[i] = make_page(o, pindex + i, (pindex + i) * 1000);
    return o->pager->putpages(o, m, n, done);
}

/* Write them, which succeeds, and let them go. */
static inline void
swap_out(struct vm_object *o, vm_pindex_t pindex, unsigned n)
{
    struct vm_page *m[64];
    bool done[64];

    cr_assert_eq(put(o, pindex, n, m, done), VM_PAGER_OK);
    for (unsigned i = 0; i < n; i++) {
        cr_assert(done[i] && atomic_load(&m[i]->dirty) == 0);
        free_page(m[i]);
    }
}

static inline void
free_pages(struct vm_page **m, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        free_page(m[i]);
}

/* Read n pages from pindex on; done[] says which came back, and those are checked. */
static inline enum vm_pager_result
get(struct vm_object *o, vm_pindex_t pindex, unsigned n, unsigned reqpage, bool *done)
{
    enum vm_pager_result result;
    struct vm_page *m[64];

    vm_mutex_lock(&o->lock);
    for (unsigned i = 0; i < n; i++)
        m[i] = vm_page_alloc(o, pindex + i);
    vm_mutex_unlock(&o->lock);
    result = o->pager->getpages(o, m, n, reqpage, done);
    for (unsigned i = 0; i < n; i++) {
        const uint64_t *words = vm_page_address(m[i]);

        if (done[i]) {
            cr_assert(!vm_page_flag_test(m[i], VM_PAGE_ZERO));
            cr_assert_eq(words[0], (pindex + i) * 1000);
            cr_assert_eq(words[511], (pindex + i) * 1000 + 511);
        }
        free_page(m[i]);
    }
    return result;
}

static inline bool
has(struct vm_object *o, vm_pindex_t pindex, unsigned *before, unsigned *after)
{
    bool result;

    vm_mutex_lock(&o->lock);
    result = o->pager->haspage(o, pindex, before, after);
    vm_mutex_unlock(&o->lock);
    return result;
}

static inline void
unswap(struct vm_object *o, vm_pindex_t pindex, uint64_t n)
{
    vm_mutex_lock(&o->lock);
    vm_pager_freespace(o, pindex, n);
    vm_mutex_unlock(&o->lock);
}

#endif
