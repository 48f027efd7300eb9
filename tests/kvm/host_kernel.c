/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What newer kernels can do, on a kernel that can: what vkvm uses is found, and what it does not use
 * behaves as docs/hosts.md says ("Newer kernels").  On a kernel that cannot, a test says so and passes; in the
 * NPT lane a kernel of the right version must.
 */
#include "tests/kvm/kvm_rig.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/utsname.h>

/* Linux 6.6: pages whose touch is SIGBUS. */
struct kernel_uffdio_poison {
    struct uffdio_range range;
    __u64 mode;
    __s64 updated;
};
#define KERNEL_UFFDIO_POISON _IOWR(UFFDIO, 0x08, struct kernel_uffdio_poison)

/* Linux 6.11: fill the second stage without running the guest. */
struct kernel_pre_fault_memory {
    __u64 gpa;
    __u64 size;
    __u64 flags;
    __u64 padding[5];
};
#define KERNEL_CAP_PRE_FAULT_MEMORY 236
#define KERNEL_PRE_FAULT_MEMORY _IOWR(KVMIO, 0xd5, struct kernel_pre_fault_memory)

static bool
kernel_is(unsigned major, unsigned minor)
{
    struct utsname host;
    unsigned is_major = 0, is_minor = 0;

    MUST(uname(&host) == 0 && sscanf(host.release, "%u.%u", &is_major, &is_minor) == 2);
    return is_major > major || (is_major == major && is_minor >= minor);
}

/* Is it here?  It must be, from that version on, in the lane. */
static bool
here(bool has, unsigned major, unsigned minor, const char *what)
{
    if (!has)
        printf("    not here: %s (Linux %u.%u)\n", what, major, minor);
    CHECK(has || getenv("VKVM_LANE") == NULL || !kernel_is(major, minor));
    return has;
}

static unsigned
messages(void)
{
    return m.missing + m.minor + m.wp;
}

/* --- UFFDIO_CONTINUE ------------------------------------------------------ */

static void
a_filled_page_is_entered_write_protected_in_one_call(void)
{
    struct kvm_pmap_statistics statistics;
    struct guest g;
    gpa_t gpa = gpa_from_u64(WINDOW_GPA);

    machine_open(NATURAL, true);
    if (here(m.host.uffd_continue_wp, 6, 4, "UFFDIO_CONTINUE that write-protects")) {
        plan(8, 1, VM_PROT_READ, false);
        fill_frames(8);
        guest_open(&g, 0, NULL);
        CHECK(guest_do(&g, GUEST_LOAD, gpa, 8, 0) == 0);
        kvm_pmap_statistics(m.kp, &statistics);
        CHECK(statistics.continued_pages == 8 && m.minor == 8 && m.wp == 0);
        CHECK(guest_do(&g, GUEST_STORE, gpa, 8, 5) == 0);
        CHECK(m.wp == 8);
        guest_close(&g);
    }
    machine_close();
}

/* --- UFFDIO_POISON -------------------------------------------------------- */

static _Atomic unsigned sigbuses;
static void *poisoned;

/* Take the poison away. */
static void
on_sigbus(int signo, siginfo_t *info, void *context)
{
    (void)signo;
    (void)context;
    sigbuses += info->si_addr == poisoned;
    madvise(poisoned, PAGE_SIZE, MADV_DONTNEED);
}

static bool
poison(void *page)
{
    struct kernel_uffdio_poison op = { .range = { (uintptr_t)page, PAGE_SIZE } };

    return ioctl(m.kvm.uffd, KERNEL_UFFDIO_POISON, &op) == 0;
}

static void
a_poisoned_page_is_sigbus_and_not_efault(void)
{
    struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
    struct guest g;
    gpa_t gpa = gpa_from_u64(WINDOW_GPA);

    machine_open(NATURAL, true);
    plan(4, 1, VM_PROT_RW, true);
    poisoned = kvm_pmap_host_address(m.kp, gpa_add(gpa, PAGE_SIZE));
    if (here(poison(poisoned), 6, 6, "UFFDIO_POISON")) {
        sigaction(SIGBUS, &action, NULL);
        guest_open(&g, 0, NULL);
        CHECK(guest_do(&g, GUEST_STORE, gpa, 3, 5) == 0);
        CHECK(sigbuses >= 1 && g.efaults == 0);
        CHECK(*frame_word(m.frames + 1) == 5);
        guest_close(&g);
        signal(SIGBUS, SIG_DFL);
    }
    machine_close();
}

/* --- KVM_PRE_FAULT_MEMORY ------------------------------------------------- */

static int
pre_fault(const struct guest *g, gpa_t gpa, uint64_t npages)
{
    struct kernel_pre_fault_memory range = { .gpa = gpa_to_u64(gpa), .size = npages * PAGE_SIZE };
    int result;

    do
        result = ioctl(g->fd, KERNEL_PRE_FAULT_MEMORY, &range);
    while (result != 0 && (errno == EINTR || errno == EAGAIN));
    return result == 0 ? 0 : -errno;
}

static void
pre_faulting_goes_through_the_same_messages(void)
{
    struct guest g;
    gpa_t gpa = gpa_from_u64(WINDOW_GPA);

    machine_open(NATURAL, true);
    plan(16, 1, VM_PROT_RW, true);
    guest_open(&g, 0, NULL);
    if (here(ioctl(m.kvm.fd, KVM_CHECK_EXTENSION, KERNEL_CAP_PRE_FAULT_MEMORY) > 0, 6, 11,
             "KVM_PRE_FAULT_MEMORY")) {
        g.patience = 100; /* nobody remaps */
        CHECK(pre_fault(&g, gpa, 8) == 0);
        CHECK(m.missing == 8 && m.minor == 0 && m.wp == 0);
        CHECK(guest_do(&g, GUEST_LOAD, gpa, 8, 0) == 0);
        CHECK(messages() == 8);
        CHECK(kvm_pmap_fail(m.kp, gpa, kvm_pmap_wakeups(m.kp, gpa)) == 0);
        CHECK(pre_fault(&g, gpa, 1) == -EFAULT);
        CHECK(kvm_pmap_unfail(m.kp, gpa) == 0);
        CHECK(pre_fault(&g, gpa, 1) == 0);
    }
    guest_close(&g);
    machine_close();
}

static const struct rig_test tests[] = {
    RIG_TEST(a_filled_page_is_entered_write_protected_in_one_call),
    RIG_TEST(a_poisoned_page_is_sigbus_and_not_efault),
    RIG_TEST(pre_faulting_goes_through_the_same_messages),
};

int
main(int argc, char **argv)
{
    return rig_main("host_kernel", tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
