/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A monitor of a page: one memory slot, one vCPU, identity-mapped 64-bit guest, and
 * for the textbook row the userfaultfd handler every tutorial shows.  It shares
 * nothing with vkvm, so that it measures the host and not us.
 */
#include "tests/bench/baseline.h"

#include "guest/include/vkvm_abi.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TABLES 0x1000 /* PML4, PDPT, four page directories */
#define GDT 0x10000
#define TSS 0x11000
#define PTE_PWU 0x07u /* present, writable, user */
#define PTE_LARGE 0x80u
#define CPUID_ENTRIES 256
#define ZERO_RUN_MAX 128

struct monitor {
    enum baseline_kind kind;
    int kvm;
    int vm;
    int vcpu;
    int memfd;
    int uffd;
    uint64_t size;
    uint8_t *memory;
    struct kvm_run *run;
    size_t run_size;
    uint64_t base; /* of the touched memory */
    pthread_t handler;
    int stop[2]; /* pipe that ends the handler */
};

static void
pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    (void)sched_setaffinity(0, sizeof(set), &set);
}

static void
write_tables(uint8_t *memory)
{
    uint64_t *table = (uint64_t *)(memory + TABLES);
    uint64_t *gdt = (uint64_t *)(memory + GDT);

    table[0] = (TABLES + 0x1000) | PTE_PWU;
    for (unsigned i = 0; i < 4; i++)
        table[512 + i] = (TABLES + 0x2000 + i * 0x1000ull) | PTE_PWU;
    for (uint64_t i = 0; i < 4 * 512; i++)
        table[1024 + i] = (i << 21) | PTE_LARGE | PTE_PWU;
    gdt[VKVM_SEL_KERNEL_CODE / 8] = 0x00af9b000000ffff;
    gdt[VKVM_SEL_KERNEL_DATA / 8] = 0x00cf93000000ffff;
    gdt[VKVM_SEL_USER_DATA / 8] = 0x00cff3000000ffff;
    gdt[VKVM_SEL_USER_CODE / 8] = 0x00affb000000ffff;
}

static int
set_registers(int vcpu)
{
    struct kvm_segment code = { .limit = ~0u,
                                .selector = VKVM_SEL_KERNEL_CODE,
                                .type = 11,
                                .present = 1,
                                .s = 1,
                                .l = 1,
                                .g = 1 };
    struct kvm_segment data = { .limit = ~0u,
                                .selector = VKVM_SEL_KERNEL_DATA,
                                .type = 3,
                                .present = 1,
                                .s = 1,
                                .db = 1,
                                .g = 1 };
    struct kvm_segment tss = {
        .base = TSS, .limit = 0x67, .selector = 0x28, .type = 11, .present = 1
    };
    struct kvm_regs regs = { .rip = TOUCH_CODE, .rflags = 2 };
    struct kvm_sregs sregs;

    if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
        return -errno;
    sregs.cs = code;
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
    sregs.tr = tss;
    sregs.gdt.base = GDT;
    sregs.gdt.limit = 0x37;
    sregs.cr3 = TABLES;
    sregs.cr4 = 0x20;
    sregs.cr0 = 0x80010033;
    sregs.efer = 0x501;
    if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu, KVM_SET_REGS, &regs) < 0)
        return -errno;
    return 0;
}

static int
copy_cpuid(int kvm, int vcpu)
{
    size_t size = sizeof(struct kvm_cpuid2) + CPUID_ENTRIES * sizeof(struct kvm_cpuid_entry2);
    struct kvm_cpuid2 *cpuid = calloc(1, size);
    int error = 0;

    if (!cpuid)
        return -ENOMEM;
    cpuid->nent = CPUID_ENTRIES;
    if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid) < 0 || ioctl(vcpu, KVM_SET_CPUID2, cpuid) < 0)
        error = -errno;
    free(cpuid);
    return error;
}

/* Memory of the host's transparent huge pages, aligned to them. */
static uint8_t *
map_huge(uint64_t size)
{
    const uint64_t huge = 2ull << 20;
    uint8_t *at =
        mmap(NULL, size + huge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (at == MAP_FAILED)
        return at;
    at += -(uintptr_t)at & (huge - 1);
    at = mmap(at, size, PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (at != MAP_FAILED)
        (void)madvise(at, size, MADV_HUGEPAGE);
    return at;
}

static int
open_vm(struct monitor *m)
{
    struct kvm_userspace_memory_region slot = { .memory_size = m->size };
    int size;

    m->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (m->kvm < 0)
        return -errno;
    m->vm = ioctl(m->kvm, KVM_CREATE_VM, 0);
    if (m->vm < 0)
        return -errno;
    m->memfd = memfd_create("baseline", MFD_CLOEXEC);
    if (m->memfd < 0 || ftruncate(m->memfd, (off_t)m->size) < 0)
        return -errno;
    if (m->kind == BASELINE_SWAPPED)
        m->memory = mmap(NULL, m->size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    else if (m->kind == BASELINE_HUGE)
        m->memory = map_huge(m->size);
    else
        m->memory =
            mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, m->memfd, 0);
    if (m->memory == MAP_FAILED)
        return -errno;
    slot.userspace_addr = (uintptr_t)m->memory;
    if (ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
        return -errno;
    m->vcpu = ioctl(m->vm, KVM_CREATE_VCPU, 0);
    size = ioctl(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (m->vcpu < 0 || size < 0)
        return -errno;
    m->run_size = (size_t)size;
    m->run = mmap(NULL, m->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu, 0);
    if (m->run == MAP_FAILED)
        return -errno;
    return copy_cpuid(m->kvm, m->vcpu);
}

static void
close_vm(struct monitor *m)
{
    if (m->run && m->run != MAP_FAILED)
        munmap(m->run, m->run_size);
    if (m->memory && m->memory != MAP_FAILED)
        munmap(m->memory, m->size);
    for (const int *fd = (const int[]){ m->uffd, m->vcpu, m->vm, m->kvm, m->memfd, -2 }; *fd != -2;
         fd++)
        if (*fd >= 0)
            close(*fd);
}

static void
copy_page(const struct monitor *m, uint64_t address)
{
    static uint8_t zeros[4096] __attribute__((aligned(4096)));
    struct uffdio_copy copy = { .dst = address, .src = (uintptr_t)zeros, .len = sizeof(zeros) };

    (void)ioctl(m->uffd, UFFDIO_COPY, &copy);
}

/* As many pages as a stream that began at the base has behind it, up to what vkvm makes at once. */
static void
zero_run(const struct monitor *m, uint64_t address)
{
    uint64_t behind = (address - (uintptr_t)m->memory - m->base) / 4096;
    uint64_t left = 512 - address / 4096 % 512;
    uint64_t npages = behind < 1 ? 1 : behind > ZERO_RUN_MAX ? ZERO_RUN_MAX : behind;
    struct uffdio_zeropage zero = { .range = { .start = address,
                                               .len = (npages < left ? npages : left) * 4096 } };

    (void)ioctl(m->uffd, UFFDIO_ZEROPAGE, &zero);
}

/* The handler of the tutorials: wait, read one message, copy one page or make a run, wait again. */
static void *
textbook_handler(void *context)
{
    const struct monitor *m = context;
    struct pollfd fds[2] = { { .fd = m->uffd, .events = POLLIN },
                             { .fd = m->stop[0], .events = POLLIN } };
    struct uffd_msg message;

    pin(1);
    for (;;) {
        if (poll(fds, 2, -1) < 0 || (fds[1].revents & POLLIN))
            return NULL;
        if (read(m->uffd, &message, sizeof(message)) != sizeof(message))
            continue;
        if (m->kind == BASELINE_ZEROPAGE)
            zero_run(m, message.arg.pagefault.address & ~4095ull);
        else
            copy_page(m, message.arg.pagefault.address & ~4095ull);
    }
}

/* The touched part of memory. */
static struct uffdio_range
touched_range(const struct monitor *m, const struct touch_params *params)
{
    return (struct uffdio_range){ .start = (uintptr_t)m->memory + params->base,
                                  .len = m->size - params->base };
}

static int
open_uffd(struct monitor *m, const struct touch_params *params, uint64_t features, uint64_t mode)
{
    struct uffdio_api api = { .api = UFFD_API, .features = features };
    struct uffdio_register reg = { .range = touched_range(m, params), .mode = mode };

    m->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    if (m->uffd < 0 || ioctl(m->uffd, UFFDIO_API, &api) < 0 ||
        ioctl(m->uffd, UFFDIO_REGISTER, &reg) < 0)
        return -errno;
    return 0;
}

static int
start_textbook(struct monitor *m, const struct touch_params *params)
{
    int error = open_uffd(m, params, UFFD_FEATURE_MISSING_SHMEM, UFFDIO_REGISTER_MODE_MISSING);

    m->base = params->base;
    if (error)
        return error;
    if (pipe(m->stop) < 0)
        return -errno;
    return -pthread_create(&m->handler, NULL, textbook_handler, m);
}

static void
stop_textbook(struct monitor *m)
{
    (void)!write(m->stop[1], "", 1);
    pthread_join(m->handler, NULL);
    close(m->stop[0]);
    close(m->stop[1]);
}

/* Fill what is going to be touched, so that the host has nothing left to do. */
static void
populate(struct monitor *m, const struct touch_params *params)
{
    for (uint64_t i = 0; i < params->count; i++)
        m->memory[params->base + (i * params->stride & params->mask)] = 1;
}

static int
protect(struct monitor *m, const struct touch_params *params)
{
    struct uffdio_writeprotect wp = { .range = touched_range(m, params),
                                      .mode = UFFDIO_WRITEPROTECT_MODE_WP };
    int error = open_uffd(m, params, UFFD_FEATURE_WP_HUGETLBFS_SHMEM, UFFDIO_REGISTER_MODE_WP);

    if (!error && ioctl(m->uffd, UFFDIO_WRITEPROTECT, &wp) < 0)
        error = -errno;
    return error;
}

/* Does a thread answer its faults? */
static bool
has_handler(enum baseline_kind kind)
{
    return kind == BASELINE_TEXTBOOK || kind == BASELINE_ZEROPAGE;
}

/* Bring memory into the state that is to be measured. */
static int
prepare(struct monitor *m, const struct touch_params *params)
{
    if (has_handler(m->kind))
        return start_textbook(m, params);
    if (m->kind == BASELINE_KERNEL || m->kind == BASELINE_HUGE)
        return 0;
    populate(m, params);
    return m->kind == BASELINE_PROTECTED ? protect(m, params) : 0;
}

static int
run_guest(struct monitor *m)
{
    while (ioctl(m->vcpu, KVM_RUN, 0) < 0)
        if (errno != EINTR)
            return -errno;
    if (m->run->exit_reason != KVM_EXIT_IO || m->run->io.port != VKVM_PORT_DOORBELL)
        return -EPROTO;
    return 0;
}

static void
write_guest(struct monitor *m, const struct touch_params *params)
{
    struct touch_shared shared = { .ncpus = 1 };

    write_tables(m->memory);
    memcpy(m->memory + TOUCH_CODE, touch_begin, (size_t)(touch_end - touch_begin));
    memcpy(m->memory + TOUCH_SHARED, &shared, sizeof(shared));
    memcpy(m->memory + TOUCH_PARAMS(0), params, sizeof(*params));
}

int
baseline_run(enum baseline_kind kind, uint64_t memory, struct touch_params *params)
{
    struct monitor m = {
        .kind = kind, .kvm = -1, .vm = -1, .vcpu = -1, .memfd = -1, .uffd = -1, .size = memory
    };
    cpu_set_t saved;
    int error = open_vm(&m);

    if (error)
        goto out;
    (void)sched_getaffinity(0, sizeof(saved), &saved);
    write_guest(&m, params);
    error = set_registers(m.vcpu);
    if (!error)
        error = prepare(&m, params);
    if (error)
        goto out;
    pin(0);
    error = run_guest(&m);
    (void)sched_setaffinity(0, sizeof(saved), &saved);
    if (has_handler(kind))
        stop_textbook(&m);
    memcpy(params, m.memory + TOUCH_PARAMS(0), sizeof(*params));
out:
    close_vm(&m);
    return error;
}
