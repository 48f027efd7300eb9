/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where memslots and VMAs run out, and where the host refuses what must not fail (kvm_rig.h).
 */
#include "tests/kvm/kvm_rig.h"
#include "tests/unit/sanitized.h"

#include <errno.h>
#include <stdio.h>
#include <sys/utsname.h>

/* --- memslots ------------------------------------------------------------ */

/* A window's pages in memslots of their own, far from those of the machine. */
#define SLOT_SPACE ((uint64_t)1 << 26) /* pages */

static struct memslots slots;
static unsigned slot_ioctls;
static int slot_errno; /* of deletions; 0 = none fails */

static int
slot_ioctl(int fd, unsigned long request, void *argument)
{
    const struct kvm_userspace_memory_region *region = argument;

    (void)fd;
    MUST(request == KVM_SET_USER_MEMORY_REGION);
    slot_ioctls++;
    if (region->memory_size != 0 || slot_errno == 0)
        return 0;
    errno = slot_errno;
    return -1;
}

static void
slots_open(unsigned limit)
{
    MUST(memslots_init(&slots, -1, limit, NULL, SLOT_SPACE) == 0);
    slots.ioctl = slot_ioctl;
    slot_ioctls = 0;
    slot_errno = 0;
}

static unsigned
slots_in_use(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < slots.limit; i++)
        n += slots.used[i / 64] >> (i % 64) & 1;
    CHECK(n == slots.slots.n);
    return n;
}

static void
each_window_has_a_slot_while_there_are_many_and_its_number_is_used_again(void)
{
    slots_open(64);
    for (unsigned i = 0; i < 8; i++)
        CHECK(memslots_show(&slots, 10 * i, 3) == 0);
    CHECK(slots_in_use() == 8 && slot_ioctls == 8);
    CHECK(memslots_hide(&slots, 20, 3) == 0);
    CHECK(slots_in_use() == 7 && slots.lowest == 2);
    CHECK(memslots_show(&slots, 25, 2) == 0);
    CHECK(slots.used[0] == 0xff);
    memslots_fini(&slots);
}

static void
the_lowest_free_number_is_found_among_many(void)
{
    const unsigned freed[] = { 3, 64, 127, 600 };
    const unsigned n = sizeof(freed) / sizeof(freed[0]);

    slots_open(8 * 1000);
    for (unsigned i = 0; i < 1000; i++)
        CHECK(memslots_show(&slots, 10 * i, 3) == 0);
    for (unsigned i = n; i-- > 0;)
        CHECK(memslots_hide(&slots, 10 * freed[i], 3) == 0);
    for (unsigned i = 0; i < n; i++) {
        CHECK(memslots_show(&slots, 10 * freed[i], 3) == 0);
        CHECK(slots.lowest == freed[i]);
    }
    CHECK(slots_in_use() == 1000);
    memslots_fini(&slots);
}

static void
windows_share_slots_when_an_eighth_is_in_use(void)
{
    uint64_t cell;

    slots_open(64);
    cell = slots.cell;
    for (unsigned i = 0; i < 8; i++)
        CHECK(memslots_show(&slots, 10 * i, 3) == 0);
    for (unsigned i = 0; i < 100; i++)
        CHECK(memslots_show(&slots, cell + 2 * i, 1) == 0);
    CHECK(slots_in_use() == 9);
    CHECK(memslots_show(&slots, cell - 1, 3) == 0); /* the end of cell 0 has none yet */
    CHECK(slots_in_use() == 10);
    CHECK(memslots_show(&slots, 12, 60) == 0); /* between the first ones */
    CHECK(slots_in_use() == 16);
    for (unsigned i = 0; i < 100; i++)
        CHECK(memslots_hide(&slots, cell + 2 * i, 1) == 0);
    CHECK(slots_in_use() == 16); /* one window is left in the cell */
    CHECK(memslots_hide(&slots, cell - 1, 3) == 0);
    CHECK(slots_in_use() == 14);
    CHECK(memslots_hide(&slots, 12, 60) == 0);
    CHECK(slots_in_use() == 8);
    memslots_fini(&slots);
}

/* Windows at random places, as many as there is room for: each page is shown, and in the end none. */
static void
slots_suffice_for_any_windows(void)
{
    enum {
        WINDOWS = 4000
    };
    static uint64_t first[WINDOWS], npages[WINDOWS];
    uint64_t random = 1;

    slots_open(64);
    for (unsigned i = 0; i < 4 * WINDOWS; i++) {
        unsigned w = i % WINDOWS;

        if (npages[w] != 0)
            CHECK(memslots_hide(&slots, first[w], npages[w]) == 0);
        random = random * 6364136223846793005u + 1442695040888963407u;
        npages[w] = 1 + (random >> 33) % (SLOT_SPACE / WINDOWS);
        first[w] = SLOT_SPACE / WINDOWS * w;
        CHECK(memslots_show(&slots, first[w], npages[w]) == 0);
        if (i % 1000 == 7) /* nearly all go, and the first eighth is exact again */
            for (unsigned k = 0; k < WINDOWS; k++) {
                if (npages[k] != 0)
                    CHECK(memslots_hide(&slots, first[k], npages[k]) == 0);
                npages[k] = 0;
            }
    }
    for (unsigned w = 0; w < WINDOWS; w++)
        if (npages[w] != 0)
            CHECK(memslots_hide(&slots, first[w], npages[w]) == 0);
    CHECK(slots_in_use() == 0);
    memslots_fini(&slots);
}

static void
a_slot_that_cannot_be_deleted_is_an_error_and_stays(void)
{
    slots_open(64);
    CHECK(memslots_show(&slots, 0, 3) == 0);
    slot_errno = ENOMEM;
    CHECK(memslots_hide(&slots, 0, 3) == -ENOMEM);
    CHECK(slots_in_use() == 1);
    memslots_fini(&slots);
}

static void
kvm_says_what_is_wrong_with_a_slot_and_nothing_is_left(void)
{
    machine_open(NATURAL, false);
    MUST(memslots_init(&slots, m.kvm.fd, 64, m.kp->space, SLOT_SPACE) == 0);
    slots.lowest = 60; /* the machine has low numbers */
    CHECK(memslots_show(&slots, WINDOW_GPA / PAGE_SIZE + 1, 1) == -EEXIST); /* the machine's */
    CHECK(slots_in_use() == 0);
    memslots_fini(&slots);
    machine_close();
}

/* --- VMAs ---------------------------------------------------------------- */

/* One-page windows, two pages apart, each with a frame of the machine's window of its own. */
#define MANY 1500u
#define MANY_AT UINT64_C(0x100000000)

static struct pmap_window many[MANY];

static void
many_open(bool natural)
{
    for (unsigned i = 0; i < MANY; i++) {
        many[i] = (struct pmap_window){ .pmap = &m.pmap,
                                        .start = gpa_from_u64(MANY_AT + 2 * i * PAGE_SIZE),
                                        .npages = 1,
                                        .natural = natural ? m.frames + i : PMAP_NO_NATURAL };
        CHECK(kvm_pmap_ops.window_create(m.kp, &many[i]) == 0);
        *frame_word(m.frames + i) = 5000 + i;
    }
}

static void
many_enter(bool same)
{
    for (unsigned i = 0; i < MANY; i++) {
        struct pmap_frame frame = { .frame = m.frames + i, .prot = VM_PROT_READ, .same = same };
        unsigned entered;

        CHECK(kvm_pmap_ops.enter(m.kp, &many[i], 0, 1, &frame, &entered) == 0);
        CHECK(*(volatile uint64_t *)kvm_pmap_host_address(m.kp, many[i].start) == 5000 + i);
    }
}

static void
check_many(bool natural)
{
    struct kvm_pmap_statistics statistics;

    machine_open(NO_WINDOW, false);
    kvm_pmap_configure(m.kp, 2 * PMAP_CHUNK_PAGES, NULL);
    unsigned before = count_vmas(); /* a sanitizer maps memory of its own meanwhile */
    many_open(natural);
    CHECK(SANITIZED || count_vmas() - before <= (natural ? PMAP_CHUNK_PAGES : 0) + 2);
    many_enter(false);
    many_enter(true);
    kvm_pmap_statistics(m.kp, &statistics);
    CHECK(statistics.foreign_evictions > MANY);
    CHECK(SANITIZED || count_vmas() - before <= 2 * PMAP_CHUNK_PAGES + 2);
    for (unsigned i = 0; i < MANY; i++) {
        kvm_pmap_ops.remove(m.kp, &many[i], 0, 1);
        kvm_pmap_ops.window_destroy(m.kp, &many[i]);
    }
    CHECK(m.kp->vmas == m.kp->home_vmas && m.kp->home_vmas == 2); /* RAM's */
    CHECK(SANITIZED || count_vmas() <= before);
    machine_close();
}

static void
windows_without_end_cost_no_vmas_and_their_pages_give_way_to_each_other(void)
{
    check_many(false);
}

static void
windows_with_natural_frames_do_without_their_mapping_when_half_the_vmas_are_used(void)
{
    check_many(true);
}

static unsigned refused;

static int
refuse_one_register(unsigned long request, void *argument)
{
    (void)argument;
    if (request != UFFDIO_REGISTER || refused++ != 0)
        return 1;
    errno = ENOMEM;
    return -1;
}

static void
expect_evictions(uint64_t n)
{
    struct kvm_pmap_statistics statistics;

    kvm_pmap_statistics(m.kp, &statistics);
    CHECK(m.fatal[0] == '\0' && statistics.foreign_evictions == n);
}

/* Others in the process may have used VMAs up. */
static void
where_the_kernel_has_no_room_for_a_vma_a_foreign_mapping_goes_and_it_is_tried_again(void)
{
    struct pmap_frame frame = { .prot = VM_PROT_READ };
    unsigned entered;

    machine_open(NO_WINDOW, false);
    many_open(false);
    many_enter(false);
    disturb = refuse_one_register;
    refused = 0;
    frame.frame = m.frames + MANY;
    CHECK(kvm_pmap_ops.enter(m.kp, &many[0], 0, 1, &frame, &entered) == 0);
    expect_evictions(1);
    refused = 0;
    many[5].natural = m.frames;
    CHECK(kvm_pmap_ops.window_rebase(m.kp, &many[5]) == 0);
    expect_evictions(2);
    refused = 0;
    for (unsigned i = 0; i < MANY; i++)
        kvm_pmap_ops.window_destroy(m.kp, &many[i]);
    expect_evictions(3);
    machine_close();
}

/* --- what the host refuses for good -------------------------------------- */

static void
expect_fatal(const char *what)
{
    CHECK(strstr(m.fatal, what) != NULL);
    CHECK(strstr(m.fatal, ": Cannot allocate memory: the host has none left: free some") != NULL);
    CHECK(m.kp->aborted);
    if (rig_failed)
        printf("    fatal: %s\n", m.fatal);
}

static int
refuse_deletion(unsigned long request, void *argument)
{
    const struct kvm_userspace_memory_region *region = argument;

    if (request != KVM_SET_USER_MEMORY_REGION || region->memory_size != 0)
        return 1;
    errno = ENOMEM;
    return -1;
}

static void
a_memslot_that_cannot_be_deleted_ends_the_vm_with_its_cause(void)
{
    machine_open(NATURAL, false);
    disturb = refuse_deletion;
    kvm_pmap_ops.window_destroy(m.kp, &m.w);
    expect_fatal("cannot take the memslot of guest address 0x40000000 away");
    machine_close();
}

static int
refuse_register(unsigned long request, void *argument)
{
    (void)argument;
    if (request != UFFDIO_REGISTER)
        return 1;
    errno = ENOMEM;
    return -1;
}

static void
a_window_that_cannot_be_made_sure_of_ends_the_vm_with_its_cause(void)
{
    machine_open(NATURAL, false);
    disturb = refuse_register;
    m.w.natural = m.frames + 1;
    CHECK(kvm_pmap_ops.window_rebase(m.kp, &m.w) == 0);
    expect_fatal("cannot change the mapping of guest address 0x40000000");
    machine_close();
    machine_open(NATURAL, false);
    disturb = refuse_register;
    kvm_pmap_ops.window_destroy(m.kp, &m.w);
    expect_fatal("cannot change the mapping of guest address 0x40000000");
    machine_close();
}

/* --- what the host can do ------------------------------------------------ */

static void
since_linux_6_4_pages_are_continued_write_protected(void)
{
    unsigned major = 0, minor = 0;
    struct utsname kernel;

    MUST(uname(&kernel) == 0 && sscanf(kernel.release, "%u.%u", &major, &minor) == 2);
    machine_open(NO_WINDOW, false);
    CHECK(m.host.uffd_continue_wp || major < 6 || (major == 6 && minor < 4));
    machine_close();
}

static const struct rig_test tests[] = {
    RIG_TEST(since_linux_6_4_pages_are_continued_write_protected),
    RIG_TEST(windows_without_end_cost_no_vmas_and_their_pages_give_way_to_each_other),
    RIG_TEST(windows_with_natural_frames_do_without_their_mapping_when_half_the_vmas_are_used),
    RIG_TEST(where_the_kernel_has_no_room_for_a_vma_a_foreign_mapping_goes_and_it_is_tried_again),
    RIG_TEST(a_memslot_that_cannot_be_deleted_ends_the_vm_with_its_cause),
    RIG_TEST(a_window_that_cannot_be_made_sure_of_ends_the_vm_with_its_cause),
    RIG_TEST(each_window_has_a_slot_while_there_are_many_and_its_number_is_used_again),
    RIG_TEST(the_lowest_free_number_is_found_among_many),
    RIG_TEST(windows_share_slots_when_an_eighth_is_in_use),
    RIG_TEST(slots_suffice_for_any_windows),
    RIG_TEST(a_slot_that_cannot_be_deleted_is_an_error_and_stays),
    RIG_TEST(kvm_says_what_is_wrong_with_a_slot_and_nothing_is_left),
};

int
main(int argc, char **argv)
{
    return rig_main("host_limits", tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
