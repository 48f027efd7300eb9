/* SPDX-License-Identifier: BSD-2-Clause */
/* The file pager: its constructor's errors, which pages it has, reading. */
#include "vmm/pager/file_pager.h"

#include "tests/unit/file_pager_rig.h"
#include "tests/unit/sanitized.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(file_pager, .timeout = 60);

CHECKED_TEST(file_pager, an_object_over_a_file_has_the_type_size_and_one_reference)
{
    struct vm_object *object;

    fill_file(BYTES(3));
    object = new_object(0, 4, 0);
    cr_assert(object->type == OBJT_FILE && object->size == 4 && object->ref_count == 1);
    cr_assert_not_null(object->handle);
    cr_assert_str_eq(object->pager->name, "file");
    cr_assert_eq(file_pager_error(object), 0);
    vm_object_unref(object);
}

CHECKED_TEST(file_pager, no_number_of_pages_means_up_to_the_files_end)
{
    struct vm_object *object;

    fill_file(BYTES(3) + 1);
    object = new_object(0, 0, 0);
    cr_assert_eq(object->size, 4);
    vm_object_unref(object);
    object = new_object(BYTES(3), 0, 0);
    cr_assert_eq(object->size, 1);
    vm_object_unref(object);
    object = new_object(2, 0, 0);
    cr_assert_eq(object->size, 3);
    vm_object_unref(object);
}

/* The number the next descriptor would get: shows whether one leaked. */
static int
next_fd(void)
{
    int fd = dup(file);

    cr_assert_geq(fd, 0);
    close(fd);
    return fd;
}

/* The error of file_pager_create for an otherwise good call; nothing may be left of it. */
static int
create_error(int fd, uint64_t offset, uint64_t npages, unsigned flags)
{
    struct vm_object *object = NULL;
    int next = next_fd();
    int error = file_pager_create(&sys, fd, offset, npages, flags, &object);
    uint64_t all;

    cr_assert_null(object);
    cr_assert_eq(next_fd(), next, "a descriptor leaked");
    cr_assert_eq(vm_extent_alloc(&sys, STORE, &all), 0, "an extent leaked");
    vm_extent_free(&sys, all, STORE);
    return error;
}

CHECKED_TEST(file_pager, an_unknown_flag_is_invalid)
{
    fill_file(1);
    cr_assert_eq(create_error(file, 0, 1, 0x4), -EINVAL);
}

CHECKED_TEST(file_pager, up_to_the_end_of_a_file_that_has_nothing_there_is_invalid)
{
    cr_assert_eq(create_error(file, 0, 0, 0), -EINVAL);
    fill_file(BYTES(1));
    cr_assert_eq(create_error(file, BYTES(1), 0, 0), -EINVAL);
    cr_assert_eq(create_error(file, BYTES(7), 0, 0), -EINVAL);
}

CHECKED_TEST(file_pager, a_range_beyond_the_largest_file_offset_is_an_overflow)
{
    cr_assert_eq(create_error(file, (uint64_t)INT64_MAX + 1, 1, 0), -EOVERFLOW);
    cr_assert_eq(create_error(file, UINT64_MAX, 1, 0), -EOVERFLOW);
    cr_assert_eq(create_error(file, INT64_MAX - PAGE_SIZE + 1, 1, 0), -EOVERFLOW);
    cr_assert_eq(create_error(file, 0, UINT64_MAX, 0), -EOVERFLOW);
    cr_assert_eq(create_error(file, 0, (uint64_t)INT64_MAX / PAGE_SIZE + 1, 0), -EOVERFLOW);
}

CHECKED_TEST(file_pager, a_descriptor_that_is_not_open_is_ebadf)
{
    cr_assert_eq(create_error(-1, 0, 1, 0), -EBADF);
    cr_assert_eq(create_error(9999, 0, 1, 0), -EBADF);
}

CHECKED_TEST(file_pager, a_path_only_descriptor_is_ebadf)
{
    int fd = reopen(O_PATH);

    cr_assert_eq(create_error(fd, 0, 1, 0), -EBADF);
    close(fd);
}

CHECKED_TEST(file_pager, a_descriptor_that_cannot_be_read_is_eacces)
{
    int fd = reopen(O_WRONLY);

    cr_assert_eq(create_error(fd, 0, 1, 0), -EACCES);
    cr_assert_eq(create_error(fd, 0, 1, FILE_PAGER_SHARED), -EACCES);
    close(fd);
}

CHECKED_TEST(file_pager, a_descriptor_that_cannot_be_written_is_eacces_only_where_writes_are_meant)
{
    int fd = reopen(O_RDONLY);
    struct vm_object *object;

    cr_assert_eq(create_error(fd, 0, 1, FILE_PAGER_SHARED), -EACCES);
    cr_assert_eq(
        file_pager_create(&sys, fd, 0, 1, FILE_PAGER_SHARED | FILE_PAGER_READ_ONLY, &object), 0);
    vm_object_unref(object);
    cr_assert_eq(file_pager_create(&sys, fd, 0, 1, 0, &object), 0);
    vm_object_unref(object);
    close(fd);
}

CHECKED_TEST(file_pager, an_appending_descriptor_is_invalid_for_an_object_that_is_written)
{
    int fd = reopen(O_RDWR | O_APPEND);
    struct vm_object *object;

    cr_assert_eq(create_error(fd, 0, 1, FILE_PAGER_SHARED), -EINVAL);
    cr_assert_eq(file_pager_create(&sys, fd, 0, 1, 0, &object), 0);
    vm_object_unref(object);
    close(fd);
}

CHECKED_TEST(file_pager, what_is_not_a_regular_file_is_enodev)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int directory = open("/", O_RDONLY | O_CLOEXEC);
    int pipes[2];

    cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
    cr_assert_eq(create_error(null, 0, 1, 0), -ENODEV);
    cr_assert_eq(create_error(directory, 0, 1, 0), -ENODEV);
    cr_assert_eq(create_error(pipes[0], 0, 1, 0), -ENODEV);
    close(null);
    close(directory);
    close(pipes[0]);
    close(pipes[1]);
}

CHECKED_TEST(file_pager, without_a_descriptor_left_it_is_emfile)
{
    struct vm_object *object = NULL;
    struct rlimit limit;
    int next = next_fd();

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = (rlim_t)next;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_eq(file_pager_create(&sys, file, 0, 1, 0, &object), -EMFILE);
    cr_assert_null(object);
}

CHECKED_TEST(file_pager, a_range_larger_than_the_frame_store_is_no_space)
{
    cr_assert_eq(create_error(file, 0, STORE + 1, 0), -ENOSPC);
}

/* The object's bitmap does not fit any more. */
CHECKED_TEST(file_pager, without_memory_for_the_object_it_is_enomem_and_holds_nothing,
             .disabled = SANITIZED)
{
    const struct vm_system_config config = { .store_pages = (uint64_t)1 << 28 };
    struct rlimit limit = { .rlim_cur = 1 << 20, .rlim_max = RLIM_INFINITY };
    struct vm_object *object = NULL;
    struct vm_system large;
    int next;

    cr_assert_eq(vm_system_init(&large, &config), 0);
    next = next_fd();
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
    cr_assert_eq(file_pager_create(&large, file, 0, config.store_pages, 0, &object), -ENOMEM);
    cr_assert_null(object);
    cr_assert_eq(next_fd(), next);
    vm_system_fini(&large);
}

CHECKED_TEST(file_pager, a_file_whose_size_cannot_be_asked_for_returns_that_error)
{
    struct vm_object *object = NULL;

    memset(&fake, 0, sizeof(fake));
    fake.size_error = EIO;
    cr_assert_eq(file_pager_create_io(&sys, file, 0, 0, 0, &fake_io, &object), -EIO);
    cr_assert_null(object);
}

CHECKED_TEST(file_pager, opening_by_path_returns_the_errors_of_open)
{
    struct vm_object *object = NULL;

    cr_assert_eq(file_pager_open(&sys, "/nonexistent/file", 0, 1, 0, &object), -ENOENT);
    cr_assert_eq(file_pager_open(&sys, "/", 0, 1, FILE_PAGER_SHARED, &object), -EISDIR);
    cr_assert_eq(file_pager_open(&sys, "/", 0, 1, 0, &object), -ENODEV);
    cr_assert_null(object);
}

CHECKED_TEST(file_pager, opening_a_fifo_does_not_wait_for_its_other_end)
{
    char path[] = "/tmp/file_pager.XXXXXX";
    struct vm_object *object = NULL;
    char fifo[64];

    cr_assert_not_null(mkdtemp(path));
    snprintf(fifo, sizeof(fifo), "%s/fifo", path);
    cr_assert_eq(mkfifo(fifo, 0600), 0);
    cr_assert_eq(file_pager_open(&sys, fifo, 0, 1, 0, &object), -ENODEV);
    unlink(fifo);
    rmdir(path);
}

CHECKED_TEST(file_pager, opening_by_path_opens_for_what_the_flags_need)
{
    char path[] = "/tmp/file_pager.XXXXXX";
    struct vm_object *object = NULL;
    int fd = mkstemp(path);
    int next = next_fd();

    cr_assert_geq(fd, 0);
    cr_assert_eq(ftruncate(fd, PAGE_SIZE), 0);
    cr_assert_eq(file_pager_open(&sys, path, 0, 0, FILE_PAGER_SHARED, &object), 0);
    cr_assert_eq(object->size, 1);
    vm_object_unref(object);
    cr_assert_eq(next_fd(), next, "a descriptor is left open");
    cr_assert_eq(chmod(path, 0400), 0);
    cr_assert_eq(file_pager_open(&sys, path, 0, 1, 0, &object), 0);
    vm_object_unref(object);
    cr_assert_eq(next_fd(), next, "a descriptor is left open");
    close(fd);
    unlink(path);
}

CHECKED_TEST(file_pager, the_callers_descriptor_is_not_needed_any_more)
{
    struct vm_object *object;
    struct vm_page *m[1];
    bool done[1];
    int fd = reopen(O_RDONLY);

    fill_file(BYTES(1));
    cr_assert_eq(file_pager_create(&sys, fd, 0, 1, 0, &object), 0);
    close(fd);
    busy_pages(object, 0, 1, m);
    cr_assert_eq(get(object, m, 1, 0, done), VM_PAGER_OK);
    free_pages(object, m, 1);
    vm_object_unref(object);
}

CHECKED_TEST(file_pager, it_has_every_page_of_the_object_also_those_beyond_the_files_end)
{
    struct vm_object *object;

    fill_file(BYTES(2) + 1);
    object = new_object(0, 10, 0);
    for (vm_pindex_t i = 0; i < 12; i++)
        cr_assert_eq(object->pager->haspage(object, i, NULL, NULL), i < 10);
    cr_assert(!object->pager->haspage(object, UINT64_MAX, NULL, NULL));
    vm_object_unref(object);
}

/* Check before and after for one page. */
static void
check_cluster(struct vm_object *object, vm_pindex_t pindex, unsigned before, unsigned after)
{
    unsigned b = 99;
    unsigned a = 99;

    cr_assert(object->pager->haspage(object, pindex, &b, &a));
    cr_assert(b == before && a == after, "page %lu: %u before, %u after", (unsigned long)pindex, b,
              a);
}

CHECKED_TEST(file_pager, clusters_end_at_the_objects_ends_and_at_the_bound)
{
    struct vm_object *object;
    struct vm_page *m[1];
    bool done[1];

    fill_file(BYTES(500));
    object = new_object(0, 400, 0);
    fill_file(BYTES(600)); /* and a transfer, which looks at the new size */
    busy_pages(object, 0, 1, m);
    cr_assert_eq(get(object, m, 1, 0, done), VM_PAGER_OK);
    free_pages(object, m, 1);
    check_cluster(object, 0, 0, FILE_PAGER_CLUSTER);
    check_cluster(object, 5, 5, FILE_PAGER_CLUSTER);
    check_cluster(object, 200, FILE_PAGER_CLUSTER, FILE_PAGER_CLUSTER);
    check_cluster(object, 497, FILE_PAGER_CLUSTER, 2);
    check_cluster(object, 499, FILE_PAGER_CLUSTER, 0);
    vm_object_unref(object);
}

CHECKED_TEST(file_pager, clusters_end_at_the_files_end)
{
    struct vm_object *object;

    fill_file(BYTES(10) + 1);
    object = new_object(0, 100, 0);
    check_cluster(object, 4, 4, 6);
    check_cluster(object, 10, 10, 0);
    check_cluster(object, 11, 0, 0);
    vm_object_unref(object);
}

CHECKED_TEST(file_pager, whether_it_has_a_page_is_said_without_asking_the_host)
{
    struct vm_object *object;

    fill_file(BYTES(10));
    object = new_fake_object(10, FILE_PAGER_SHARED);
    fake.sizes = 0;
    check_cluster(object, 4, 4, 5);
    cr_assert_eq(fake.sizes, 0);
    vm_object_unref(object);
}

CHECKED_TEST(file_pager, when_the_size_is_unknown_the_failure_is_reported_and_not_read_as_zeros)
{
    struct vm_object *object;
    struct vm_page *m[1];
    bool done[1];

    fill_file(BYTES(2));
    object = new_fake_object(2, FILE_PAGER_SHARED);
    fake.size_error = EIO;
    busy_pages(object, 1, 1, m);
    cr_assert_eq(get(object, m, 1, 0, done), VM_PAGER_ERROR);
    cr_assert(!done[0]);
    cr_assert_eq(file_pager_error(object), -EIO);
    vm_page_dirty(m[0]);
    done[0] = true;
    cr_assert_eq(object->pager->putpages(object, m, 1, done), VM_PAGER_ERROR);
    cr_assert(!done[0] && m[0]->dirty);
    free_pages(object, m, 1);
    vm_object_unref(object);
}

CHECKED_TEST(file_pager, a_run_of_pages_shows_the_files_bytes_from_any_offset)
{
    const uint64_t offsets[] = { 0, BYTES(3), 1, 4095, 12345 };

    fill_file(BYTES(100));
    for (unsigned i = 0; i < 5; i++) {
        struct vm_object *object = new_object(offsets[i], 60, 0);
        struct vm_page *m[20];
        bool done[20];

        busy_pages(object, 7, 20, m);
        cr_assert_eq(get(object, m, 20, 11, done), VM_PAGER_OK);
        for (unsigned j = 0; j < 20; j++) {
            cr_assert(done[j]);
            cr_assert(!vm_page_flag_test(m[j], VM_PAGE_ZERO));
            cr_assert(!m[j]->valid && vm_page_flag_test(m[j], VM_PAGE_BUSY));
            cr_assert(page_shows(m[j], offsets[i] + BYTES(7 + j), BYTES(100)));
        }
        free_pages(object, m, 20);
        vm_object_unref(object);
    }
}

CHECKED_TEST(file_pager, contiguous_frames_are_read_by_one_entry_in_one_call)
{
    struct vm_object *object;
    struct vm_page *m[40];
    bool done[40];

    fill_file(BYTES(40));
    object = new_fake_object(40, 0);
    busy_pages(object, 0, 40, m);
    cr_assert_eq(get(object, m, 40, 0, done), VM_PAGER_OK);
    cr_assert(fake.calls == 1 && fake.entries == 1);
    free_pages(object, m, 40);
    vm_object_unref(object);
}

CHECKED_TEST(file_pager, scattered_frames_are_read_right_however_many_they_are)
{
    struct vm_object *object;
    struct vm_page *m[100];
    bool done[100];

    fill_file(BYTES(100));
    object = new_fake_object(100, 0);
    scattered_pages(object, 100, m);
    cr_assert_eq(get(object, m, 100, 99, done), VM_PAGER_OK);
    for (unsigned i = 0; i < 100; i++)
        cr_assert(done[i] && page_shows(m[i], BYTES(i), BYTES(100)));
    cr_assert_eq(fake.entries, 100);
    cr_assert_lt(fake.calls, 10);
    free_pages(object, m, 100);
    vm_object_unref(object);
}

CHECKED_TEST(file_pager, the_rest_of_a_short_last_page_is_zeros_whatever_was_there)
{
    struct vm_object *object;
    struct vm_page *m[3];
    bool done[3];

    fill_file(BYTES(2) + 100);
    object = new_object(0, 3, 0);
    busy_pages(object, 0, 3, m);
    for (unsigned i = 0; i < 3; i++)
        memset(vm_page_address(m[i]), 0xEE, PAGE_SIZE);
    cr_assert_eq(get(object, m, 3, 2, done), VM_PAGER_OK);
    for (unsigned i = 0; i < 3; i++)
        cr_assert(done[i] && page_shows(m[i], BYTES(i), BYTES(2) + 100));
    free_pages(object, m, 3);
    vm_object_unref(object);
}

CHECKED_TEST(file_pager, a_page_beyond_the_file_fails_and_is_not_touched)
{
    struct vm_object *object;
    struct vm_page *m[4];
    bool done[4];

    fill_file(BYTES(2));
    object = new_object(0, 10, 0);
    busy_pages(object, 0, 4, m);
    cr_assert_eq(get(object, m, 4, 1, done), VM_PAGER_OK);
    cr_assert_eq(file_pager_error(object), 0, "nobody needed what is beyond");
    cr_assert_eq(get(object, m, 4, 3, done), VM_PAGER_ERROR);
    cr_assert(done[0] && done[1] && !done[2] && !done[3]);
    cr_assert(vm_page_flag_test(m[2], VM_PAGE_ZERO) && vm_page_flag_test(m[3], VM_PAGE_ZERO));
    cr_assert_eq(file_pager_error(object), -ENXIO);
    free_pages(object, m, 4);
    vm_object_unref(object);
}

CHECKED_TEST(file_pager, a_file_that_was_truncated_has_fewer_pages_and_a_short_one)
{
    struct vm_object *object;
    struct vm_page *m[4];
    bool done[4];

    fill_file(BYTES(4));
    object = new_object(0, 4, 0);
    cr_assert_eq(ftruncate(file, BYTES(1) + 10), 0);
    busy_pages(object, 0, 4, m);
    cr_assert_eq(get(object, m, 4, 1, done), VM_PAGER_OK);
    check_cluster(object, 0, 0, 1);
    cr_assert(done[0] && done[1] && !done[2] && !done[3]);
    cr_assert(page_shows(m[1], BYTES(1), BYTES(1) + 10));
    free_pages(object, m, 4);
    vm_object_unref(object);
}

CHECKED_TEST(file_pager, a_file_truncated_between_size_and_read_ends_where_the_read_finds_the_end)
{
    struct vm_object *object;
    struct vm_page *m[4];
    bool done[4];

    fill_file(BYTES(4));
    object = new_fake_object(4, 0);
    busy_pages(object, 0, 4, m);
    memset(vm_page_address(m[1]), 0xEE, PAGE_SIZE);
    fake.cut = (off_t)BYTES(1) + 10;
    cr_assert_eq(get(object, m, 4, 3, done), VM_PAGER_ERROR);
    cr_assert(done[0] && done[1] && !done[2] && !done[3]);
    cr_assert(page_shows(m[1], BYTES(1), BYTES(1) + 10));
    cr_assert_eq(file_pager_error(object), -ENXIO);
    free_pages(object, m, 4);
    vm_object_unref(object);
}

CHECKED_TEST(file_pager, a_file_truncated_to_nothing_between_size_and_read_fails_every_page)
{
    struct vm_object *object;
    struct vm_page *m[2];
    bool done[2];

    fill_file(BYTES(2));
    object = new_fake_object(2, 0);
    busy_pages(object, 0, 2, m);
    fake.cut = 0;
    cr_assert_eq(get(object, m, 2, 0, done), VM_PAGER_ERROR);
    cr_assert(!done[0] && !done[1]);
    free_pages(object, m, 2);
    vm_object_unref(object);
}

CHECKED_TEST(file_pager, a_file_that_grew_has_more_pages)
{
    struct vm_object *object;
    struct vm_page *m[1];
    bool done[1];

    fill_file(BYTES(1));
    object = new_object(0, 4, 0);
    check_cluster(object, 2, 0, 0);
    busy_pages(object, 2, 1, m);
    cr_assert_eq(get(object, m, 1, 0, done), VM_PAGER_ERROR);
    cr_assert_eq(ftruncate(file, BYTES(4)), 0);
    cr_assert_eq(get(object, m, 1, 0, done), VM_PAGER_OK);
    check_cluster(object, 2, 2, 1);
    free_pages(object, m, 1);
    vm_object_unref(object);
}

CHECKED_TEST(file_pager, partial_and_interrupted_reads_go_on)
{
    struct vm_object *object;
    struct vm_page *m[5];
    bool done[5];

    fill_file(BYTES(5));
    object = new_fake_object(5, 0);
    fake.most = 1000;
    fake.interruptions = 2;
    busy_pages(object, 0, 5, m);
    cr_assert_eq(get(object, m, 5, 4, done), VM_PAGER_OK);
    for (unsigned i = 0; i < 5; i++)
        cr_assert(done[i] && page_shows(m[i], BYTES(i), BYTES(5)));
    free_pages(object, m, 5);
    vm_object_unref(object);
}

CHECKED_TEST(file_pager, a_page_that_cannot_be_read_is_an_error_and_its_neighbours_are_read)
{
    struct vm_object *object;
    struct vm_page *m[5];
    bool done[5];

    fill_file(BYTES(5));
    object = new_fake_object(5, 0);
    fake.bad = BYTES(2) + 77;
    busy_pages(object, 0, 5, m);
    cr_assert_eq(get(object, m, 5, 2, done), VM_PAGER_ERROR);
    for (unsigned i = 0; i < 5; i++)
        cr_assert(done[i] == (i != 2) && (i == 2 || page_shows(m[i], BYTES(i), BYTES(5))));
    cr_assert_eq(file_pager_error(object), -EIO);
    cr_assert_eq(get(object, m, 5, 4, done), VM_PAGER_OK, "a bad neighbour does no harm");
    free_pages(object, m, 5);
    vm_object_unref(object);
}

CHECKED_TEST(file_pager, a_short_last_page_that_cannot_be_read_is_an_error)
{
    struct vm_object *object;
    struct vm_page *m[2];
    bool done[2];

    fill_file(BYTES(1) + 500);
    object = new_fake_object(2, 0);
    fake.bad = BYTES(1) + 100;
    busy_pages(object, 0, 2, m);
    cr_assert_eq(get(object, m, 2, 1, done), VM_PAGER_ERROR);
    cr_assert(done[0] && !done[1]);
    free_pages(object, m, 2);
    vm_object_unref(object);
}
