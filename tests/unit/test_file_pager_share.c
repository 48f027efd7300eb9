/* SPDX-License-Identifier: BSD-2-Clause */
/* One file is one object, whoever maps it: what each then sees of the others, and its end. */
#include "tests/unit/alloc_failure.h"
#include "tests/unit/file_pager_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHARED_RO (FILE_PAGER_SHARED | FILE_PAGER_READ_ONLY)

/* --- Which object -------------------------------------------------------- */

/* An object for the file by a descriptor that can do no more than the flags need. */
static struct vm_object *
again(uint64_t offset, uint64_t npages, unsigned flags)
{
    int fd = reopen(flags == FILE_PAGER_SHARED ? O_RDWR : O_RDONLY);
    struct vm_object *object = NULL;

    cr_assert_eq(file_pager_create(&sys, fd, offset, npages, flags, &object), 0);
    close(fd);
    return object;
}

CHECKED_TEST(file_pager, a_file_has_one_object_whatever_it_is_mapped_for)
{
    const unsigned flags[] = { 0, FILE_PAGER_SHARED, FILE_PAGER_READ_ONLY, SHARED_RO };

    fill_file(BYTES(4));
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned j = 0; j < 4; j++) {
            struct vm_object *first = again(0, 4, flags[i]), *second = again(0, 4, flags[j]);

            cr_assert_eq(first, second);
            cr_assert_eq(first->ref_count, 2);
            vm_object_unref(first);
            cr_assert_eq(second->ref_count, 1);
            vm_object_unref(second);
        }
    }
}

CHECKED_TEST(file_pager, another_file_or_another_beginning_is_another_object)
{
    int other = memfd_create("other", MFD_CLOEXEC);
    struct vm_object *first, *second, *third;

    fill_file(BYTES(4));
    cr_assert_eq(ftruncate(other, BYTES(4)), 0);
    first = again(0, 2, FILE_PAGER_SHARED);
    second = again(BYTES(1), 2, FILE_PAGER_SHARED);
    cr_assert_eq(file_pager_create(&sys, other, 0, 2, 0, &third), 0);
    cr_assert(first != second && first != third && second != third);
    vm_object_unref(first);
    vm_object_unref(second);
    vm_object_unref(third);
    close(other);
}

CHECKED_TEST(file_pager, a_system_of_its_own_has_an_object_of_its_own)
{
    const struct vm_system_config config = { .store_pages = STORE };
    struct vm_object *first, *second;
    struct vm_system two;

    fill_file(BYTES(1));
    cr_assert_eq(vm_system_init(&two, &config), 0);
    first = new_object(0, 1, 0);
    cr_assert_eq(file_pager_create(&two, file, 0, 1, 0, &second), 0);
    cr_assert_neq(first, second);
    vm_object_unref(first);
    vm_object_unref(second);
    vm_system_fini(&two);
}

CHECKED_TEST(file_pager, when_nobody_maps_the_file_any_more_it_is_read_anew)
{
    struct vm_object *object = NULL;
    struct vm_page *m[1];
    bool done[1];

    for (unsigned round = 0; round < 3; round++) {
        char byte = (char)('a' + round);

        cr_assert_eq(pwrite(file, &byte, 1, 0), 1);
        object = new_object(0, 1, FILE_PAGER_SHARED);
        busy_pages(object, 0, 1, m);
        cr_assert_eq(get(object, m, 1, 0, done), VM_PAGER_OK);
        cr_assert_eq(*(char *)vm_page_address(m[0]), byte);
        free_pages(object, m, 1);
        vm_object_unref(object);
    }
}

/* --- How large it is ----------------------------------------------------- */

CHECKED_TEST(file_pager, a_small_mapping_makes_room_for_all_of_the_file)
{
    struct vm_object *first, *second;

    fill_file(BYTES(40) + 1);
    first = again(0, 2, FILE_PAGER_SHARED);
    second = again(0, 41, FILE_PAGER_SHARED);
    cr_assert_eq(first, second);
    cr_assert_eq(first->size, 41);
    vm_object_unref(first);
    vm_object_unref(second);
}

CHECKED_TEST(file_pager, a_mapping_beyond_the_object_and_the_file_is_refused)
{
    struct vm_object *first, *second = NULL;

    fill_file(BYTES(4));
    first = again(0, 8, FILE_PAGER_SHARED);
    cr_assert_eq(file_pager_create(&sys, file, 0, 9, 0, &second), -EFBIG);
    cr_assert_null(second);
    cr_assert_eq(first->ref_count, 1);
    vm_object_unref(first);
    second = again(0, 9, 0);
    vm_object_unref(second);
}

CHECKED_TEST(file_pager, a_very_large_file_reserves_no_more_than_is_asked_for)
{
    struct vm_object *object;

    cr_assert_eq(ftruncate(file, BYTES(STORE)), 0);
    object = new_object(0, 3, 0);
    cr_assert_eq(object->size, 3);
    vm_object_unref(object);
}

CHECKED_TEST(file_pager, where_the_whole_file_does_not_fit_what_is_asked_for_may)
{
    struct vm_object *rest[5], *object;

    cr_assert_eq(ftruncate(file, BYTES(STORE / 16)), 0);
    for (unsigned i = 0; i < 5; i++) /* leave 1/32 of the store */
        cr_assert_eq(vm_object_create_default(&sys, STORE >> (i + 1), &rest[i]), 0);
    object = new_object(0, 3, 0);
    cr_assert_eq(object->size, 3);
    vm_object_unref(object);
    for (unsigned i = 0; i < 5; i++)
        vm_object_unref(rest[i]);
}

/* --- Who writes ---------------------------------------------------------- */

/* Make page 0 dirty, full of `tag`. */
static void
dirty_page(struct vm_object *object, int tag)
{
    struct vm_page *m;

    busy_pages(object, 0, 1, &m);
    memset(vm_page_address(m), tag, PAGE_SIZE);
    vm_page_flag_clear(m, VM_PAGE_ZERO);
    m->valid = 1;
    vm_page_dirty(m);
    vm_mutex_lock(&object->lock);
    vm_page_wakeup(m);
    vm_mutex_unlock(&object->lock);
}

static int
first_byte(void)
{
    uint8_t byte;

    cr_assert_eq(pread(file, &byte, 1, 0), 1);
    return byte;
}

CHECKED_TEST(file_pager, whoever_came_first_a_writer_has_its_pages_written_back)
{
    const unsigned flags[] = { 0, FILE_PAGER_READ_ONLY, SHARED_RO, FILE_PAGER_SHARED };

    fill_file(BYTES(1));
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned first = 0; first < 2; first++) {
            struct vm_object *o[2];

            o[0] = again(0, 1, first == 0 ? FILE_PAGER_SHARED : flags[i]);
            o[1] = again(0, 1, first == 0 ? flags[i] : FILE_PAGER_SHARED);
            dirty_page(o[0], 'a' + (int)i);
            cr_assert_eq(vm_object_page_clean(o[0]), 0);
            cr_assert_eq(first_byte(), 'a' + (int)i);
            vm_object_unref(o[0]);
            vm_object_unref(o[1]);
        }
    }
}

/* An overlay file system copies the file when it is opened for writing: two files of one inode. */
static int old_file;

static ssize_t
overlay_read(int fd, const struct iovec *iov, int count, off_t offset)
{
    return preadv((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR ? fd : old_file, iov, count, offset);
}

static const struct file_pager_io overlay_io = {
    .read = overlay_read,
    .write = pwritev,
    .size = fake_size,
};

CHECKED_TEST(file_pager, when_there_is_a_writer_its_descriptor_is_the_one_to_read_with)
{
    struct vm_object *reader, *writer;
    struct vm_page *m[1];
    bool done[1];
    int fd;

    memset(&fake, 0, sizeof(fake));
    old_file = memfd_create("old", MFD_CLOEXEC);
    cr_assert_eq(pwrite(old_file, "old", 4, 0), 4);
    fill_file(BYTES(1));
    fd = reopen(O_RDONLY);
    cr_assert_eq(file_pager_create_io(&sys, fd, 0, 1, 0, &overlay_io, &reader), 0);
    close(fd);
    cr_assert_eq(file_pager_create_io(&sys, file, 0, 1, FILE_PAGER_SHARED, &overlay_io, &writer),
                 0);
    cr_assert_eq(pwrite(file, "new", 4, 0), 4);
    busy_pages(reader, 0, 1, m);
    cr_assert_eq(get(reader, m, 1, 0, done), VM_PAGER_OK);
    cr_assert_str_eq(vm_page_address(m[0]), "new");
    free_pages(reader, m, 1);
    vm_object_unref(reader);
    vm_object_unref(writer);
    close(old_file);
}

CHECKED_TEST(file_pager, what_a_writer_left_is_written_back_when_only_readers_are_left)
{
    struct vm_object *writer, *reader;

    fill_file(BYTES(1));
    reader = again(0, 1, SHARED_RO);
    writer = again(0, 1, FILE_PAGER_SHARED);
    dirty_page(writer, 'w');
    vm_object_unref(writer);
    cr_assert_neq(first_byte(), 'w');
    vm_object_unref(reader);
    cr_assert_eq(first_byte(), 'w');
}

CHECKED_TEST(file_pager, a_second_mapping_that_fails_leaves_the_first_as_it_was)
{
    struct vm_object *first, *second = NULL;
    int64_t live;
    int fd;

    fill_file(BYTES(1));
    first = again(0, 1, SHARED_RO);
    live = alloc_failure_live();
    fd = reopen(O_RDONLY);
    cr_assert_eq(file_pager_create(&sys, fd, 0, 1, FILE_PAGER_SHARED, &second), -EACCES);
    close(fd);
    alloc_failure_set(1);
    cr_assert_eq(file_pager_create(&sys, file, 0, 1, FILE_PAGER_SHARED, &second), -ENOMEM);
    cr_assert(second == NULL && first->ref_count == 1 && first->flags == 0);
    cr_assert_eq(alloc_failure_live(), live);
    vm_object_unref(first);
}

/* --- Its end ------------------------------------------------------------- */

static _Atomic bool write_waits, write_began;

static ssize_t
slow_write(int fd, const struct iovec *iov, int count, off_t offset)
{
    write_began = true;
    while (write_waits)
        sched_yield();
    return pwritev(fd, iov, count, offset);
}

static const struct file_pager_io slow_io = {
    .read = preadv,
    .write = slow_write,
    .size = fake_size,
};

static void *
unref_thread(void *object)
{
    vm_object_unref(object);
    return NULL;
}

static _Atomic bool mapped;

static void *
map_thread(void *to)
{
    struct vm_object **objectp = to;

    cr_assert_eq(file_pager_create_io(&sys, file, 0, 1, FILE_PAGER_SHARED, &slow_io, objectp), 0);
    mapped = true;
    return NULL;
}

CHECKED_TEST(file_pager, who_maps_a_file_whose_object_is_ending_waits_until_it_is_written_back)
{
    struct vm_object *old = NULL, *new = NULL;
    pthread_t ending, mapping;
    struct vm_page *m[1];
    bool done[1];

    memset(&fake, 0, sizeof(fake));
    fill_file(BYTES(1));
    write_waits = true;
    cr_assert_eq(file_pager_create_io(&sys, file, 0, 1, FILE_PAGER_SHARED, &slow_io, &old), 0);
    dirty_page(old, 'w');
    cr_assert_eq(pthread_create(&ending, NULL, unref_thread, old), 0);
    while (!write_began)
        sched_yield();
    cr_assert_eq(pthread_create(&mapping, NULL, map_thread, &new), 0);
    usleep(20000);
    cr_assert(!mapped);
    write_waits = false;
    pthread_join(ending, NULL);
    pthread_join(mapping, NULL);
    busy_pages(new, 0, 1, m);
    cr_assert_eq(get(new, m, 1, 0, done), VM_PAGER_OK);
    cr_assert_eq(*(char *)vm_page_address(m[0]), 'w');
    free_pages(new, m, 1);
    vm_object_unref(new);
}

static void *
map_and_unmap(void *argument)
{
    const unsigned flags[] = { 0, FILE_PAGER_SHARED, SHARED_RO };

    (void)argument;
    for (unsigned i = 0; i < 2000; i++) {
        struct vm_object *object = NULL;

        cr_assert_eq(file_pager_create(&sys, file, 0, 1 + i % 4, flags[i % 3], &object), 0);
        cr_assert_geq(object->size, 4);
        vm_object_unref(object);
    }
    return NULL;
}

CHECKED_TEST(file_pager, threads_that_map_and_unmap_one_file_do_not_get_in_each_others_way)
{
    pthread_t threads[3];

    fill_file(BYTES(4));
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, map_and_unmap, NULL), 0);
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    cr_assert(LIST_EMPTY(&sys.files));
}

/* --- What guests see of each other --------------------------------------- */

/* A VM of the system that has the file at 0. */
struct view {
    struct fake_pmap fake;
    struct pmap pmap;
    struct vm_map map;
};

static void
view_init(struct view *view, unsigned flags)
{
    bool is_private = flags == 0;
    struct vm_object *object = again(0, 4, flags);
    vm_prot_t prot = (flags & FILE_PAGER_READ_ONLY) != 0 ? VM_PROT_READ : VM_PROT_ALL;
    struct vm_map_insert args = { .end = gpa_from_u64(BYTES(4)),
                                  .maptype = VM_MAPTYPE_NORMAL,
                                  .protection = prot,
                                  .max_protection = prot };
    vm_pindex_t offset = 0;

    if (is_private)
        cr_assert_eq(vm_object_shadow(&object, &offset, 4), 0);
    args.object = object;
    fake_pmap_init(&view->fake);
    cr_assert_eq(pmap_init(&view->pmap, &sys, &fake_pmap_ops, &view->fake), 0);
    vm_map_init(&view->map, &sys, &view->pmap);
    cr_assert_eq(vm_map_insert(&view->map, &args), 0);
}

static void
view_fini(struct view *view)
{
    fake_pmap_audit(&view->fake);
    vm_map_fini(&view->map);
    pmap_fini(&view->pmap);
    fake_pmap_fini(&view->fake);
}

static void
view_fault(struct view *view, uint64_t gpa, vm_prot_t access)
{
    struct vm_fault_info info;

    cr_assert_eq(vm_fault(&view->map, gpa_from_u64(gpa), access, VM_FAULT_BURST, &info), VM_OK);
}

static uint64_t
view_load(struct view *view, uint64_t gpa)
{
    uint64_t value;

    while (!fake_guest_load(&view->fake, gpa_from_u64(gpa), &value))
        view_fault(view, gpa, VM_PROT_READ);
    return value;
}

static void
view_store(struct view *view, uint64_t gpa, uint64_t value)
{
    while (!fake_guest_store(&view->fake, gpa_from_u64(gpa), value))
        view_fault(view, gpa, VM_PROT_WRITE);
}

static uint64_t
file_word(uint64_t at)
{
    uint64_t word;

    cr_assert_eq(pread(file, &word, sizeof(word), (off_t)at), sizeof(word));
    return word;
}

CHECKED_TEST(file_pager, what_one_vm_writes_to_a_shared_file_the_others_see_at_once)
{
    struct view writer, other, reader;

    fill_file(BYTES(4));
    view_init(&reader, SHARED_RO);
    view_init(&writer, FILE_PAGER_SHARED);
    view_init(&other, FILE_PAGER_SHARED);
    for (uint64_t at = 0; at < BYTES(4); at += BYTES(1)) {
        cr_assert_eq(view_load(&reader, at), file_word(at), "mapped before it is written");
        view_store(&writer, at, at + 1);
        cr_assert_eq(view_load(&reader, at), at + 1);
        view_store(&other, at, at + 2);
        cr_assert_eq(view_load(&writer, at), at + 2);
        cr_assert_eq(view_load(&reader, at), at + 2);
        cr_assert_neq(file_word(at), at + 2, "without a write-back");
    }
    view_fini(&writer);
    view_fini(&other);
    cr_assert_eq(view_load(&reader, BYTES(1)), BYTES(1) + 2, "the writers are gone");
    view_fini(&reader);
    cr_assert_eq(file_word(BYTES(1)), BYTES(1) + 2);
}

CHECKED_TEST(file_pager, a_private_mapping_shows_what_others_write_until_it_writes_itself)
{
    struct view writer, private;

    fill_file(BYTES(4));
    view_init(&private, 0);
    view_init(&writer, FILE_PAGER_SHARED);
    view_store(&writer, 0, 1);
    cr_assert_eq(view_load(&private, 0), 1);
    view_store(&private, 0, 2);
    cr_assert_eq(view_load(&writer, 0), 1, "its own is nobody else's");
    view_store(&writer, 0, 3);
    cr_assert_eq(view_load(&private, 0), 2);
    cr_assert_eq(view_load(&writer, 0), 3);
    view_store(&private, BYTES(1), 4);
    view_fini(&private);
    cr_assert_neq(view_load(&writer, BYTES(1)), 4);
    view_fini(&writer);
    cr_assert_eq(file_word(0), 3);
}

CHECKED_TEST(file_pager, a_page_that_was_written_back_is_seen_to_be_written_again)
{
    struct view writer, other;

    fill_file(BYTES(4));
    view_init(&writer, FILE_PAGER_SHARED);
    view_init(&other, FILE_PAGER_SHARED);
    for (uint64_t value = 1; value < 5; value++) {
        struct vm_object *object = again(0, 4, FILE_PAGER_SHARED);

        view_store(value % 2 != 0 ? &writer : &other, 8, value);
        cr_assert_eq(vm_object_page_clean(object), 0);
        cr_assert_eq(file_word(8), value);
        vm_object_unref(object);
    }
    view_fini(&writer);
    view_fini(&other);
}
