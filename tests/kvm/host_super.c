/* SPDX-License-Identifier: BSD-2-Clause */
/* Promoted chunks on the host's kernel, without a guest kernel (kvm_rig.h). */
#include "vmm/kvm/kvm_window.h"

#include "tests/kvm/kvm_rig.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#define CHUNK PMAP_CHUNK_PAGES
#define LAST (WINDOW_PAGES - CHUNK) /* a chunk with nothing behind it */

/* Locks: m.p held. */
static int
promote_locked(unsigned first, bool hole)
{
    int error = kvm_pmap_ops.promote(m.kp, &m.w, first, hole);

    m.promoted[first / CHUNK] = error == 0;
    return error;
}

static int
promote(unsigned first, bool hole)
{
    pthread_mutex_lock(&m.p);
    int error = promote_locked(first, hole);
    pthread_mutex_unlock(&m.p);
    return error;
}

static void
demote(unsigned first)
{
    pthread_mutex_lock(&m.p);
    kvm_pmap_ops.demote(m.kp, &m.w, first);
    m.promoted[first / CHUNK] = false;
    pthread_mutex_unlock(&m.p);
}

static unsigned
messages(void)
{
    return m.missing + m.minor + m.wp;
}

static struct kvm_pmap_statistics
statistics(void)
{
    struct kvm_pmap_statistics out;

    kvm_pmap_statistics(m.kp, &out);
    return out;
}

/* Does this kernel make huge pages of a memfd at all? */
static bool
host_makes_huge_pages(void)
{
    const uint64_t size = (uint64_t)CHUNK << PAGE_SHIFT;
    int fd = memfd_create("huge", MFD_CLOEXEC);
    MUST(fd >= 0 && ftruncate(fd, (off_t)(2 * size)) == 0);
    uint8_t *space = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(space != MAP_FAILED);
    uint8_t *at = space + (-(uintptr_t)space & (size - 1));
    MUST(mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == at);
    memset(at, 1, size);
    bool made = madvise(at, size, 25 /* MADV_COLLAPSE */) == 0;

    munmap(space, 2 * size);
    close(fd);
    return made;
}

static void
the_kernel_makes_huge_pages_of_a_stream_where_it_does_of_any_memfd(void)
{
    bool huge = host_makes_huge_pages();

    machine_open(NATURAL, true);
    for (unsigned first = 0; first < WINDOW_PAGES; first += CHUNK)
        CHECK(promote(first, first != LAST) == 0);
    if (huge)
        CHECK(statistics().superpages >= WINDOW_PAGES / CHUNK - 1); /* memory may be in pieces */
    else
        printf("    not shown: the kernel makes no huge page of a memfd here\n");
    machine_close();
}

static void
the_kernel_fills_a_promoted_chunk_and_nothing_is_reported(void)
{
    machine_open(NATURAL, true);
    CHECK(promote(CHUNK, true) == 0);
    for (unsigned i = CHUNK; i < 2 * CHUNK; i++) {
        CHECK(*window_word(i) == 0);
        *window_word(i) = i;
    }
    CHECK(messages() == 0);
    for (unsigned i = CHUNK; i < 2 * CHUNK; i++)
        CHECK(*frame_word(m.frames + i) == i);
    CHECK(statistics().superpages + statistics().superpages_refused == 1);
    machine_close();
}

static void
touches_are_reported_again_after_demotion_and_nothing_is_lost(void)
{
    machine_open(NATURAL, true);
    unsigned vmas = count_vmas();
    uint64_t home = m.kp->home_vmas;
    plan(WINDOW_PAGES, 1, VM_PROT_RW, true);
    m.run = 64;
    for (unsigned first = CHUNK; first < 4 * CHUNK; first += CHUNK) {
        CHECK(promote(first, true) == 0);
        for (unsigned i = first; i < first + CHUNK; i++)
            *window_word(i) = i;
    }
    CHECK(messages() == 0);
    CHECK(m.kp->vmas == m.kp->home_vmas && m.kp->home_vmas == home + 2); /* a row of three is one */
    demote(2 * CHUNK);
    CHECK(m.kp->home_vmas == home + 4);
    for (unsigned i = CHUNK; i < 4 * CHUNK; i++)
        CHECK(*window_word(i) == i);
    CHECK(messages() == CHUNK / 64 && m.minor == CHUNK / 64);
    demote(CHUNK);
    demote(3 * CHUNK);
    CHECK(m.kp->home_vmas == home && count_vmas() == vmas);
    for (unsigned i = CHUNK; i < 4 * CHUNK; i++)
        CHECK(*window_word(i) == i);
    CHECK(m.minor == 3 * CHUNK / 64);
    CHECK(*window_word(4 * CHUNK) == 0 && m.missing == 1);
    machine_close();
}

/* While the chunk is promoted the page behind it may neither be filled unseen nor stay shut. */
static void
a_touch_of_the_page_behind_is_reported(void)
{
    struct guest g;
    pthread_t thread;

    machine_open(NATURAL, true);
    plan(WINDOW_PAGES, 1, VM_PROT_RW, true);
    guest_open(&g, 0, NULL);
    for (unsigned first = 0; first < LAST; first += 2 * CHUNK) {
        unsigned missing = m.missing;

        pthread_mutex_lock(&m.p); /* the server answers when the chunk is promoted */
        guest_start_thread(&g, &thread, GUEST_INCREMENT, first + CHUNK, 1000);
        usleep(first / CHUNK % 4 * 100);
        CHECK(promote_locked(first, true) == 0);
        pthread_mutex_unlock(&m.p);
        pthread_join(thread, NULL);
        CHECK(g.result == 0 && m.modified[first + CHUNK]);
        CHECK(m.missing > missing);
        CHECK(*frame_word(m.frames + first + CHUNK) == 1000);
        demote(first);
    }
    CHECK(m.kp->nfailed == 0);
    guest_close(&g);
    machine_close();
}

static void
no_write_is_lost_while_a_chunk_is_promoted_and_demoted_under_a_writer(void)
{
    struct guest g;
    pthread_t thread;
    const uint64_t total = 5000000;

    machine_open(NATURAL, true);
    plan(WINDOW_PAGES, 1, VM_PROT_RW, true);
    guest_open(&g, 0, NULL);
    guest_start_thread(&g, &thread, GUEST_INCREMENT, LAST, total);
    for (unsigned i = 0; i < 200; i++) {
        pthread_mutex_lock(&m.p);
        kvm_pmap_ops.remove(m.kp, &m.w, LAST, CHUNK);
        for (unsigned j = LAST; j < WINDOW_PAGES; j++)
            m.plan[j].same = false;
        CHECK(promote_locked(LAST, false) == 0);
        pthread_mutex_unlock(&m.p);
        if (i % 3 == 0)
            usleep(50);
        demote(LAST);
        if (i % 5 == 0)
            usleep(50);
    }
    pthread_join(thread, NULL);
    CHECK(g.result == 0);
    CHECK(*frame_word(m.frames + LAST) == total);
    guest_close(&g);
    machine_close();
}

static void
a_chunk_that_has_no_room_for_a_mapping_stays_as_it_was(void)
{
    machine_open(NATURAL, true);
    plan(WINDOW_PAGES, 1, VM_PROT_RW, true);
    uint64_t home = m.kp->home_vmas;
    uint64_t limit = m.kp->vma_limit;
    m.kp->vma_limit = 2 * (home + 1);
    CHECK(promote(CHUNK, true) == -ENOSPC);
    m.kp->vma_limit = limit;
    CHECK(m.kp->home_vmas == home && m.kp->nfailed == 0);
    CHECK(*window_word(CHUNK) == 0 && *window_word(2 * CHUNK) == 0 && m.missing == 2);
    machine_close();
}

static void
none_is_promoted_beside_a_page_that_is_in_use(void)
{
    machine_open(NATURAL, true);
    plan(WINDOW_PAGES, 1, VM_PROT_RW, true);
    CHECK(promote(CHUNK, false) == -EBUSY);
    CHECK(promote(2 * CHUNK, true) == 0);
    CHECK(promote(CHUNK, false) == 0); /* what is behind it is promoted itself */
    machine_close();
}

static void
a_kernel_that_makes_none_is_asked_four_times(void)
{
    machine_open(NATURAL, true);
    plan(WINDOW_PAGES, 1, VM_PROT_RW, true);
    MUST(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0);
    for (unsigned i = 0; i < 4; i++) {
        CHECK(promote(i * CHUNK, true) == 0);
        *window_word(i * CHUNK + 7) = i; /* small pages are made */
    }
    CHECK(promote(4 * CHUNK, true) == -EOPNOTSUPP);
    CHECK(messages() == 0 && statistics().superpages_refused == 4);
    for (unsigned i = 0; i < 4; i++) {
        demote(i * CHUNK);
        CHECK(*window_word(i * CHUNK + 7) == i);
        CHECK(*window_word(i * CHUNK + 8) == 0); /* a hole that counts as filled */
    }
    CHECK(m.minor == 4 && m.missing == 4);
    MUST(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0) == 0);
    machine_close();
}

static const struct rig_test tests[] = {
    RIG_TEST(the_kernel_makes_huge_pages_of_a_stream_where_it_does_of_any_memfd),
    RIG_TEST(the_kernel_fills_a_promoted_chunk_and_nothing_is_reported),
    RIG_TEST(touches_are_reported_again_after_demotion_and_nothing_is_lost),
    RIG_TEST(a_touch_of_the_page_behind_is_reported),
    RIG_TEST(no_write_is_lost_while_a_chunk_is_promoted_and_demoted_under_a_writer),
    RIG_TEST(a_chunk_that_has_no_room_for_a_mapping_stays_as_it_was),
    RIG_TEST(none_is_promoted_beside_a_page_that_is_in_use),
    RIG_TEST(a_kernel_that_makes_none_is_asked_four_times),
};

int
main(int argc, char **argv)
{
    return rig_main("host_super", tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
