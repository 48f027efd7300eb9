/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Natural mappings of the KVM pmap, and what it makes of userfaultfd's odd answers, without a
 * guest kernel (kvm_rig.h).
 */
#include "vmm/kvm/kvm_pmap.h"

#include "tests/kvm/kvm_rig.h"

#include <errno.h>
#include <sys/ioctl.h>

/* --- natural mappings ---------------------------------------------------- */

static void
a_writable_natural_run_of_holes_is_a_short_zeropage_and_a_long_one(void)
{
    machine_open(NATURAL, true);
    plan(64, 1, VM_PROT_RW, true);
    m.run = 64;
    *window_word(0) = 5;
    for (unsigned i = 1; i < 64; i++)
        CHECK(*window_word(i) == 0);
    CHECK(calls_zeropage == 2 && calls_copy == 0 && calls_continue == 0);
    CHECK(m.missing == 1 && m.minor == 0 && m.wp == 0);
    CHECK(*frame_word(m.frames) == 5);
    machine_close();
}

static void
a_read_only_natural_run_of_holes_is_copied_and_its_first_write_is_seen(void)
{
    machine_open(NATURAL, true);
    plan(32, 1, VM_PROT_READ, true);
    m.run = 32;
    for (unsigned i = 0; i < 32; i++)
        CHECK(*window_word(i) == 0);
    CHECK(calls_copy == 2 && calls_zeropage == 0);
    CHECK(m.missing == 1 && m.wp == 0);
    m.run = 1;
    *window_word(7) = 70;
    CHECK(m.wp == 1 && m.modified[7] && !m.modified[8]);
    CHECK(*frame_word(m.frames + 7) == 70);
    *window_word(7) = 71;
    CHECK(m.wp == 1);
    machine_close();
}

static void
check_filled_natural(bool continue_wp)
{
    machine_open(NATURAL, true);
    m.kp->uffd.continue_wp = m.kp->uffd.continue_wp && continue_wp;
    plan(32, 1, VM_PROT_READ, false);
    fill_frames(32);
    m.run = 32;
    for (unsigned i = 0; i < 32; i++)
        CHECK(*window_word(i) == 1000 + i);
    CHECK(m.minor == 1 && m.missing == 0 && m.wp == 0);
    m.run = 1;
    for (unsigned i = 0; i < 32; i += 3)
        *window_word(i) = i;
    CHECK(m.wp == 11);
    for (unsigned i = 0; i < 32; i++)
        CHECK(*frame_word(m.frames + i) == (i % 3 == 0 ? i : 1000 + i));
    CHECK(kvm_window_has_foreign(m.w.md, WINDOW_GPA / PAGE_SIZE) == false);
    machine_close();
}

static void
filled_natural_frames_are_entered_read_only_and_upgraded(void)
{
    check_filled_natural(true);
}

static void
the_same_without_a_write_protecting_continue(void)
{
    check_filled_natural(false);
}

static void
holes_and_filled_frames_in_one_run_keep_their_content(void)
{
    machine_open(NATURAL, true);
    plan(64, 1, VM_PROT_RW, true);
    for (unsigned i = 0; i < 64; i += 5) {
        m.plan[i].fill = false;
        *frame_word(m.plan[i].frame) = 1000 + i;
    }
    m.run = 64;
    for (unsigned i = 0; i < 64; i++)
        CHECK(*window_word(i) == (i % 5 == 0 ? 1000 + i : 0));
    CHECK(m.missing + m.minor == 1);
    machine_close();
}

static void
protect_makes_the_next_write_fault_and_keeps_the_data(void)
{
    machine_open(NATURAL, true);
    plan(16, 1, VM_PROT_RW, true);
    m.run = 16;
    for (unsigned i = 0; i < 16; i++)
        *window_word(i) = i;
    CHECK(m.missing == 1);
    kvm_pmap_ops.protect(m.kp, &m.w, 0, 16);
    m.run = 1;
    for (unsigned i = 0; i < 16; i++)
        CHECK(*window_word(i) == i);
    CHECK(m.wp == 0);
    *window_word(4) = 44;
    CHECK(m.wp == 1 && m.missing == 1 && m.minor == 0);
    machine_close();
}

static void
check_remove_and_punch(unsigned step)
{
    machine_open(step == 1 ? NATURAL : PMAP_NO_NATURAL, true);
    plan(8, step, VM_PROT_RW, false);
    fill_frames(8);
    for (unsigned i = 0; i < 8; i++)
        CHECK(*window_word(i) == 1000 + i);
    unsigned before = m.minor + m.missing;
    kvm_pmap_ops.remove(m.kp, &m.w, 0, 8);
    m.minor = m.missing = 0;
    for (unsigned i = 0; i < 4; i++)
        CHECK(*window_word(i) == 1000 + i);
    CHECK(before == 8 && m.minor == 4 && m.missing == 0);
    kvm_pmap_ops.remove(m.kp, &m.w, 0, 8);
    for (unsigned i = 0; i < 8; i++)
        CHECK(vm_frame_punch(&m.sys, m.plan[i].frame) == 0);
    m.minor = m.missing = 0;
    for (unsigned i = 0; i < 8; i++)
        CHECK(*window_word(i) == 0);
    CHECK(m.missing == 8 && m.minor == 0);
    machine_close();
}

static void
a_removed_natural_page_faults_minor_and_a_punched_one_missing(void)
{
    check_remove_and_punch(1);
}

static void
a_removed_foreign_page_faults_minor_and_a_punched_one_missing(void)
{
    check_remove_and_punch(7);
}

/* --- odd answers --------------------------------------------------------- */

static unsigned disturbances;

/* EAGAIN in both of its forms, three times each, then one page at a time. */
static int
disturb_zeropage(unsigned long request, void *argument)
{
    struct uffdio_zeropage *op = argument;

    if (request != UFFDIO_ZEROPAGE)
        return 1;
    if (disturbances < 3) {
        disturbances++;
        op->zeropage = 0;
        errno = EAGAIN;
        return -1;
    }
    if (disturbances < 6) {
        disturbances++;
        op->zeropage = -EAGAIN;
        errno = EAGAIN;
        return -1;
    }
    if (disturbances < 7) {
        disturbances++;
        return 0; /* a count of 0 */
    }
    op->range.len = PAGE_SIZE;
    int result = ioctl(m.kvm.uffd, UFFDIO_ZEROPAGE, op);
    if (result == 0) {
        errno = EAGAIN;
        return -1;
    }
    return result;
}

static void
eagain_count_zero_and_partial_runs_are_continued(void)
{
    machine_open(NATURAL, true);
    plan(16, 1, VM_PROT_RW, true);
    m.run = 16;
    disturbances = 0;
    disturb = disturb_zeropage;
    for (unsigned i = 0; i < 16; i++)
        CHECK(*window_word(i) == 0);
    CHECK(m.missing == 1);
    CHECK(disturbances == 7 && calls_zeropage == 7 + 16);
    machine_close();
}

static void
check_filled_against_expectation(bool continue_wp)
{
    machine_open(NATURAL, true);
    m.kp->uffd.continue_wp = m.kp->uffd.continue_wp && continue_wp;
    plan(16, 1, VM_PROT_RW, true);
    *frame_word(m.frames + 3) = 33; /* ZEROPAGE answers EEXIST there */
    m.run = 16;
    for (unsigned i = 0; i < 16; i++)
        CHECK(*window_word(i) == (i == 3 ? 33 : 0));
    plan(16, 1, VM_PROT_READ, true);
    kvm_pmap_ops.remove(m.kp, &m.w, 0, 16);
    for (unsigned i = 0; i < 16; i++)
        CHECK(*window_word(i) == (i == 3 ? 33 : 0));
    m.run = 1;
    *window_word(3) = 34;
    CHECK(m.wp == 1);
    machine_close();
}

static void
a_frame_that_is_filled_against_expectation_keeps_its_content(void)
{
    check_filled_against_expectation(true);
    check_filled_against_expectation(false);
}

static void
a_frame_that_is_a_hole_against_expectation_reads_as_zeros(void)
{
    machine_open(NATURAL, true);
    plan(16, 1, VM_PROT_RW, false); /* CONTINUE answers EFAULT */
    m.run = 16;
    for (unsigned i = 0; i < 16; i++)
        CHECK(*window_word(i) == 0);
    plan(16, 1, VM_PROT_READ, false);
    kvm_pmap_ops.remove(m.kp, &m.w, 0, 16);
    vm_frame_punch_run(&m.sys, m.frames, 16);
    for (unsigned i = 0; i < 16; i++)
        CHECK(*window_word(i) == 0);
    machine_close();
}

static void
entering_what_is_there_again_wakes_and_only_changes_the_protection(void)
{
    machine_open(NATURAL, true);
    plan(4, 1, VM_PROT_RW, true);
    *window_word(1) = 5;
    m.plan[1].prot = VM_PROT_READ;
    CHECK(enter_planned(1, 1, false) == 0); /* EEXIST from CONTINUE */
    *window_word(1) = 6;
    CHECK(m.wp == 1 && *frame_word(m.frames + 1) == 6);
    machine_close();
}

static int
disturb_with_error(unsigned long request, void *argument)
{
    struct uffdio_zeropage *op = argument;

    if (request != UFFDIO_ZEROPAGE)
        return 1;
    op->zeropage = -(int64_t)disturbances;
    errno = (int)disturbances;
    return -1;
}

static void
an_error_that_cannot_be_overcome_is_returned_with_what_was_entered(void)
{
    static const unsigned errors[] = { ENOENT, ESRCH, ENOMEM };
    unsigned entered;

    machine_open(NATURAL, false);
    plan(8, 1, VM_PROT_RW, true);
    m.plan[0].fill = m.plan[1].fill = false;
    fill_frames(2);
    disturb = disturb_with_error;
    for (unsigned i = 0; i < 3; i++) {
        disturbances = errors[i];
        CHECK(kvm_pmap_ops.enter(m.kp, &m.w, 0, 8, m.plan, &entered) == -(int)errors[i]);
        CHECK(entered == 2);
    }
    machine_close();
}

static int
disturb_register(unsigned long request, void *argument)
{
    (void)argument;
    if (request != UFFDIO_REGISTER || disturbances++ != 0)
        return 1;
    errno = ENOMEM;
    return -1;
}

static void
a_foreign_run_that_fails_leaves_pages_that_fault(void)
{
    unsigned entered;

    machine_open(PMAP_NO_NATURAL, true);
    plan(8, 7, VM_PROT_RW, false);
    fill_frames(8);
    disturbances = 0;
    disturb = disturb_register;
    CHECK(kvm_pmap_ops.enter(m.kp, &m.w, 0, 8, m.plan, &entered) == -ENOMEM);
    CHECK(entered == 0 && m.kp->vmas == m.kp->home_vmas);
    for (unsigned i = 0; i < 8; i++)
        CHECK(*window_word(i) == 1000 + i);
    CHECK(m.missing == 8);
    machine_close();
}

static const struct rig_test tests[] = {
    RIG_TEST(a_writable_natural_run_of_holes_is_a_short_zeropage_and_a_long_one),
    RIG_TEST(a_read_only_natural_run_of_holes_is_copied_and_its_first_write_is_seen),
    RIG_TEST(filled_natural_frames_are_entered_read_only_and_upgraded),
    RIG_TEST(the_same_without_a_write_protecting_continue),
    RIG_TEST(holes_and_filled_frames_in_one_run_keep_their_content),
    RIG_TEST(protect_makes_the_next_write_fault_and_keeps_the_data),
    RIG_TEST(a_removed_natural_page_faults_minor_and_a_punched_one_missing),
    RIG_TEST(a_removed_foreign_page_faults_minor_and_a_punched_one_missing),
    RIG_TEST(eagain_count_zero_and_partial_runs_are_continued),
    RIG_TEST(a_frame_that_is_filled_against_expectation_keeps_its_content),
    RIG_TEST(a_frame_that_is_a_hole_against_expectation_reads_as_zeros),
    RIG_TEST(entering_what_is_there_again_wakes_and_only_changes_the_protection),
    RIG_TEST(an_error_that_cannot_be_overcome_is_returned_with_what_was_entered),
    RIG_TEST(a_foreign_run_that_fails_leaves_pages_that_fault),
};

int
main(int argc, char **argv)
{
    return rig_main("host_pmap", tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
