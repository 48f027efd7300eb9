/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For the tests of the file pager: a file with a pattern, pages to read and write, and I/O that
 * fails on demand.  A file that includes this has a rig of its own.
 */
#ifndef FILE_PAGER_RIG_H
#define FILE_PAGER_RIG_H

#include "tests/unit/checked_test.h"
#include "tests/unit/fault_rig.h"
#include "vmm/pager/file_pager.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORE ((uint64_t)1 << 16)
#define BYTES(pages) ((uint64_t)(pages)*PAGE_SIZE)

static struct vm_system sys;
static int file = -1;

static inline void
file_pager_setup(void)
{
    const struct vm_system_config config = { .store_pages = STORE };

    cr_assert_eq(vm_system_init(&sys, &config), 0);
    file = memfd_create("test", MFD_CLOEXEC);
    cr_assert_geq(file, 0);
}

static inline void
file_pager_teardown(void)
{
    close(file);
    cr_assert_eq(lseek(sys.memfd, 0, SEEK_DATA), -1, "memory left behind");
    vm_system_fini(&sys);
}

/* The test file opened anew, so that only device and inode say that it is the same. */
static inline int
reopen(int mode)
{
    char path[64];
    int fd;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    fd = open(path, mode | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    return fd;
}

/* The byte at a place of the test file: no page equals another. */
static inline uint8_t
pattern(uint64_t at)
{
    return (uint8_t)(1 + at % 251);
}

static inline void
fill_file(uint64_t size)
{
    uint8_t *bytes = malloc(size);

    for (uint64_t i = 0; i < size; i++)
        bytes[i] = pattern(i);
    cr_assert_eq(pwrite(file, bytes, size, 0), (ssize_t)size);
    free(bytes);
}

static inline struct vm_object *
new_object(uint64_t offset, uint64_t npages, unsigned flags)
{
    struct vm_object *object = NULL;

    cr_assert_eq(file_pager_create(&sys, file, offset, npages, flags, &object), 0);
    return object;
}

static inline void
busy_pages(struct vm_object *object, vm_pindex_t first, unsigned count, struct vm_page **m)
{
    vm_mutex_lock(&object->lock);
    for (unsigned i = 0; i < count; i++) {
        m[i] = vm_page_alloc(object, first + i);
        cr_assert_not_null(m[i]);
    }
    vm_mutex_unlock(&object->lock);
}

static inline void
free_pages(struct vm_object *object, struct vm_page **m, unsigned count)
{
    vm_mutex_lock(&object->lock);
    for (unsigned i = 0; i < count; i++)
        vm_page_free(m[i]);
    vm_mutex_unlock(&object->lock);
}

static inline enum vm_pager_result
get(struct vm_object *object, struct vm_page **m, unsigned count, unsigned reqpage, bool *done)
{
    memset(done, 0x55, count * sizeof(*done));
    return object->pager->getpages(object, m, count, reqpage, done);
}

/* Does the page hold the file's bytes from `at` on, and zeros from `end` on? */
static inline bool
page_shows(const struct vm_page *m, uint64_t at, uint64_t end)
{
    const uint8_t *bytes = vm_page_address(m);

    for (uint64_t i = 0; i < PAGE_SIZE; i++) {
        if (bytes[i] != (at + i < end ? pattern(at + i) : 0))
            return false;
    }
    return true;
}

/* An I/O side that can be told to fail, to be slow of grip, or to cut the file. */
static struct {
    uint64_t bad;           /* byte of the file whose transfer fails with EIO; none = UINT64_MAX */
    unsigned interruptions; /* EINTR before each transfer */
    unsigned pending;
    size_t most;        /* bytes per call; 0 = all */
    off_t size_error;   /* errno of size */
    off_t cut;          /* before the next read, truncate the file to this; -1 = no */
    bool write_nothing; /* writes return 0 */
    unsigned calls;
    unsigned sizes; /* calls of size */
    int largest_iov;
    unsigned entries;
} fake;

static inline size_t
fake_clip(const struct iovec *iov, int count, struct iovec *to, off_t offset)
{
    size_t total = 0;
    size_t limit = fake.most != 0 ? fake.most : SIZE_MAX;

    if (fake.bad >= (uint64_t)offset && fake.bad - (uint64_t)offset < limit)
        limit = fake.bad - (uint64_t)offset;
    for (int i = 0; i < count; i++) {
        to[i] = iov[i];
        if (to[i].iov_len > limit - total)
            to[i].iov_len = limit - total;
        total += to[i].iov_len;
    }
    return total;
}

/* Count the call; -1 with errno set if it is to fail. */
static inline int
fake_begin(const struct iovec *iov, int count, struct iovec *to, off_t offset)
{
    fake.calls++;
    fake.entries += (unsigned)count;
    fake.largest_iov = count > fake.largest_iov ? count : fake.largest_iov;
    if (fake.pending++ < fake.interruptions) {
        errno = EINTR;
        return -1;
    }
    fake.pending = 0;
    if (fake_clip(iov, count, to, offset) == 0) {
        errno = EIO;
        return -1;
    }
    return 0;
}

static inline ssize_t
fake_read(int fd, const struct iovec *iov, int count, off_t offset)
{
    struct iovec clipped[64];

    if (fake.cut >= 0) {
        cr_assert_eq(ftruncate(fd, fake.cut), 0);
        fake.cut = -1;
    }
    return fake_begin(iov, count, clipped, offset) != 0 ? -1 : preadv(fd, clipped, count, offset);
}

static inline ssize_t
fake_write(int fd, const struct iovec *iov, int count, off_t offset)
{
    struct iovec clipped[64];

    if (fake.write_nothing)
        return 0;
    return fake_begin(iov, count, clipped, offset) != 0 ? -1 : pwritev(fd, clipped, count, offset);
}

static inline off_t
fake_size(int fd)
{
    struct stat st;

    fake.sizes++;
    if (fake.size_error != 0) {
        errno = (int)fake.size_error;
        return -1;
    }
    return fstat(fd, &st) != 0 ? -1 : st.st_size;
}

static const struct file_pager_io fake_io = {
    .read = fake_read,
    .write = fake_write,
    .size = fake_size,
};

static inline struct vm_object *
new_fake_object(uint64_t npages, unsigned flags)
{
    struct vm_object *object = NULL;

    memset(&fake, 0, sizeof(fake));
    fake.bad = UINT64_MAX;
    fake.cut = -1;
    cr_assert_eq(file_pager_create_io(&sys, file, 0, npages, flags, &fake_io, &object), 0);
    return object;
}

static inline void
scattered_pages(struct vm_object *object, unsigned count, struct vm_page **m)
{
    struct vm_object *scatter;

    cr_assert_eq(vm_object_create_default(&sys, 2 * (uint64_t)count, &scatter), 0);
    for (unsigned i = 0; i < count; i++) {
        vm_mutex_lock(&scatter->lock);
        m[i] = vm_page_alloc(scatter, 2 * i);
        vm_page_zero_fill(m[i]);
        m[i]->valid = 1;
        vm_mutex_lock(&object->lock);
        m[i] = vm_page_rename(m[i], object, i);
        m[i]->valid = 0;
        atomic_store(&m[i]->dirty, 0);
        vm_mutex_unlock(&object->lock);
        vm_mutex_unlock(&scatter->lock);
    }
    vm_object_unref(scatter);
}

#endif
