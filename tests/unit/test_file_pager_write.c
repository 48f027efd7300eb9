/* SPDX-License-Identifier: BSD-2-Clause */
/* The file pager under writes: write-back, files that change while they are mapped, flushes. */
#include "tests/unit/file_pager_rig.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
            vm_page_sleep_busy(shared, pindex, NULL);
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

/* --- Under faults -------------------------------------------------------- */

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
    cr_assert_eq(vm_object_flush(rig.ram, 0, 64, 0, NULL), -EIO);
    cr_assert(rig_page(rig.ram, 8)->dirty);
    cr_assert_eq(file_pager_error(rig.ram), -ENXIO);
    cr_assert_eq(lseek(file, 0, SEEK_END), (off_t)BYTES(4), "the file did not grow");
    cr_assert_eq(rig_load(&rig, BYTES(2)), pattern_word(BYTES(2)));
    rig_fini(&rig);
}

/* --- Flush --------------------------------------------------------------- */

static uint64_t
file_word(uint64_t at)
{
    uint64_t word = 0;

    cr_assert_eq(pread(file, &word, sizeof(word), (off_t)at), (ssize_t)sizeof(word));
    return word;
}

CHECKED_TEST(file_pager, a_flush_writes_the_dirty_pages_of_its_range_and_no_others)
{
    fill_file(BYTES(64));
    file_rig_init(64, FILE_PAGER_SHARED);
    for (unsigned p = 8; p < 48; p += 2)
        rig_store(&rig, BYTES(p), p);
    cr_assert_eq(vm_object_flush(rig.ram, 10, 41, 0, NULL), 0);
    for (unsigned p = 8; p < 48; p += 2) {
        bool inside = p >= 10 && p < 41;

        cr_assert_eq(file_word(BYTES(p)), inside ? p : pattern_word(BYTES(p)));
        cr_assert_eq(rig_page(rig.ram, p)->dirty, !inside);
        cr_assert_eq(rig_mapped(&rig, BYTES(p)), inside ? VM_PROT_READ : VM_PROT_RW);
    }
    cr_assert_eq(rig_system_meter(&rig, v_pageout), 16);
    cr_assert_eq(vm_object_flush(rig.ram, 60, UINT64_MAX, 0, NULL), 0);
    cr_assert_eq(vm_object_flush(rig.ram, 20, 20, 0, NULL), 0);
    cr_assert_eq(vm_object_flush(rig.ram, 100, 200, 0, NULL), 0);
    cr_assert_eq(rig_system_meter(&rig, v_pageout), 16);

    /* A page written again after the flush is dirty again. */
    rig_store(&rig, BYTES(10), 99);
    cr_assert_eq(vm_object_flush(rig.ram, 0, 64, 0, NULL), 0);
    cr_assert_eq(file_word(BYTES(10)), 99);
    cr_assert_eq(rig_system_meter(&rig, v_pageout), 16 + 4 + 1);
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
    cr_assert_eq(vm_object_flush(rig.ram, 0, 8, 0, NULL), 0);
    cr_assert_eq(file_word(BYTES(1)), pattern_word(BYTES(1)));
    cr_assert_eq(file_word(BYTES(3)), 3);
    cr_assert(rig_page(rig.ram, 1)->dirty && rig_page(rig.ram, 2)->dirty);
    cr_assert_eq(vm_object_flush(rig.ram, 0, 2, VM_FLUSH_FORCE, NULL), 0);
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
    cr_assert_eq(vm_object_flush(rig.ram, 0, 8, VM_FLUSH_FORCE, NULL), 0);
    cr_assert(rig_page(rig.ram, 1)->dirty);
    rig_fini(&rig);
    cr_assert_eq(file_word(BYTES(1)), pattern_word(BYTES(1)));
}

static unsigned lost_reports;

static void
count_report(void *context, const char *message, int error)
{
    cr_assert(context == &lost_reports && message != NULL);
    cr_assert_eq(error, -ENOSPC);
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
    cr_assert_eq(vm_object_flush(object, 0, 8, 0, NULL), -EIO);
    cr_assert_eq(file_pager_error(object), -ENOSPC);
    cr_assert_eq(file_word(0), 1);
    for (unsigned p = 0; p < 8; p += 2)
        cr_assert_eq(rig_page(object, p)->dirty, p >= 2);
    cr_assert_eq(rig_system_meter(&rig, v_pageout), 1);
    cr_assert_eq(rig_system_meter(&rig, v_pageout_failed), 3);
    cr_assert_eq(rig_load(&rig, BYTES(2)), 3, "nothing is lost yet");
    cr_assert_eq(lost_reports, 0);
    rig_fini(&rig);
    cr_assert_eq(lost_reports, 1);
}

static void *
flush_main(void *context)
{
    int *error = context;

    *error = vm_object_flush(rig.ram, 0, 8, 0, NULL);
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
        *failures += vm_object_flush(rig.ram, 0, 64, 0, NULL) != 0;
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
