/* SPDX-License-Identifier: BSD-2-Clause */
/* Windows, foreign mappings and failing accesses, without a guest kernel (kvm_rig.h). */
#include "vmm/kvm/kvm_window.h"

#include "tests/kvm/kvm_rig.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

/* --- foreign mappings ---------------------------------------------------- */

static void
check_foreign(uint64_t natural, bool continue_wp)
{
    machine_open(natural, true);
    m.kp->uffd.continue_wp = m.kp->uffd.continue_wp && continue_wp;
    plan(256, 7, VM_PROT_READ, false);
    fill_frames(256);
    m.run = 64;
    for (unsigned i = 0; i < 256; i++)
        CHECK(*window_word(i) == 1000 + i);
    CHECK(m.missing + m.minor == 4 && m.wp == 0);
    m.run = 1;
    for (unsigned i = 0; i < 256; i += 2)
        *window_word(i) = i;
    CHECK(m.wp == 128);
    for (unsigned i = 0; i < 256; i++)
        CHECK(*frame_word(m.plan[i].frame) == (i % 2 == 0 ? i : 1000 + i));
    machine_close();
}

/* Plan pages whose bytes are elsewhere, 2000 + page, in no order. */
static void
plan_copies(unsigned npages, vm_prot_t prot)
{
    plan(npages, 1, prot, true);
    for (unsigned i = 0; i < npages; i++) {
        vm_frame_t from = m.frames + npages + (uint64_t)i * 7 % npages;

        *frame_word(from) = 2000 + i;
        m.plan[i].content = vm_frame_address(&m.sys, from);
    }
}

/* More pages than there may be VMAs: they lie in the window's own frames. */
static void
check_copies(vm_prot_t prot, bool continue_wp)
{
    const unsigned npages = 2000;
    struct kvm_pmap_statistics statistics;

    machine_open(NATURAL, true);
    kvm_pmap_configure(m.kp, 2 * PMAP_CHUNK_PAGES, NULL);
    m.kp->uffd.continue_wp = m.kp->uffd.continue_wp && continue_wp;
    plan_copies(npages, prot);
    *frame_word(m.plan[70].frame) = 1; /* one of them is no hole, against the rule */
    m.run = 16;
    for (unsigned i = 0; i < npages; i++)
        CHECK(*window_word(i) == 2000 + i);
    m.run = 1;
    for (unsigned i = 0; i < npages; i += 50)
        *window_word(i) = i;
    CHECK(m.wp == (prot == VM_PROT_READ ? npages / 50 : 0));
    for (unsigned i = 0; i < npages; i++)
        CHECK(*frame_word(m.frames + i) == (i % 50 == 0 ? i : 2000 + i));
    kvm_pmap_statistics(m.kp, &statistics);
    CHECK(statistics.foreign_evictions == 0 && statistics.foreign_pages == 0);
    machine_close();
}

static void
holes_get_their_bytes_as_they_are_mapped_and_need_no_mapping_of_their_own(void)
{
    check_copies(VM_PROT_READ, true);
    check_copies(VM_PROT_READ, false);
    check_copies(VM_PROT_RW, true);
}

static void
scattered_frames_are_mapped_read_only_and_upgraded(void)
{
    check_foreign(PMAP_NO_NATURAL, true);
    check_foreign(NATURAL, true);
}

static void
scattered_frames_too_without_a_write_protecting_continue(void)
{
    check_foreign(PMAP_NO_NATURAL, false);
    check_foreign(NATURAL, false);
}

static void
a_natural_frame_comes_back_where_a_foreign_one_was(void)
{
    machine_open(NATURAL, true);
    plan(32, 7, VM_PROT_RW, false);
    fill_frames(32);
    m.run = 32;
    CHECK(*window_word(0) == 1000 && *window_word(3) == 1003);
    kvm_pmap_ops.remove(m.kp, &m.w, 0, 32);
    plan(32, 1, VM_PROT_RW, false);
    for (unsigned i = 0; i < 32; i++)
        *frame_word(m.plan[i].frame) = 2000 + i;
    for (unsigned i = 0; i < 32; i++)
        CHECK(*window_word(i) == 2000 + i);
    (void)window_word(0); /* the frames can be seen before the server has recorded them */
    CHECK(kvm_window_has_foreign(m.w.md, WINDOW_GPA / PAGE_SIZE) == false);
    CHECK(m.kp->vmas == m.kp->home_vmas);
    machine_close();
}

static void
contiguous_foreign_frames_share_one_mapping_and_holes_are_filled(void)
{
    machine_open(PMAP_NO_NATURAL, true);
    plan(64, 1, VM_PROT_RW, true);
    m.run = 64;
    for (unsigned i = 0; i < 64; i++)
        *window_word(i) = i;
    CHECK(m.missing == 1 && calls_zeropage == 1);
    for (unsigned i = 0; i < 64; i++)
        CHECK(*frame_word(m.frames + i) == i);
    machine_close();
}

/*
 * A guest increments one word without a pause while its page is remapped, read-only,
 * over two frames in turn.  A frame's word may differ from what it was when it was
 * mapped only after the write fault was reported.
 */
static void
check_hammer(uint64_t natural, bool continue_wp)
{
    struct guest g;
    pthread_t thread;
    uint64_t at_entry = 0;
    unsigned lost = 0;
    unsigned upgrades = 0;
    const uint64_t total = 20000000;

    machine_open(natural, true);
    m.kp->uffd.continue_wp = m.kp->uffd.continue_wp && continue_wp;
    struct pmap_frame frames[2] = { { .frame = m.frames, .prot = VM_PROT_READ },
                                    { .frame = m.frames + 9, .prot = VM_PROT_READ } };
    *frame_word(m.frames) = 0;
    *frame_word(m.frames + 9) = 0;
    guest_open(&g, 0, NULL);
    m.plan[0] = frames[0];
    guest_start_thread(&g, &thread, GUEST_INCREMENT, 0, total);
    for (unsigned i = 0; i < 3000; i++) {
        pthread_mutex_lock(&m.p);
        lost += i != 0 && !m.modified[0] && *frame_word(m.plan[0].frame) != at_entry;
        upgrades += m.modified[0];
        kvm_pmap_ops.remove(m.kp, &m.w, 0, 1);
        m.plan[0] = frames[i % 2];
        m.modified[0] = false;
        at_entry = *frame_word(m.plan[0].frame);
        CHECK(enter_planned(0, 1, false) == 0);
        pthread_mutex_unlock(&m.p);
        if (i % 3 == 0)
            usleep(50);
    }
    pthread_join(thread, NULL);
    CHECK(g.result == 0);
    CHECK(lost == 0);
    CHECK(upgrades > 0);
    CHECK(*frame_word(m.frames) + *frame_word(m.frames + 9) == total);
    guest_close(&g);
    machine_close();
}

static void
no_write_is_lost_or_unseen_while_a_page_is_remapped_under_a_writer(void)
{
    check_hammer(PMAP_NO_NATURAL, true);
    check_hammer(PMAP_NO_NATURAL, false);
    check_hammer(NATURAL, true);
    check_hammer(NATURAL, false);
}

#define TABLE_LINEAR (UINT64_C(3) << 30) /* mapped by a table in page 0 of the window ... */
#define TABLE_TARGET 512u                /* ... onto this page of it, and the 511 behind */

static _Atomic bool table_stop;

static void *
table_reader(void *argument)
{
    struct guest *g = argument;

    while (!table_stop && g->result == 0)
        g->result = guest_do(g, GUEST_LOAD, gpa_from_u64(TABLE_LINEAR), PMAP_CHUNK_PAGES, 0);
    return NULL;
}

/* Two frames with the same page table, and the guest's tables lead to it. */
static void
make_tables(struct pmap_frame *frames)
{
    const uint64_t entry = (WINDOW_GPA + TABLE_TARGET * PAGE_SIZE) | 0xe7;

    for (unsigned i = 0; i < 2; i++) {
        frames[i] = (struct pmap_frame){ .frame = m.frames + 9 * i, .prot = VM_PROT_READ };
        *frame_word(frames[i].frame) = entry;
    }
    guest_set_table(TABLE_LINEAR, gpa_from_u64(WINDOW_GPA));
}

/*
 * KVM reads a guest's page tables itself where the host has no second stage, and whenever it
 * emulates.  What it cannot read is to it an entry that is not present, and the guest gets a
 * page fault of which nobody else learns.  This one, without an IDT, ends with a triple fault.
 */
static void
check_table_remapped(bool continue_wp)
{
    /* In the lane the processor reads the tables, and each round takes 20 ms. */
    const unsigned rounds = getenv("VKVM_LANE") == NULL ? 2000 : 200;
    struct pmap_frame frames[2];
    struct guest g;
    pthread_t thread;

    machine_open(PMAP_NO_NATURAL, true);
    m.kp->uffd.continue_wp = m.kp->uffd.continue_wp && continue_wp;
    plan(2 * PMAP_CHUNK_PAGES, 7, VM_PROT_READ, false);
    fill_frames(2 * PMAP_CHUNK_PAGES);
    m.run = 64;
    guest_open(&g, 0, NULL);
    make_tables(frames);
    m.plan[0] = frames[0];
    table_stop = false;
    MUST(pthread_create(&thread, NULL, table_reader, &g) == 0);
    for (unsigned i = 0; i < rounds && g.result == 0; i++) {
        pthread_mutex_lock(&m.p);
        kvm_pmap_ops.remove(m.kp, &m.w, TABLE_TARGET, PMAP_CHUNK_PAGES);
        m.plan[0] = frames[i % 2];
        CHECK(enter_planned(0, 1, false) == 0);
        pthread_mutex_unlock(&m.p);
        usleep(20);
    }
    table_stop = true;
    pthread_join(thread, NULL);
    CHECK(g.result == 0);
    guest_close(&g);
    machine_close();
}

static void
a_guests_page_table_can_be_read_while_it_is_remapped(void)
{
    check_table_remapped(true);
    check_table_remapped(false);
}

static void
old_foreign_mappings_are_dropped_near_the_limit_and_come_back_on_touch(void)
{
    struct kvm_pmap_statistics statistics;

    machine_open(PMAP_NO_NATURAL, true);
    kvm_pmap_configure(m.kp, 2 * PMAP_CHUNK_PAGES, NULL);
    unsigned before = count_vmas();
    plan(WINDOW_PAGES, 7, VM_PROT_READ, false);
    fill_frames(WINDOW_PAGES);
    m.run = 64;
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < WINDOW_PAGES; i++)
            CHECK(*window_word(i) == 1000 + i);
    kvm_pmap_statistics(m.kp, &statistics);
    CHECK(statistics.foreign_evictions >= WINDOW_PAGES - 2 * PMAP_CHUNK_PAGES);
    CHECK(count_vmas() - before <= 2 * PMAP_CHUNK_PAGES + 64);
    m.run = 1;
    *window_word(0) = 1;
    CHECK(m.modified[0] && *frame_word(m.plan[0].frame) == 1);
    machine_close();
}

static void
a_page_of_another_window_is_evicted_without_hurting_its_window(void)
{
    struct pmap_window other = {
        .pmap = &m.pmap, .start = gpa_from_u64(2u << 30), .npages = 3, .natural = PMAP_NO_NATURAL
    };
    unsigned entered;

    machine_open(PMAP_NO_NATURAL, true);
    kvm_pmap_configure(m.kp, 2 * PMAP_CHUNK_PAGES, NULL);
    MUST(kvm_pmap_ops.window_create(m.kp, &other) == 0);
    *frame_word(m.frames + 1) = 11;
    struct pmap_frame frame = { .frame = m.frames + 1, .prot = VM_PROT_READ };
    CHECK(kvm_pmap_ops.enter(m.kp, &other, 1, 1, &frame, &entered) == 0);
    plan(2 * PMAP_CHUNK_PAGES, 7, VM_PROT_READ, false);
    fill_frames(2 * PMAP_CHUNK_PAGES);
    m.run = 512;
    for (unsigned i = 0; i < 2 * PMAP_CHUNK_PAGES; i++)
        CHECK(*window_word(i) == 1000 + i);
    CHECK(!kvm_window_has_foreign(other.md, (2u << 30) / PAGE_SIZE));
    frame.same = true;
    CHECK(kvm_pmap_ops.enter(m.kp, &other, 1, 1, &frame, &entered) == 0);
    volatile uint64_t *word = kvm_pmap_host_address(m.kp, gpa_from_u64((2u << 30) + PAGE_SIZE));
    CHECK(*word == *frame_word(m.frames + 1));
    kvm_pmap_ops.window_destroy(m.kp, &other);
    machine_close();
}

static void
a_rebased_window_shows_its_new_natural_frames(void)
{
    machine_open(NATURAL, true);
    plan(16, 1, VM_PROT_RW, false);
    fill_frames(17);
    *frame_word(m.frames + 16) = 1016;
    CHECK(*window_word(0) == 1000);
    kvm_pmap_ops.remove(m.kp, &m.w, 0, 16);
    m.w.natural = m.frames + 1;
    CHECK(kvm_pmap_ops.window_rebase(m.kp, &m.w) == 0);
    for (unsigned i = 0; i < 16; i++)
        m.plan[i].frame = m.w.natural + i;
    for (unsigned i = 0; i < 16; i++)
        CHECK(*window_word(i) == 1001 + (i == 15 ? 0 : i) + (i == 15 ? 15 : 0));
    CHECK(m.kp->vmas == m.kp->home_vmas);
    machine_close();
}

/* --- windows --------------------------------------------------- */

static void
a_window_beyond_the_address_space_is_refused(void)
{
    struct pmap_window w = { .npages = 2, .natural = PMAP_NO_NATURAL };

    machine_open(NO_WINDOW, false);
    w.start = gpa_from_u64(KVM_PMAP_SPACE - PAGE_SIZE);
    CHECK(kvm_pmap_ops.window_create(m.kp, &w) == -EINVAL);
    w.start = gpa_from_u64(KVM_PMAP_SPACE);
    CHECK(kvm_pmap_ops.window_create(m.kp, &w) == -EINVAL);
    w.npages = UINT64_MAX >> PAGE_SHIFT;
    w.start = gpa_from_u64(0);
    CHECK(kvm_pmap_ops.window_create(m.kp, &w) == -EINVAL);
    machine_close();
}

static void
host_and_guest_addresses_translate_both_ways(void)
{
    gpa_t gpa;

    machine_open(NATURAL, false);
    uint64_t host = (uintptr_t)window_word(3) + 17;
    CHECK(kvm_pmap_gpa(m.kp, host, &gpa) && gpa_to_u64(gpa) == WINDOW_GPA + 3 * PAGE_SIZE + 17);
    CHECK(!kvm_pmap_gpa(m.kp, (uintptr_t)m.kp->space - 1, &gpa));
    CHECK(!kvm_pmap_gpa(m.kp, (uintptr_t)m.kp->space + KVM_PMAP_SPACE, &gpa));
    machine_close();
}

/* --- failing accesses ---------------------------------------------------- */

static void
a_failed_page_gives_efault_until_every_failure_is_undone(void)
{
    struct guest g;
    gpa_t gpa = gpa_from_u64(WINDOW_GPA);

    machine_open(NATURAL, true);
    plan(4, 1, VM_PROT_RW, true);
    guest_open(&g, 0, NULL);
    g.patience = 100; /* nobody remaps */
    CHECK(guest_do(&g, GUEST_STORE, gpa, 2, 5) == 0);
    CHECK(g.efaults == 0);
    CHECK(kvm_pmap_fail(m.kp, gpa, kvm_pmap_wakeups(m.kp, gpa)) == 0);
    CHECK(kvm_pmap_fail(m.kp, gpa, kvm_pmap_wakeups(m.kp, gpa)) == 0);
    CHECK(guest_do(&g, GUEST_LOAD, gpa, 1, 0) == -ECANCELED);
    CHECK(g.efaults > 0);
    CHECK(guest_do(&g, GUEST_LOAD, gpa_add(gpa, PAGE_SIZE), 1, 0) == 0);
    CHECK(kvm_pmap_unfail(m.kp, gpa) == 0);
    CHECK(guest_do(&g, GUEST_LOAD, gpa, 1, 0) == -ECANCELED);
    CHECK(kvm_pmap_unfail(m.kp, gpa) == 0);
    CHECK(guest_do(&g, GUEST_LOAD, gpa, 1, 0) == 0);
    CHECK(*frame_word(m.frames) == 5);
    guest_close(&g);
    machine_close();
}

static void
entering_around_a_failed_page_leaves_it_inaccessible(void)
{
    struct guest g;
    gpa_t gpa = gpa_from_u64(WINDOW_GPA);
    gpa_t third = gpa_add(gpa, 2 * PAGE_SIZE);

    machine_open(PMAP_NO_NATURAL, true);
    plan(8, 7, VM_PROT_RW, false);
    fill_frames(8);
    m.run = 8;
    guest_open(&g, 0, NULL);
    g.patience = 100; /* nobody remaps */
    CHECK(kvm_pmap_fail(m.kp, third, kvm_pmap_wakeups(m.kp, third)) == 0);
    CHECK(guest_do(&g, GUEST_LOAD, gpa, 2, 0) == 0);
    CHECK(guest_do(&g, GUEST_LOAD, third, 1, 0) == -ECANCELED);
    CHECK(guest_do(&g, GUEST_LOAD, gpa_add(third, PAGE_SIZE), 5, 0) == 0);
    CHECK(kvm_pmap_unfail(m.kp, third) == 0);
    CHECK(guest_do(&g, GUEST_LOAD, third, 1, 0) == 0);
    guest_close(&g);
    machine_close();
}

static void
a_failure_after_a_wake_up_is_refused(void)
{
    gpa_t gpa = gpa_from_u64(WINDOW_GPA);

    machine_open(NATURAL, true);
    plan(4, 1, VM_PROT_RW, true);
    uint64_t before = kvm_pmap_wakeups(m.kp, gpa);
    CHECK(*window_word(0) == 0);
    CHECK(kvm_pmap_fail(m.kp, gpa, before) == -EAGAIN);
    CHECK(*window_word(0) == 0);
    gpa = gpa_from_u64(3u << 30); /* between windows it is the same: a slot may show that */
    CHECK(kvm_pmap_fail(m.kp, gpa, kvm_pmap_wakeups(m.kp, gpa)) == 0);
    CHECK(kvm_pmap_unfail(m.kp, gpa) == 0);
    machine_close();
}

static void
abort_wakes_everybody_and_nothing_is_accessible_any_more(void)
{
    struct guest g[2];
    pthread_t thread[2];

    machine_open(NATURAL, true);
    for (unsigned i = 0; i < 2; i++)
        guest_open(&g[i], i, NULL);
    CHECK(guest_do(&g[0], GUEST_LOAD, gpa_from_u64(0), 1, 0) == 0);
    CHECK(guest_do(&g[1], GUEST_LOAD, gpa_from_u64(0), 1, 0) == 0);
    MUST(write(m.stop[1], "", 1) == 1); /* nobody answers from now on */
    pthread_join(m.server, NULL);
    m.serve = false;
    for (unsigned i = 0; i < 2; i++)
        guest_start_thread(&g[i], &thread[i], GUEST_LOAD, 600 * i, 1);
    struct pollfd fd = { .fd = m.kvm.uffd, .events = POLLIN };
    struct uffd_msg msg;
    for (unsigned i = 0; i < 2; i++)
        while (read(m.kvm.uffd, &msg, sizeof(msg)) != sizeof(msg))
            poll(&fd, 1, 1000);
    machine_abort();
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(thread[i], NULL);
        CHECK(g[i].result == -ECANCELED);
        guest_close(&g[i]);
    }
    machine_close();
}

static const struct rig_test tests[] = {
    RIG_TEST(holes_get_their_bytes_as_they_are_mapped_and_need_no_mapping_of_their_own),
    RIG_TEST(scattered_frames_are_mapped_read_only_and_upgraded),
    RIG_TEST(scattered_frames_too_without_a_write_protecting_continue),
    RIG_TEST(a_natural_frame_comes_back_where_a_foreign_one_was),
    RIG_TEST(contiguous_foreign_frames_share_one_mapping_and_holes_are_filled),
    RIG_TEST(no_write_is_lost_or_unseen_while_a_page_is_remapped_under_a_writer),
    RIG_TEST(a_guests_page_table_can_be_read_while_it_is_remapped),
    RIG_TEST(old_foreign_mappings_are_dropped_near_the_limit_and_come_back_on_touch),
    RIG_TEST(a_page_of_another_window_is_evicted_without_hurting_its_window),
    RIG_TEST(a_rebased_window_shows_its_new_natural_frames),
    RIG_TEST(a_window_beyond_the_address_space_is_refused),
    RIG_TEST(host_and_guest_addresses_translate_both_ways),
    RIG_TEST(a_failed_page_gives_efault_until_every_failure_is_undone),
    RIG_TEST(entering_around_a_failed_page_leaves_it_inaccessible),
    RIG_TEST(a_failure_after_a_wake_up_is_refused),
    RIG_TEST(abort_wakes_everybody_and_nothing_is_accessible_any_more),
};

int
main(int argc, char **argv)
{
    return rig_main("host_window", tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
