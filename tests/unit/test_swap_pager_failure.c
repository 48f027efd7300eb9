/* SPDX-License-Identifier: BSD-2-Clause */
/* The swap pager: what fails in it, and collapse. */
#include "tests/unit/alloc_failure.h"
#include "tests/unit/swap_pager_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* --- Failures ------------------------------------------------------------ */

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
    cr_assert_eq(swap_device_error(device), -ENODATA);
}

/* --- What comes back is not what was written ----------------------------- */

static unsigned told;
static char told_line[1024];

static void
take_loss(void *context, const char *line)
{
    cr_assert(context == &told);
    told++;
    snprintf(told_line, sizeof(told_line), "%s", line);
}

/* Objects' pages 50 to 53 lie in slots 0 to 3. */
static void
swap_out_told(void)
{
    told = 0;
    swap_device_on_loss(device, take_loss, &told);
    swap_out(object, 50, 4);
}

static void
expect_told(const char *offset, const char *cause)
{
    cr_assert_eq(told, 1);
    cr_assert_not_null(strstr(told_line, path), "%s", told_line);
    cr_assert_not_null(strstr(told_line, offset), "%s", told_line);
    cr_assert_not_null(strstr(told_line, cause), "%s", told_line);
    told = 0;
}

static void
write_file(const void *bytes, size_t size, uint64_t at)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    cr_assert_eq(pwrite(fd, bytes, size, (off_t)at), (ssize_t)size);
    close(fd);
}

CHECKED_TEST(swap_pager, one_bit_that_rotted_is_noticed_and_fails_its_page_alone)
{
    const uint64_t bits[] = { 0, 7, 8 * 1000, 8 * PAGE_SIZE - 1 };

    swap_out_told();
    for (unsigned i = 0; i < 4; i++) {
        uint8_t byte, rotten;
        uint64_t at = 2 * PAGE_SIZE + bits[i] / 8;
        bool done[4];
        int fd = open(path, O_RDONLY | O_CLOEXEC);

        cr_assert_eq(pread(fd, &byte, 1, (off_t)at), 1);
        close(fd);
        rotten = (uint8_t)(byte ^ 1U << bits[i] % 8);
        write_file(&rotten, 1, at);
        cr_assert_eq(get(object, 50, 4, 0, done), VM_PAGER_OK);
        cr_assert(done[0] && done[1] && !done[2] && done[3]);
        cr_assert_eq(told, 0, "nobody needs it");
        cr_assert_eq(get(object, 50, 4, 2, done), VM_PAGER_ERROR);
        cr_assert_eq(swap_device_error(device), -EBADMSG);
        if (i == 0)
            expect_told(" 8192 ", "not what was written");
        write_file(&byte, 1, at);
        cr_assert_eq(get(object, 50, 4, 2, done), VM_PAGER_OK, "its slot was kept");
    }
}

CHECKED_TEST(swap_pager, pages_in_each_others_slots_are_noticed)
{
    uint64_t words[2][512];
    bool done[4];
    int fd;

    swap_out_told();
    fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_eq(pread(fd, words, sizeof(words), PAGE_SIZE), (ssize_t)sizeof(words));
    close(fd);
    write_file(words[1], PAGE_SIZE, PAGE_SIZE);
    write_file(words[0], PAGE_SIZE, 2 * PAGE_SIZE);
    cr_assert_eq(get(object, 50, 4, 1, done), VM_PAGER_ERROR);
    cr_assert(done[0] && !done[1] && !done[2] && done[3]);
}

CHECKED_TEST(swap_pager, what_a_truncated_file_has_when_it_grew_again_is_noticed)
{
    bool done[4];

    swap_out_told();
    cr_assert_eq(truncate(path, 0), 0);
    cr_assert_eq(truncate(path, SLOTS * (off_t)PAGE_SIZE), 0);
    cr_assert_eq(get(object, 50, 4, 1, done), VM_PAGER_ERROR);
    cr_assert(!done[0] && !done[1] && !done[2] && !done[3]);
    expect_told(" 4096 ", "not what was written");
}

CHECKED_TEST(swap_pager, a_page_of_zeros_is_known_by_its_sum_too)
{
    struct vm_page *m = make_page(object, 50, 0);
    bool done[1];

    memset(vm_page_address(m), 0, PAGE_SIZE);
    cr_assert_eq(object->pager->putpages(object, &m, 1, done), VM_PAGER_OK);
    write_file("x", 1, 100);
    cr_assert_eq(object->pager->getpages(object, &m, 1, 0, done), VM_PAGER_ERROR);
    free_page(m);
}

CHECKED_TEST(swap_pager, the_line_about_a_loss_names_file_offset_and_cause)
{
    bool done[4];

    swap_out_told();
    io.error = EIO;
    cr_assert_eq(get(object, 50, 4, 3, done), VM_PAGER_ERROR);
    expect_told(" 12288 ", "Input/output error");
    cr_assert_eq(get(object, 50, 4, 3, done), VM_PAGER_ERROR);
    cr_assert_eq(told, 0, "the same again");
    io.error = 0;
    cr_assert_eq(truncate(path, 0), 0);
    cr_assert_eq(get(object, 50, 4, 3, done), VM_PAGER_ERROR);
    expect_told(" 12288 ", "ends before it");
}

CHECKED_TEST(swap_pager, a_guest_that_goes_on_with_losses_does_not_flood_the_host)
{
    bool done[4];

    swap_out_told();
    io.error = EIO;
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(get(object, 50, 4, i % 4, done), VM_PAGER_ERROR);
    cr_assert_eq(told, SWAP_LOSSES_TOLD);
    cr_assert_not_null(strstr(told_line, "only counted"));
}

CHECKED_TEST(swap_pager, the_memory_for_sums_follows_what_is_in_swap)
{
    int64_t before;

    swap_pager_teardown();
    make_path();
    cr_assert_eq(vm_system_init(&sys, &(struct vm_system_config){ .store_pages = 1 << 16 }), 0);
    cr_assert_eq(swap_device_open_io(path, 1 << 20, &test_io, &device), 0);
    swap_device_attach(device, &sys);
    object = swap_object(PAGES);
    swap_out(object, 0, 1);
    unswap(object, 0, 1);
    before = alloc_failure_live();
    for (unsigned p = 0; p < 2048; p += 64)
        swap_out(object, p, 64);
    /* The index, and sums for 256 slots at a time; the first slot was not the chunk's. */
    cr_assert_eq(alloc_failure_live() - before, 2048 / 16 + 2048 / 256 + 1);
    unswap(object, 0, 2048);
    cr_assert_eq(alloc_failure_live(), before);
}

CHECKED_TEST(swap_pager, without_memory_for_sums_a_page_stays_dirty)
{
    struct vm_page *m[4];
    bool done[4];

    for (unsigned i = 0; i < 4; i++)
        m[i] = make_page(object, 50 + i, (50 + i) * 1000);
    alloc_failure_set(1);
    cr_assert_eq(object->pager->putpages(object, m, 4, done), VM_PAGER_ERROR);
    for (unsigned i = 0; i < 4; i++)
        cr_assert(!done[i] && atomic_load(&m[i]->dirty));
    cr_assert_eq(swap_device_used(device), 0);
    cr_assert_eq(swap_device_error(device), -ENOMEM);
    cr_assert_eq(object->pager->putpages(object, m, 4, done), VM_PAGER_OK);
    free_pages(m, 4);
}

CHECKED_TEST(swap_pager, without_memory_for_the_index_a_page_stays_dirty)
{
    struct vm_page *m[4];
    bool done[4];

    for (unsigned i = 0; i < 4; i++)
        m[i] = make_page(object, 14 + i, (14 + i) * 1000); /* two blocks of the index */
    alloc_failure_set(2);                                  /* the first is the sums' */
    cr_assert_eq(object->pager->putpages(object, m, 4, done), VM_PAGER_ERROR);
    for (unsigned i = 0; i < 4; i++)
        cr_assert(!done[i] && atomic_load(&m[i]->dirty));
    cr_assert_eq(swap_device_used(device), 0);
    cr_assert_eq(swap_device_error(device), -ENOMEM);
    alloc_failure_set(3); /* what comes after the first block is tried again */
    cr_assert_eq(object->pager->putpages(object, m, 4, done), VM_PAGER_OK);
    cr_assert_eq(swap_device_used(device), 4);
    free_pages(m, 4);
}

CHECKED_TEST(swap_pager, becoming_a_swap_object_without_memory_changes_nothing)
{
    struct vm_object *o;

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

/* --- Collapse ------------------------------------------------------------ */

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
