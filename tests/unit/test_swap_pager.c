/* SPDX-License-Identifier: BSD-2-Clause */
/* Swap devices, their slots, and pages that go out and come in. */
#include "vmm/pager/swap_pager.h"

#include "tests/unit/alloc_failure.h"
#include "tests/unit/swap_pager_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(swap_pager, .timeout = 60);
TestSuite(swap_device, .timeout = 60);

/* --- Devices ------------------------------------------------------------- */

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

/* open for a device that the host has mounted: it fails only for whoever asks to be alone. */
static unsigned opens;

static int
mounted_open(const char *name, int flags, mode_t mode)
{
    opens++;
    if ((flags & (O_EXCL | O_CREAT)) == O_EXCL) {
        errno = EBUSY;
        return -1;
    }
    return open(name, flags, mode);
}

Test(swap_device, a_block_device_that_the_host_uses_is_busy_and_not_touched)
{
    const struct swap_device_io io_mounted = { .open = mounted_open };
    struct swap_device *d;

    make_path();
    cr_assert_eq(swap_device_open_io(path, 10, &io_mounted, &d), -EBUSY);
    cr_assert_eq(swap_device_open_io(path, 0, &io_mounted, &d), -EBUSY);
    cr_assert_eq(opens, 2, "not opened in another way");
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

    make_path();
    fd = dup(0);
    close(fd);
    for (unsigned n = 1; n <= 4; n++) {
        alloc_failure_set(n);
        cr_assert_eq(swap_device_open(path, 1000, &d), -ENOMEM, "allocation %u", n);
        cr_assert_eq(dup(0), fd);
        close(fd);
    }
    cr_assert_eq(open_close(path, 1000), 0);
    unlink(path);
}

/* --- Out and in ---------------------------------------------------------- */

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
