/* SPDX-License-Identifier: BSD-2-Clause */
/* The file pager: its constructor's errors, reading, writing, files that change. */
#include "vmm/pager/file_pager.h"

#include "tests/unit/checked_test.h"
#include "tests/unit/fault_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define STORE ((uint64_t)1 << 16)
#define BYTES(pages) ((uint64_t)(pages)*PAGE_SIZE)

static struct vm_system sys;
static int file = -1;

static void
file_pager_setup(void)
{
    const struct vm_system_config config = { .store_pages = STORE };

    cr_assert_eq(vm_system_init(&sys, &config), 0);
    file = memfd_create("test", MFD_CLOEXEC);
    cr_assert_geq(file, 0);
}

static void
file_pager_teardown(void)
{
    close(file);
    cr_assert_eq(lseek(sys.memfd, 0, SEEK_DATA), -1, "memory left behind");
    vm_system_fini(&sys);
}

TestSuite(file_pager, .timeout = 60);

/* The byte at a place of the test file: no page equals another. */
static uint8_t
pattern(uint64_t at)
{
    return (uint8_t)(1 + at % 251);
}

static void
fill_file(uint64_t size)
{
    uint8_t *bytes = malloc(size);

    for (uint64_t i = 0; i < size; i++)
        bytes[i] = pattern(i);
    cr_assert_eq(pwrite(file, bytes, size, 0), (ssize_t)size);
    free(bytes);
}

static struct vm_object *
new_object(uint64_t offset, uint64_t npages, unsigned flags)
{
    struct vm_object *object = NULL;

    cr_assert_eq(file_pager_create(&sys, file, offset, npages, flags, &object), 0);
    return object;
}

static void
busy_pages(struct vm_object *object, vm_pindex_t first, unsigned count, struct vm_page **m)
{
    vm_mutex_lock(&object->lock);
    for (unsigned i = 0; i < count; i++) {
        m[i] = vm_page_alloc(object, first + i);
        cr_assert_not_null(m[i]);
    }
    vm_mutex_unlock(&object->lock);
}

static void
free_pages(struct vm_object *object, struct vm_page **m, unsigned count)
{
    vm_mutex_lock(&object->lock);
    for (unsigned i = 0; i < count; i++)
        vm_page_free(m[i]);
    vm_mutex_unlock(&object->lock);
}

static enum vm_pager_result
get(struct vm_object *object, struct vm_page **m, unsigned count, unsigned reqpage, bool *done)
{
    memset(done, 0x55, count * sizeof(*done));
    return object->pager->getpages(object, m, count, reqpage, done);
}

/* Does the page hold the file's bytes from `at` on, and zeros from `end` on? */
static bool
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
    int largest_iov;
    unsigned entries;
} fake;

static size_t
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
static int
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

static ssize_t
fake_read(int fd, const struct iovec *iov, int count, off_t offset)
{
    struct iovec clipped[64];

    if (fake.cut >= 0) {
        cr_assert_eq(ftruncate(fd, fake.cut), 0);
        fake.cut = -1;
    }
    return fake_begin(iov, count, clipped, offset) != 0 ? -1 : preadv(fd, clipped, count, offset);
}

static ssize_t
fake_write(int fd, const struct iovec *iov, int count, off_t offset)
{
    struct iovec clipped[64];

    if (fake.write_nothing)
        return 0;
    return fake_begin(iov, count, clipped, offset) != 0 ? -1 : pwritev(fd, clipped, count, offset);
}

static off_t
fake_size(int fd)
{
    struct stat st;

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

static struct vm_object *
new_fake_object(uint64_t npages, unsigned flags)
{
    struct vm_object *object = NULL;

    memset(&fake, 0, sizeof(fake));
    fake.bad = UINT64_MAX;
    fake.cut = -1;
    cr_assert_eq(file_pager_create_io(&sys, file, 0, npages, flags, &fake_io, &object), 0);
    return object;
}

CHECKED_TEST(file_pager, an_object_over_a_file_has_the_type_size_and_one_reference)
{
    struct vm_object *object;

    fill_file(BYTES(3));
    object = new_object(0, 2, 0);
    cr_assert(object->type == OBJT_FILE && object->size == 2 && object->ref_count == 1);
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

/* The test file opened again in another mode. */
static int
reopen(int mode)
{
    char path[64];
    int fd;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    fd = open(path, mode | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    return fd;
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

CHECKED_TEST(file_pager, only_a_read_only_object_may_not_be_mapped_writable)
{
    struct vm_object *object;

    object = new_object(0, 1, FILE_PAGER_READ_ONLY);
    cr_assert_eq(file_pager_max_protection(object), VM_PROT_READ | VM_PROT_EXECUTE);
    vm_object_unref(object);
    object = new_object(0, 1, FILE_PAGER_SHARED | FILE_PAGER_READ_ONLY);
    cr_assert_eq(file_pager_max_protection(object), VM_PROT_READ | VM_PROT_EXECUTE);
    vm_object_unref(object);
    object = new_object(0, 1, FILE_PAGER_SHARED);
    cr_assert_eq(file_pager_max_protection(object), VM_PROT_ALL);
    vm_object_unref(object);
    object = new_object(0, 1, 0);
    cr_assert_eq(file_pager_max_protection(object), VM_PROT_ALL);
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

    fill_file(BYTES(500));
    object = new_object(0, 400, 0);
    check_cluster(object, 0, 0, FILE_PAGER_CLUSTER);
    check_cluster(object, 5, 5, FILE_PAGER_CLUSTER);
    check_cluster(object, 200, FILE_PAGER_CLUSTER, FILE_PAGER_CLUSTER);
    check_cluster(object, 397, FILE_PAGER_CLUSTER, 2);
    check_cluster(object, 399, FILE_PAGER_CLUSTER, 0);
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

CHECKED_TEST(file_pager, when_the_size_is_unknown_the_failure_is_reported_and_not_read_as_zeros)
{
    struct vm_object *object;
    struct vm_page *m[1];
    bool done[1];

    fill_file(BYTES(2));
    object = new_fake_object(2, FILE_PAGER_SHARED);
    fake.size_error = EIO;
    check_cluster(object, 1, 0, 0);
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

/* Make pages whose frames are not neighbours: each is moved in from another object. */
static void
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
    check_cluster(object, 0, 0, 1);
    busy_pages(object, 0, 4, m);
    cr_assert_eq(get(object, m, 4, 1, done), VM_PAGER_OK);
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
    check_cluster(object, 2, 2, 1);
    cr_assert_eq(get(object, m, 1, 0, done), VM_PAGER_OK);
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

/* Make pages of the object resident, busy, valid, dirty and full of `tag`. */
static void
dirty_pages(struct vm_object *object, vm_pindex_t first, unsigned count, struct vm_page **m,
            int tag)
{
    busy_pages(object, first, count, m);
    for (unsigned i = 0; i < count; i++) {
        vm_page_zero_fill(m[i]);
        memset(vm_page_address(m[i]), tag, PAGE_SIZE);
        m[i]->valid = 1;
        vm_page_dirty(m[i]);
    }
}

/* Does the file hold `tag` in [start, end) and the pattern elsewhere? */
static bool
file_shows(uint64_t size, uint64_t start, uint64_t end, int tag)
{
    uint8_t *bytes = malloc(size + 1);
    bool right = pread(file, bytes, size + 1, 0) == (ssize_t)size;

    for (uint64_t i = 0; right && i < size; i++)
        right = bytes[i] == (i >= start && i < end ? (uint8_t)tag : pattern(i));
    free(bytes);
    return right;
}

CHECKED_TEST(file_pager, a_shared_object_writes_its_pages_to_their_place)
{
    struct vm_object *object;
    struct vm_page *m[3];
    bool done[3];

    fill_file(BYTES(10));
    object = new_object(100, 9, FILE_PAGER_SHARED);
    dirty_pages(object, 2, 3, m, 'w');
    cr_assert_eq(object->pager->putpages(object, m, 3, done), VM_PAGER_OK);
    for (unsigned i = 0; i < 3; i++)
        cr_assert(done[i] && !m[i]->dirty);
    cr_assert(file_shows(BYTES(10), 100 + BYTES(2), 100 + BYTES(5), 'w'));
    free_pages(object, m, 3);
    vm_object_unref(object);
}

CHECKED_TEST(file_pager, scattered_frames_are_written_right)
{
    struct vm_object *object;
    struct vm_page *m[70];
    bool done[70];

    fill_file(BYTES(70));
    object = new_fake_object(70, FILE_PAGER_SHARED);
    scattered_pages(object, 70, m);
    for (unsigned i = 0; i < 70; i++) {
        memset(vm_page_address(m[i]), 'w', PAGE_SIZE);
        m[i]->valid = 1;
        vm_page_dirty(m[i]);
    }
    cr_assert_eq(object->pager->putpages(object, m, 70, done), VM_PAGER_OK);
    cr_assert(file_shows(BYTES(70), 0, BYTES(70), 'w'));
    free_pages(object, m, 70);
    vm_object_unref(object);
}

CHECKED_TEST(file_pager, neither_a_private_nor_a_read_only_object_writes_anything)
{
    const unsigned flags[] = { 0, FILE_PAGER_READ_ONLY, FILE_PAGER_SHARED | FILE_PAGER_READ_ONLY };

    fill_file(BYTES(2));
    for (unsigned i = 0; i < 3; i++) {
        struct vm_object *object = new_object(0, 2, flags[i]);
        struct vm_page *m[1];
        bool done[1] = { true };

        dirty_pages(object, 0, 1, m, 'w');
        cr_assert_eq(object->pager->putpages(object, m, 1, done), VM_PAGER_FAIL);
        cr_assert(!done[0] && m[0]->dirty);
        vm_mutex_lock(&object->lock);
        vm_page_wakeup(m[0]);
        vm_mutex_unlock(&object->lock);
        vm_object_unref(object);
        cr_assert(file_shows(BYTES(2), 0, 0, 0));
    }
}

CHECKED_TEST(file_pager, writing_the_last_page_does_not_make_the_file_longer)
{
    struct vm_object *object;
    struct vm_page *m[3];
    bool done[3];

    fill_file(BYTES(1) + 10);
    object = new_object(0, 3, FILE_PAGER_SHARED);
    dirty_pages(object, 0, 3, m, 'w');
    cr_assert_eq(object->pager->putpages(object, m, 3, done), VM_PAGER_ERROR);
    cr_assert(done[0] && done[1] && !done[2]);
    cr_assert(!m[0]->dirty && !m[1]->dirty && m[2]->dirty);
    cr_assert_eq(file_pager_error(object), -ENXIO);
    cr_assert(file_shows(BYTES(1) + 10, 0, BYTES(1) + 10, 'w'));
    free_pages(object, m, 3);
    vm_object_unref(object);
}

CHECKED_TEST(file_pager, partial_and_interrupted_writes_go_on)
{
    struct vm_object *object;
    struct vm_page *m[3];
    bool done[3];

    fill_file(BYTES(3));
    object = new_fake_object(3, FILE_PAGER_SHARED);
    fake.most = 1000;
    fake.interruptions = 1;
    dirty_pages(object, 0, 3, m, 'w');
    cr_assert_eq(object->pager->putpages(object, m, 3, done), VM_PAGER_OK);
    cr_assert(file_shows(BYTES(3), 0, BYTES(3), 'w'));
    free_pages(object, m, 3);
    vm_object_unref(object);
}

CHECKED_TEST(file_pager, a_page_that_cannot_be_written_stays_dirty_and_its_neighbours_are_written)
{
    struct vm_object *object;
    struct vm_page *m[4];
    bool done[4];

    fill_file(BYTES(4));
    object = new_fake_object(4, FILE_PAGER_SHARED);
    fake.bad = BYTES(1);
    dirty_pages(object, 0, 4, m, 'w');
    cr_assert_eq(object->pager->putpages(object, m, 4, done), VM_PAGER_ERROR);
    for (unsigned i = 0; i < 4; i++)
        cr_assert(done[i] == (i != 1) && m[i]->dirty == (i == 1));
    cr_assert_eq(file_pager_error(object), -EIO);
    free_pages(object, m, 4);
    vm_object_unref(object);
}

CHECKED_TEST(file_pager, a_write_that_moves_nothing_is_an_error_and_not_an_endless_loop)
{
    struct vm_object *object;
    struct vm_page *m[2];
    bool done[2];

    fill_file(BYTES(2));
    object = new_fake_object(2, FILE_PAGER_SHARED);
    fake.write_nothing = true;
    dirty_pages(object, 0, 2, m, 'w');
    cr_assert_eq(object->pager->putpages(object, m, 2, done), VM_PAGER_ERROR);
    cr_assert(!done[0] && !done[1] && m[0]->dirty && m[1]->dirty);
    cr_assert_eq(file_pager_error(object), -EIO);
    free_pages(object, m, 2);
    vm_object_unref(object);
}

/* Let dirty pages be ordinary resident ones. */
static void
wake_pages(struct vm_object *object, struct vm_page **m, unsigned count)
{
    vm_mutex_lock(&object->lock);
    for (unsigned i = 0; i < count; i++)
        vm_page_wakeup(m[i]);
    vm_mutex_unlock(&object->lock);
}

CHECKED_TEST(file_pager, the_end_of_a_shared_object_brings_its_dirty_pages_to_the_file)
{
    struct vm_object *object;
    struct vm_page *m[3];

    fill_file(BYTES(10));
    object = new_object(0, 10, FILE_PAGER_SHARED);
    dirty_pages(object, 4, 3, m, 'w');
    wake_pages(object, m, 3);
    vm_object_unref(object);
    cr_assert(file_shows(BYTES(10), BYTES(4), BYTES(7), 'w'));
}

CHECKED_TEST(file_pager, what_is_written_back_is_read_again)
{
    struct vm_object *object;
    struct vm_page *m[1];
    bool done[1];

    fill_file(BYTES(4));
    object = new_object(0, 4, FILE_PAGER_SHARED);
    dirty_pages(object, 1, 1, m, 'w');
    wake_pages(object, m, 1);
    cr_assert_eq(vm_object_page_clean(object), 0);
    vm_mutex_lock(&object->lock);
    vm_page_busy(m[0]);
    vm_mutex_unlock(&object->lock);
    free_pages(object, m, 1);
    busy_pages(object, 1, 1, m);
    cr_assert_eq(get(object, m, 1, 0, done), VM_PAGER_OK);
    cr_assert_eq(*(char *)vm_page_address(m[0]), 'w');
    free_pages(object, m, 1);
    vm_object_unref(object);
}

/* Writers count in shared pages through the direct map while others clean the object. */
#define WRITERS 3
#define WRITES 3000
#define SHARED_PAGES 8

static struct vm_object *shared;
static atomic_bool writers_done;

static void *
writer_main(void *context)
{
    unsigned seed = *(unsigned *)context;

    for (unsigned i = 0; i < WRITES; i++) {
        vm_pindex_t pindex = (vm_pindex_t)rand_r(&seed) % SHARED_PAGES;
        struct vm_page *m;

        vm_mutex_lock(&shared->lock);
        m = vm_page_lookup(shared, pindex);
        while (vm_page_flag_test(m, VM_PAGE_BUSY))
            vm_page_sleep_busy(shared, pindex);
        vm_page_busy(m);
        vm_mutex_unlock(&shared->lock);
        (*(unsigned *)vm_page_address(m))++;
        vm_page_dirty(m);
        vm_mutex_lock(&shared->lock);
        vm_page_wakeup(m);
        vm_mutex_unlock(&shared->lock);
    }
    return NULL;
}

static void *
cleaner_main(void *context)
{
    unsigned *failures = context;

    while (!atomic_load(&writers_done))
        *failures += vm_object_page_clean(shared) != 0;
    return NULL;
}

CHECKED_TEST(file_pager, what_is_written_while_the_object_is_cleaned_is_not_lost)
{
    unsigned seeds[WRITERS] = { 1, 2, 3 };
    struct vm_page *m[SHARED_PAGES];
    pthread_t threads[WRITERS + 1];
    unsigned failures = 0;
    unsigned sum = 0;

    cr_assert_eq(ftruncate(file, (off_t)BYTES(SHARED_PAGES)), 0);
    shared = new_object(0, SHARED_PAGES, FILE_PAGER_SHARED);
    dirty_pages(shared, 0, SHARED_PAGES, m, 0);
    wake_pages(shared, m, SHARED_PAGES);
    cr_assert_eq(pthread_create(&threads[WRITERS], NULL, cleaner_main, &failures), 0);
    for (unsigned i = 0; i < WRITERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, writer_main, &seeds[i]), 0);
    for (unsigned i = 0; i < WRITERS; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    atomic_store(&writers_done, true);
    cr_assert_eq(pthread_join(threads[WRITERS], NULL), 0);
    vm_object_unref(shared);
    for (unsigned i = 0; i < SHARED_PAGES; i++) {
        unsigned value = 0;

        cr_assert_eq(pread(file, &value, sizeof(value), (off_t)BYTES(i)), sizeof(value));
        sum += value;
    }
    cr_assert_eq(failures, 0);
    cr_assert_eq(sum, WRITERS * WRITES);
}

/* ---- Under faults. ---- */

static struct rig rig;

/* The file's first npages, shared, are the rig's RAM. */
static void
file_rig_init(uint64_t npages, unsigned flags)
{
    struct vm_object *object;

    rig_init_empty(&rig, 0);
    cr_assert_eq(file_pager_create(&rig.sys, file, 0, npages, flags, &object), 0);
    rig_map_ram(&rig, object, VM_PROT_ALL);
}

static uint64_t
pattern_word(uint64_t at)
{
    uint64_t word = 0;

    for (unsigned i = 0; i < 8; i++)
        word |= (uint64_t)pattern(at + i) << (8 * i);
    return word;
}

CHECKED_TEST(file_pager, a_guest_sees_an_io_error_beyond_the_files_end_and_zeros_in_its_last_page)
{
    fill_file(BYTES(2) + 16);
    file_rig_init(4, FILE_PAGER_SHARED);
    cr_assert_eq(rig_load(&rig, BYTES(2) + 8), pattern_word(BYTES(2) + 8));
    cr_assert_eq(rig_load(&rig, BYTES(2) + 16), 0);
    rig_expect_failure(&rig, BYTES(3), VM_PROT_READ, VM_IO_ERROR);
    rig_expect_failure(&rig, BYTES(3), VM_PROT_WRITE, VM_IO_ERROR);
    cr_assert_eq(ftruncate(file, (off_t)BYTES(4)), 0);
    cr_assert_eq(rig_load(&rig, BYTES(3)), 0);
    rig_fini(&rig);
}

CHECKED_TEST(file_pager, a_file_truncated_while_it_is_mapped_fails_new_pages_and_keeps_old_ones)
{
    fill_file(BYTES(64));
    file_rig_init(64, FILE_PAGER_SHARED);
    rig_store(&rig, BYTES(8), 7);
    cr_assert_eq(ftruncate(file, (off_t)BYTES(4)), 0);
    rig_expect_failure(&rig, BYTES(60), VM_PROT_READ, VM_IO_ERROR);
    cr_assert_eq(rig_load(&rig, BYTES(8)), 7);
    cr_assert_eq(vm_object_flush(rig.ram, 0, 64, 0), -EIO);
    cr_assert(rig_page(rig.ram, 8)->dirty);
    cr_assert_eq(file_pager_error(rig.ram), -ENXIO);
    cr_assert_eq(lseek(file, 0, SEEK_END), (off_t)BYTES(4), "the file did not grow");
    cr_assert_eq(rig_load(&rig, BYTES(2)), pattern_word(BYTES(2)));
    rig_fini(&rig);
}

/* ---- Flush. ---- */

static uint64_t
file_word(uint64_t at)
{
    uint64_t word = 0;

    cr_assert_eq(pread(file, &word, sizeof word, (off_t)at), (ssize_t)sizeof word);
    return word;
}

CHECKED_TEST(file_pager, a_flush_writes_the_dirty_pages_of_its_range_and_no_others)
{
    fill_file(BYTES(64));
    file_rig_init(64, FILE_PAGER_SHARED);
    for (unsigned p = 8; p < 48; p += 2)
        rig_store(&rig, BYTES(p), p);
    cr_assert_eq(vm_object_flush(rig.ram, 10, 41, 0), 0);
    for (unsigned p = 8; p < 48; p += 2) {
        bool inside = p >= 10 && p < 41;

        cr_assert_eq(file_word(BYTES(p)), inside ? p : pattern_word(BYTES(p)));
        cr_assert_eq(rig_page(rig.ram, p)->dirty, !inside);
        cr_assert_eq(rig_mapped(&rig, BYTES(p)), inside ? VM_PROT_READ : VM_PROT_RW);
    }
    cr_assert_eq(rig_meter(&rig, v_pageout), 16);
    cr_assert_eq(vm_object_flush(rig.ram, 60, UINT64_MAX, 0), 0);
    cr_assert_eq(vm_object_flush(rig.ram, 20, 20, 0), 0);
    cr_assert_eq(vm_object_flush(rig.ram, 100, 200, 0), 0);
    cr_assert_eq(rig_meter(&rig, v_pageout), 16);

    /* A page written again after the flush is dirty again. */
    rig_store(&rig, BYTES(10), 99);
    cr_assert_eq(vm_object_flush(rig.ram, 0, 64, 0), 0);
    cr_assert_eq(file_word(BYTES(10)), 99);
    cr_assert_eq(rig_meter(&rig, v_pageout), 16 + 4 + 1);
    rig_fini(&rig);
}

CHECKED_TEST(file_pager, a_flush_leaves_nosync_pages_unless_it_is_forced)
{
    fill_file(BYTES(8));
    file_rig_init(8, FILE_PAGER_SHARED);
    rig_entry(&rig, 0)->eflags |= MAP_ENTRY_NOSYNC;
    rig_store(&rig, BYTES(1), 1);
    rig_store(&rig, BYTES(2), 2);
    rig_entry(&rig, 0)->eflags &= ~(unsigned)MAP_ENTRY_NOSYNC;
    rig_store(&rig, BYTES(3), 3);
    cr_assert_eq(vm_object_flush(rig.ram, 0, 8, 0), 0);
    cr_assert_eq(file_word(BYTES(1)), pattern_word(BYTES(1)));
    cr_assert_eq(file_word(BYTES(3)), 3);
    cr_assert(rig_page(rig.ram, 1)->dirty && rig_page(rig.ram, 2)->dirty);
    cr_assert_eq(vm_object_flush(rig.ram, 0, 2, VM_FLUSH_FORCE), 0);
    cr_assert_eq(file_word(BYTES(1)), 1);
    cr_assert_eq(file_word(BYTES(2)), pattern_word(BYTES(2)));
    rig_fini(&rig);
    cr_assert_eq(file_word(BYTES(2)), 2, "the object's end writes them too");
}

CHECKED_TEST(file_pager, a_private_object_has_nothing_to_flush)
{
    fill_file(BYTES(8));
    file_rig_init(8, 0);
    rig_store(&rig, BYTES(1), 1);
    cr_assert_eq(vm_object_flush(rig.ram, 0, 8, VM_FLUSH_FORCE), 0);
    cr_assert(rig_page(rig.ram, 1)->dirty);
    rig_fini(&rig);
    cr_assert_eq(file_word(BYTES(1)), pattern_word(BYTES(1)));
}

static unsigned lost_reports;

static void
count_report(void *context, const char *message)
{
    cr_assert(context == &lost_reports && message != NULL);
    lost_reports++;
}

/* Files must not grow, or be written, beyond the limit: as a full disk behaves. */
static ssize_t
write_full(int fd, const struct iovec *iov, int count, off_t offset)
{
    (void)fd;
    (void)iov;
    (void)count;
    if (offset >= (off_t)BYTES(2)) {
        errno = ENOSPC;
        return -1;
    }
    return pwritev(fd, iov, 1, offset) > 0 ? (ssize_t)PAGE_SIZE : -1;
}

static off_t
size_of(int fd)
{
    return lseek(fd, 0, SEEK_END);
}

CHECKED_TEST(file_pager, what_a_full_disk_refuses_stays_dirty_is_counted_and_its_loss_is_told)
{
    static const struct file_pager_io full = { preadv, write_full, size_of };
    struct vm_object *object;

    fill_file(BYTES(8));
    rig_init_empty(&rig, 0);
    rig.sys.pageout_error = count_report;
    rig.sys.pageout_error_context = &lost_reports;
    cr_assert_eq(file_pager_create_io(&rig.sys, file, 0, 8, FILE_PAGER_SHARED, &full, &object), 0);
    rig_map_ram(&rig, object, VM_PROT_ALL);
    for (unsigned p = 0; p < 8; p += 2)
        rig_store(&rig, BYTES(p), p + 1);
    cr_assert_eq(vm_object_flush(object, 0, 8, 0), -EIO);
    cr_assert_eq(file_pager_error(object), -ENOSPC);
    cr_assert_eq(file_word(0), 1);
    for (unsigned p = 0; p < 8; p += 2)
        cr_assert_eq(rig_page(object, p)->dirty, p >= 2);
    cr_assert_eq(rig_meter(&rig, v_pageout), 1);
    cr_assert_eq(rig_meter(&rig, v_pageout_failed), 3);
    cr_assert_eq(rig_load(&rig, BYTES(2)), 3, "nothing is lost yet");
    cr_assert_eq(lost_reports, 0);
    rig_fini(&rig);
    cr_assert_eq(lost_reports, 1);
}

static void *
flush_main(void *context)
{
    int *error = context;

    *error = vm_object_flush(rig.ram, 0, 8, 0);
    return NULL;
}

CHECKED_TEST(file_pager, a_flush_waits_for_a_page_that_is_held_for_writing)
{
    struct vm_fault_info info;
    struct vm_page *m;
    pthread_t thread;
    int error = 1;

    fill_file(BYTES(8));
    file_rig_init(8, FILE_PAGER_SHARED);
    rig_store(&rig, 0, 76); /* a neighbour, which is not */
    cr_assert_eq(vm_fault_page(&rig.map, gpa_from_u64(BYTES(1)), VM_PROT_WRITE, VM_FAULT_NORMAL, &m,
                               &info),
                 VM_OK);
    cr_assert_eq(pthread_create(&thread, NULL, flush_main, &error), 0);
    rig_until(vm_page_flag_test(m, VM_PAGE_WANTED));
    *(uint64_t *)vm_page_address(m) = 77;
    vm_page_unhold(m);
    pthread_join(thread, NULL);
    cr_assert_eq(error, 0);
    cr_assert_eq(file_word(BYTES(1)), 77);
    rig_fini(&rig);
}

static atomic_bool flusher_stops;

static void *
flusher_main(void *context)
{
    unsigned *failures = context;

    while (!atomic_load(&flusher_stops))
        *failures += vm_object_flush(rig.ram, 0, 64, 0) != 0;
    return NULL;
}

CHECKED_TEST(file_pager, a_guests_writes_during_flushes_all_reach_the_file)
{
    unsigned failures = 0;
    pthread_t thread;

    fill_file(BYTES(64));
    file_rig_init(64, FILE_PAGER_SHARED);
    cr_assert_eq(pthread_create(&thread, NULL, flusher_main, &failures), 0);
    for (uint64_t i = 0; i < 4000; i++)
        rig_store(&rig, BYTES(i * 7 % 64), i);
    atomic_store(&flusher_stops, true);
    pthread_join(thread, NULL);
    cr_assert_eq(failures, 0);
    rig_fini(&rig);
    for (uint64_t i = 4000 - 64; i < 4000; i++)
        cr_assert_eq(file_word(BYTES(i * 7 % 64)), i);
}
