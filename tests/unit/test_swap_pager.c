/* SPDX-License-Identifier: BSD-2-Clause */
/* Swap devices, their slots, the swap pager and what fails in it. */
#include "vmm/pager/swap_pager.h"

#include "tests/unit/alloc_failure.h"
#include "tests/unit/checked_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

static bool
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
static struct iovec
io_first(const struct iovec *iov)
{
    struct iovec first = *iov;

    if (first.iov_len > io.most)
        first.iov_len = io.most;
    return first;
}

static ssize_t
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

static ssize_t
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

static void
make_path(void)
{
    strcpy(path, "/tmp/swap_pager.XXXXXX");
    close(mkstemp(path));
}

static struct vm_object *
swap_object(uint64_t npages)
{
    struct vm_object *o;

    cr_assert_eq(vm_object_create_default(&sys, npages, &o), 0);
    vm_mutex_lock(&o->lock);
    cr_assert_eq(vm_pager_adopt_swap(o), 0);
    vm_mutex_unlock(&o->lock);
    return o;
}

static void
swap_pager_setup(void)
{
    const struct vm_system_config config = { .store_pages = 1 << 16 };

    memset(&io, 0, sizeof io);
    io.bad_slot = UINT64_MAX;
    make_path();
    cr_assert_eq(vm_system_init(&sys, &config), 0);
    cr_assert_eq(swap_device_open_io(path, SLOTS, &test_io, &device), 0);
    swap_device_attach(device, &sys);
    object = swap_object(PAGES);
}

static void
swap_pager_teardown(void)
{
    vm_object_unref(object);
    cr_assert_eq(swap_device_used(device), 0, "slots left behind");
    vm_system_fini(&sys);
    swap_device_close(device);
    unlink(path);
}

TestSuite(swap_pager, .timeout = 60);
TestSuite(swap_device, .timeout = 60);

/* ---- Pages. ---- */

/* A busy, valid, dirty page whose words say `value`. */
static struct vm_page *
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

static void
free_page(struct vm_page *m)
{
    struct vm_object *o = m->object;

    vm_mutex_lock(&o->lock);
    vm_page_free(m);
    vm_mutex_unlock(&o->lock);
}

/* Write n pages from pindex on, page p of value p * 1000; they stay resident, busy. */
static enum vm_pager_result
put(struct vm_object *o, vm_pindex_t pindex, unsigned n, struct vm_page **m, bool *done)
{
    for (unsigned i = 0; i < n; i++)
        m[i] = make_page(o, pindex + i, (pindex + i) * 1000);
    return o->pager->putpages(o, m, n, done);
}

/* Write them, which succeeds, and let them go. */
static void
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

static void
free_pages(struct vm_page **m, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        free_page(m[i]);
}

/* Read n pages from pindex on; done[] says which came back, and those are checked. */
static enum vm_pager_result
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

static bool
has(struct vm_object *o, vm_pindex_t pindex, unsigned *before, unsigned *after)
{
    bool result;

    vm_mutex_lock(&o->lock);
    result = o->pager->haspage(o, pindex, before, after);
    vm_mutex_unlock(&o->lock);
    return result;
}

static void
unswap(struct vm_object *o, vm_pindex_t pindex, uint64_t n)
{
    vm_mutex_lock(&o->lock);
    vm_pager_freespace(o, pindex, n);
    vm_mutex_unlock(&o->lock);
}

/* ---- Devices. ---- */

static int
open_close(const char *name, uint64_t max_pages)
{
    struct swap_device *d;
    int error = swap_device_open(name, max_pages, &d);

    if (error == 0)
        swap_device_close(d);
    return error;
}

Test(swap_device, what_cannot_be_swapped_to_is_refused)
{
    make_path();
    cr_expect_eq(open_close("/dev/null", 10), -ENODEV);
    cr_expect_eq(open_close("/tmp", 10), -EISDIR);
    cr_expect_eq(open_close("/nowhere/swap", 10), -ENOENT);
    cr_expect_eq(open_close("/nowhere/swap", 0), -EINVAL, "no size is known");
    cr_expect_eq(open_close(path, 0), -EINVAL, "empty");
    cr_expect_eq(open_close(path, SWAP_PAGES_MAX + 1), -EOVERFLOW);
    cr_expect_eq(truncate(path, PAGE_SIZE - 1), 0);
    cr_expect_eq(open_close(path, 0), -EINVAL, "less than a page");
    unlink(path);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_expect_eq(open_close(path, 10), -ENODEV);
    unlink(path);
}

Test(swap_device, a_file_in_use_is_busy)
{
    struct swap_device *d;

    make_path();
    cr_assert_eq(swap_device_open(path, 10, &d), 0);
    cr_assert_eq(open_close(path, 10), -EBUSY);
    swap_device_close(d);
    cr_assert_eq(open_close(path, 10), 0);
    unlink(path);
}

Test(swap_device, a_file_is_created_or_its_size_counts)
{
    struct swap_device *d;

    make_path();
    unlink(path);
    cr_assert_eq(swap_device_open(path, 10, &d), 0);
    cr_assert_eq(swap_device_pages(d), 10);
    swap_device_close(d);
    cr_assert_eq(truncate(path, 7 * (off_t)PAGE_SIZE + 100), 0);
    cr_assert_eq(swap_device_open(path, 0, &d), 0);
    cr_assert_eq(swap_device_pages(d), 7);
    swap_device_close(d);
    unlink(path);
}

Test(swap_device, without_memory_nothing_is_left_open)
{
    struct swap_device *d;
    int fd;

    if (!alloc_failure_available())
        cr_skip_test("needs its own allocator");
    make_path();
    fd = dup(0);
    close(fd);
    for (unsigned n = 1; n <= 2; n++) {
        alloc_failure_set(n);
        cr_assert_eq(swap_device_open(path, 1000, &d), -ENOMEM, "allocation %u", n);
        cr_assert_eq(dup(0), fd);
        close(fd);
    }
    cr_assert_eq(open_close(path, 1000), 0);
    unlink(path);
}

/* ---- Out and in. ---- */

CHECKED_TEST(swap_pager, pages_come_back_as_they_were_written)
{
    bool done[8];

    swap_out(object, 100, 8);
    cr_assert_eq(swap_device_used(device), 8);
    cr_assert_eq(io.writes, 1, "in one write");
    cr_assert_eq(get(object, 100, 8, 3, done), VM_PAGER_OK);
    for (unsigned i = 0; i < 8; i++)
        cr_assert(done[i]);
    cr_assert_eq(io.reads, 1, "in one read");
}

CHECKED_TEST(swap_pager, a_page_that_was_never_written_is_not_there)
{
    unsigned before = 9, after = 9;
    bool done[3];

    swap_out(object, 10, 1);
    cr_assert(!has(object, 11, &before, &after));
    cr_assert(before == 0 && after == 0);
    cr_assert(!has(object, PAGES, NULL, NULL));
    cr_assert_eq(get(object, 9, 3, 0, done), VM_PAGER_FAIL);
    cr_assert(!done[0] && done[1] && !done[2]);
}

CHECKED_TEST(swap_pager, neighbours_that_lie_together_are_offered_for_one_read)
{
    unsigned before, after;

    swap_out(object, 20, 10);
    swap_out(object, 40, 1);
    swap_out(object, 30, 1); /* next to 29, but not in the device */
    cr_assert(has(object, 23, &before, &after));
    cr_assert_eq(before, 3);
    cr_assert_eq(after, 6);
    cr_assert(has(object, 30, &before, &after));
    cr_assert(before == 0 && after == 0);
}

CHECKED_TEST(swap_pager, no_more_than_a_cluster_is_offered_and_nothing_outside_of_the_object)
{
    struct vm_object *o = swap_object(40);
    unsigned before, after;

    swap_out(o, 0, 40);
    cr_assert(has(o, 0, &before, &after));
    cr_assert(before == 0 && after == SWAP_CLUSTER);
    cr_assert(has(o, 39, &before, &after));
    cr_assert(before == SWAP_CLUSTER && after == 0);
    vm_object_unref(o);
}

CHECKED_TEST(swap_pager, a_page_written_again_gets_a_new_slot_and_gives_the_old_one_back)
{
    bool done[1];

    for (unsigned i = 0; i < 3 * SLOTS; i++)
        swap_out(object, 5, 1);
    cr_assert_eq(swap_device_used(device), 1);
    cr_assert_eq(get(object, 5, 1, 0, done), VM_PAGER_OK);
}

CHECKED_TEST(swap_pager, a_large_device_uses_slots_again_before_a_file_grows)
{
    struct stat st;

    swap_pager_teardown();
    make_path();
    cr_assert_eq(vm_system_init(&sys, &(struct vm_system_config){ .store_pages = 1 << 16 }), 0);
    cr_assert_eq(swap_device_open_io(path, 1 << 20, &test_io, &device), 0);
    swap_device_attach(device, &sys);
    object = swap_object(PAGES);
    for (unsigned i = 0; i < 2000; i++)
        swap_out(object, i % 16 * 8, 8);
    cr_assert_eq(swap_device_used(device), 128);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_leq(st.st_size, (off_t)(2048 * PAGE_SIZE));
}

CHECKED_TEST(swap_pager, a_full_device_leaves_pages_dirty_until_something_is_freed)
{
    struct vm_page *m[8];
    bool done[8];

    for (unsigned i = 0; i < SLOTS - 4; i += 4)
        swap_out(object, i, 4);
    cr_assert_eq(put(object, 1000, 8, m, done), VM_PAGER_FAIL);
    for (unsigned i = 0; i < 8; i++) {
        cr_assert_eq(done[i], i < 4);
        cr_assert_eq(atomic_load(&m[i]->dirty), i >= 4);
        cr_assert_eq(has(object, 1000 + i, NULL, NULL), i < 4);
    }
    unswap(object, 0, 6);
    cr_assert_eq(object->pager->putpages(object, &m[4], 4, &done[4]), VM_PAGER_OK);
    free_pages(m, 8);
    cr_assert_eq(get(object, 1000, 8, 7, done), VM_PAGER_OK);
    cr_assert_eq(swap_device_used(device), SLOTS - 2);
}

CHECKED_TEST(swap_pager, a_fragmented_device_takes_pages_apart)
{
    struct vm_page *m[8];
    bool done[8];

    swap_out(object, 0, 64);
    swap_out(object, 64, 64);
    for (unsigned i = 0; i < SLOTS; i += 2)
        unswap(object, i, 1);
    io.writes = 0;
    cr_assert_eq(put(object, 2000, 8, m, done), VM_PAGER_OK);
    cr_assert_eq(io.writes, 8);
    free_pages(m, 8);
    cr_assert_eq(get(object, 2000, 8, 0, done), VM_PAGER_OK);
    for (unsigned i = 1; i < SLOTS; i += 2)
        cr_assert_eq(get(object, i, 1, 0, done), VM_PAGER_OK);
}

CHECKED_TEST(swap_pager, freespace_frees_exactly_the_range)
{
    swap_out(object, 10, 60);
    unswap(object, 20, 17);
    for (unsigned p = 10; p < 70; p++)
        cr_assert_eq(has(object, p, NULL, NULL), p < 20 || p >= 37, "page %u", p);
    cr_assert_eq(swap_device_used(device), 43);
    unswap(object, 0, UINT64_MAX);
    cr_assert_eq(swap_device_used(device), 0);
    unswap(object, 0, PAGES);
}

CHECKED_TEST(swap_pager, a_clean_page_that_is_modified_gives_its_slot_back)
{
    struct vm_page *m[2];
    bool done[2];

    cr_assert_eq(put(object, 7, 2, m, done), VM_PAGER_OK);
    vm_mutex_lock(&object->lock);
    vm_page_modified(m[0]);
    vm_mutex_unlock(&object->lock);
    cr_assert(atomic_load(&m[0]->dirty));
    cr_assert(!has(object, 7, NULL, NULL));
    cr_assert(has(object, 8, NULL, NULL));
    free_pages(m, 2);
}

CHECKED_TEST(swap_pager, random_writes_and_frees_never_mix_pages_up)
{
    static bool in_swap[200];
    unsigned seed = 1;
    bool done[8];

    for (unsigned step = 0; step < 3000; step++) {
        unsigned p = (unsigned)rand_r(&seed) % 190, n = 1 + (unsigned)rand_r(&seed) % 8;

        if (rand_r(&seed) % 2 == 0) {
            struct vm_page *m[8];

            (void)put(object, p, n, m, done);
            for (unsigned i = 0; i < n; i++)
                in_swap[p + i] = done[i];
            free_pages(m, n);
        } else {
            unswap(object, p, n);
            memset(&in_swap[p], 0, n);
        }
        p = (unsigned)rand_r(&seed) % 190;
        (void)get(object, p, 8, 0, done);
        for (unsigned i = 0; i < 8; i++)
            cr_assert_eq(done[i], in_swap[p + i], "step %u", step);
    }
}

/* ---- Failures. ---- */

CHECKED_TEST(swap_pager, a_failed_write_keeps_the_page_dirty_and_takes_no_slot)
{
    static const int errors[] = { EIO, ENOSPC, EDQUOT };
    struct vm_page *m[4];
    bool done[4];

    for (unsigned i = 0; i < 3; i++) {
        io.error = errors[i];
        cr_assert_eq(put(object, 50, 4, m, done), VM_PAGER_ERROR);
        for (unsigned j = 0; j < 4; j++)
            cr_assert(!done[j] && atomic_load(&m[j]->dirty) && !has(object, 50 + j, NULL, NULL));
        cr_assert_eq(swap_device_error(device), -errors[i]);
        cr_assert_eq(swap_device_used(device), 0);
        free_pages(m, 4);
    }
}

CHECKED_TEST(swap_pager, one_bad_slot_costs_one_page)
{
    struct vm_page *m[4];
    bool done[4];

    io.error = EIO;
    io.bad_slot = 2;
    io.most = PAGE_SIZE;
    cr_assert_eq(put(object, 50, 4, m, done), VM_PAGER_ERROR);
    for (unsigned j = 0; j < 4; j++)
        cr_assert(done[j] == (j != 2) && has(object, 50 + j, NULL, NULL) == (j != 2));
    free_pages(m, 4);
}

CHECKED_TEST(swap_pager, short_and_interrupted_transfers_go_on)
{
    bool done[4];

    io.most = 1500;
    io.interrupts = 2;
    swap_out(object, 50, 4);
    cr_assert_eq(io.writes, 2 + 4 * PAGE_SIZE / 1500 + 1);
    io.interrupts = 2;
    cr_assert_eq(get(object, 50, 4, 0, done), VM_PAGER_OK);
    cr_assert(done[1] && done[2] && done[3]);
}

CHECKED_TEST(swap_pager, a_write_that_moves_nothing_is_an_error)
{
    struct vm_page *m[2];
    bool done[2];

    io.nothing = true;
    cr_assert_eq(put(object, 50, 2, m, done), VM_PAGER_ERROR);
    cr_assert_eq(swap_device_error(device), -EIO);
    free_pages(m, 2);
}

CHECKED_TEST(swap_pager, a_failed_read_is_an_error_and_the_slot_is_kept)
{
    bool done[4];

    swap_out(object, 50, 4);
    io.error = EIO;
    cr_assert_eq(get(object, 50, 4, 1, done), VM_PAGER_ERROR);
    cr_assert_eq(swap_device_error(device), -EIO);
    io.error = 0;
    cr_assert_eq(get(object, 50, 4, 1, done), VM_PAGER_OK);
}

CHECKED_TEST(swap_pager, a_neighbour_that_cannot_be_read_does_not_fail_the_page)
{
    bool done[4];

    swap_out(object, 50, 4);
    io.error = EIO;
    io.bad_slot = 1;
    io.most = PAGE_SIZE;
    cr_assert_eq(get(object, 50, 4, 2, done), VM_PAGER_OK);
    cr_assert(done[0] && !done[1] && done[2] && done[3]);
}

CHECKED_TEST(swap_pager, a_truncated_device_is_an_error_and_never_zeros)
{
    bool done[4];

    swap_out(object, 50, 4);
    cr_assert_eq(truncate(path, 2 * (off_t)PAGE_SIZE), 0);
    cr_assert_eq(get(object, 50, 4, 3, done), VM_PAGER_ERROR);
    cr_assert(done[0] && done[1] && !done[2] && !done[3]);
    cr_assert_eq(swap_device_error(device), -EIO);
}

CHECKED_TEST(swap_pager, without_memory_for_the_index_a_page_stays_dirty)
{
    struct vm_page *m[4];
    bool done[4];

    if (!alloc_failure_available())
        return;
    for (unsigned i = 0; i < 4; i++)
        m[i] = make_page(object, 14 + i, (14 + i) * 1000); /* two blocks of the index */
    alloc_failure_set(1);
    cr_assert_eq(object->pager->putpages(object, m, 4, done), VM_PAGER_ERROR);
    for (unsigned i = 0; i < 4; i++)
        cr_assert(!done[i] && atomic_load(&m[i]->dirty));
    cr_assert_eq(swap_device_used(device), 0);
    cr_assert_eq(swap_device_error(device), -ENOMEM);
    alloc_failure_set(2); /* what comes after the first block is tried again */
    cr_assert_eq(object->pager->putpages(object, m, 4, done), VM_PAGER_OK);
    cr_assert_eq(swap_device_used(device), 4);
    free_pages(m, 4);
}

CHECKED_TEST(swap_pager, becoming_a_swap_object_without_memory_changes_nothing)
{
    struct vm_object *o;

    if (!alloc_failure_available())
        return;
    cr_assert_eq(vm_object_create_default(&sys, 10, &o), 0);
    vm_mutex_lock(&o->lock);
    alloc_failure_set(1);
    cr_assert_eq(vm_pager_adopt_swap(o), -ENOMEM);
    cr_assert(o->type == OBJT_DEFAULT && o->pager == &vm_default_pager && o->swap == NULL);
    cr_assert_eq(vm_pager_adopt_swap(o), 0);
    cr_assert(o->type == OBJT_SWAP);
    cr_assert_eq(vm_pager_adopt_swap(o), 0, "twice is once");
    vm_mutex_unlock(&o->lock);
    vm_object_unref(o);
}

CHECKED_TEST(swap_pager, without_a_device_no_object_becomes_a_swap_object)
{
    const struct vm_system_config config = { .store_pages = 1 << 10 };
    struct vm_system bare;
    struct vm_object *o;

    cr_assert_eq(vm_system_init(&bare, &config), 0);
    cr_assert_eq(vm_object_create_default(&bare, 10, &o), 0);
    vm_mutex_lock(&o->lock);
    cr_assert_eq(vm_pager_adopt_swap(o), -ENODEV);
    vm_pager_unswapped(o, 1);
    vm_mutex_unlock(&o->lock);
    vm_object_unref(o);
    vm_system_fini(&bare);
}

/* ---- Collapse. ---- */

static int
move(struct vm_object *from, struct vm_object *to, vm_pindex_t offset)
{
    int error;

    vm_mutex_lock(&to->lock);
    vm_mutex_lock(&from->lock);
    error = vm_pager_move_swap(from, to, offset);
    vm_mutex_unlock(&from->lock);
    vm_mutex_unlock(&to->lock);
    return error;
}

/* Read page p of o, whose contents are those of page q of another. */
static void
expect_contents(struct vm_object *o, vm_pindex_t p, vm_pindex_t q)
{
    struct vm_page *m;
    bool done[1];

    vm_mutex_lock(&o->lock);
    m = vm_page_alloc(o, p);
    vm_mutex_unlock(&o->lock);
    cr_assert_eq(o->pager->getpages(o, &m, 1, 0, done), VM_PAGER_OK);
    cr_assert_eq(*(uint64_t *)vm_page_address(m), q * 1000);
    free_page(m);
}

CHECKED_TEST(swap_pager, a_collapse_moves_what_the_shadow_lacks_and_frees_the_rest)
{
    struct vm_object *top;
    struct vm_page *m;

    cr_assert_eq(vm_object_create_default(&sys, 30, &top), 0);
    swap_out(object, 0, 60); /* 10..39 show through */
    cr_assert_eq(move(object, top, 10), 0);
    cr_assert_eq(top->type, OBJT_SWAP);
    cr_assert_eq(swap_pager_count(object), 0);
    cr_assert_eq(swap_pager_count(top), 30);
    cr_assert_eq(swap_device_used(device), 30);
    expect_contents(top, 0, 10);
    expect_contents(top, 29, 39);

    swap_out(object, 12, 2);
    m = make_page(top, 5, 42);
    unswap(top, 5, 1);
    swap_out(object, 15, 1);
    cr_assert_eq(move(object, top, 10), 0);
    cr_assert(!has(top, 5, NULL, NULL), "resident: its own is the one");
    cr_assert_eq(swap_device_used(device), 29, "what both had is the shadow's");
    free_page(m);
    vm_object_unref(top);
}

CHECKED_TEST(swap_pager, a_collapse_without_memory_loses_nothing)
{
    struct vm_object *top;

    if (!alloc_failure_available())
        return;
    top = swap_object(64);
    swap_out(object, 0, 64);
    alloc_failure_set(2);
    cr_assert_eq(move(object, top, 0), -ENOMEM);
    alloc_failure_set(0);
    cr_assert_eq(swap_pager_count(object) + swap_pager_count(top), 64);
    cr_assert_eq(move(object, top, 0), 0);
    for (unsigned p = 0; p < 64; p++)
        expect_contents(top, p, p);
    vm_object_unref(top);
}

CHECKED_TEST(swap_pager, an_object_without_swap_has_nothing_to_move)
{
    struct vm_object *top, *bottom;

    cr_assert_eq(vm_object_create_default(&sys, 8, &top), 0);
    cr_assert_eq(vm_object_create_default(&sys, 8, &bottom), 0);
    cr_assert_eq(move(bottom, top, 0), 0);
    cr_assert_eq(top->type, OBJT_DEFAULT);
    vm_object_unref(top);
    vm_object_unref(bottom);
}
