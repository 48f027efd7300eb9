/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The KVM side without a guest kernel: windows, mappings, failing accesses, the
 * fault threads, each property on its own.
 *
 * Two kinds of toucher: this program itself, through the window's host address
 * (the monitor never does that), and a few instructions of ring-3 guest where
 * KVM_RUN's answer matters.  A server thread plays the engine for the window
 * under test; the guests' RAM is a real map entry.
 */
#include "vmm/kvm/fault_service.h"
#include "vmm/kvm/kvm_compat.h"
#include "vmm/kvm/kvm_pmap.h"
#include "vmm/kvm/kvm_window.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define RAM_PAGES 64
#define WINDOW_GPA 0x40000000u /* 1 GiB */
#define WINDOW_PAGES 4096
#define GUEST_CODE 0x8000u
#define GUEST_TABLES 0x1000u
#define GUEST_GDT 0x500u

static unsigned tests_failed;
static unsigned tests_run;
static bool this_failed;

#define CHECK(cond)                                                         \
    do {                                                                    \
        if (!(cond)) {                                                      \
            printf("    %s:%d: not true: %s\n", __FILE__, __LINE__, #cond); \
            this_failed = true;                                             \
        }                                                                   \
    } while (0)

/* What a test cannot do without. */
#define MUST(cond)                                                                  \
    do {                                                                            \
        if (!(cond)) {                                                              \
            printf("    %s:%d: cannot go on: %s (%s)\n", __FILE__, __LINE__, #cond, \
                   strerror(errno));                                                \
            fflush(stdout);                                                         \
            _exit(1);                                                               \
        }                                                                           \
    } while (0)

/* --- the machine under test ---------------------------------------------- */

struct machine {
    struct kvm_host host;
    struct vm_system sys;
    struct pmap pmap;
    struct vm_map map;
    struct kvm_pmap *kp;
    uint64_t frames;      /* first slot of the test window's frames */
    struct pmap_window w; /* the window under test, outside the map */
    pthread_mutex_t p;    /* plays P */
    struct pmap_frame plan[WINDOW_PAGES];
    unsigned run; /* pages the server enters per fault */
    bool serve;
    pthread_t server;
    int stop[2];
    _Atomic unsigned missing;
    _Atomic unsigned minor;
    _Atomic unsigned wp;
    _Atomic bool modified[WINDOW_PAGES];
};

static struct machine m;

/* Counting and disturbing what goes to the userfaultfd. */
static _Atomic unsigned calls_zeropage;
static _Atomic unsigned calls_copy;
static _Atomic unsigned calls_continue;
static int (*disturb)(unsigned long request, void *argument); /* 1 = pass on */

static int
spy_ioctl(int fd, unsigned long request, void *argument)
{
    calls_zeropage += request == UFFDIO_ZEROPAGE;
    calls_copy += request == UFFDIO_COPY;
    calls_continue += request == UFFDIO_CONTINUE;
    if (disturb != NULL) {
        int result = disturb(request, argument);
        if (result != 1)
            return result;
    }
    return ioctl(fd, request, argument);
}

/* A word of the window, once the server is not entering anything: the first pages of a run are
 * accessible before the others, and touching those meanwhile would be one more fault. */
static volatile uint64_t *
window_word(unsigned page)
{
    pthread_mutex_lock(&m.p);
    pthread_mutex_unlock(&m.p);
    return kvm_pmap_host_address(m.kp, gpa_from_u64(WINDOW_GPA + page * PAGE_SIZE));
}

static volatile uint64_t *
frame_word(uint64_t frame)
{
    return vm_frame_address(&m.sys, frame);
}

/* Enter a run as planned; `write` makes the first page writable. */
static int
enter_planned(unsigned page, unsigned npages, bool write)
{
    struct pmap_frame frames[PMAP_CHUNK_PAGES];
    unsigned entered;

    memcpy(frames, m.plan + page, npages * sizeof(frames[0]));
    if (write)
        frames[0].prot = VM_PROT_RW;
    int error = kvm_pmap_ops.enter(m.kp, &m.w, page, npages, frames, &entered);
    if (error == 0 && entered != npages)
        return -EINVAL;
    for (unsigned i = 0; i < npages; i++) {
        m.plan[page + i].fill = false;
        m.plan[page + i].same = true;
    }
    return error;
}

static void
serve_window(unsigned page, uint64_t flags)
{
    bool write = (flags & (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP)) != 0;

    if ((flags & UFFD_PAGEFAULT_FLAG_WP) != 0)
        m.wp++;
    else if ((flags & UFFD_PAGEFAULT_FLAG_MINOR) != 0)
        m.minor++;
    else
        m.missing++;
    pthread_mutex_lock(&m.p);
    if (write)
        m.modified[page] = true;
    unsigned room = PMAP_CHUNK_PAGES - page % PMAP_CHUNK_PAGES;
    CHECK(enter_planned(page, m.run < room ? m.run : room, write) == 0);
    pthread_mutex_unlock(&m.p);
}

static void
serve_message(const struct uffd_msg *msg)
{
    struct vm_fault_info info;
    uint64_t flags = msg->arg.pagefault.flags;
    bool write = (flags & (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP)) != 0;
    gpa_t gpa;

    MUST(kvm_pmap_gpa(m.kp, msg->arg.pagefault.address, &gpa));
    uint64_t page = (gpa_to_u64(gpa) - WINDOW_GPA) / PAGE_SIZE;
    if (page < WINDOW_PAGES)
        serve_window((unsigned)page, flags);
    else
        CHECK(vm_fault(&m.map, gpa, write ? VM_PROT_WRITE : VM_PROT_READ, 0, &info) == VM_OK);
}

static void *
server_main(void *unused)
{
    struct pollfd fds[2] = { { .fd = m.host.uffd, .events = POLLIN },
                             { .fd = m.stop[0], .events = POLLIN } };
    struct uffd_msg msg;

    (void)unused;
    for (;;) {
        poll(fds, 2, -1);
        if (fds[1].revents != 0)
            return NULL;
        while (read(m.host.uffd, &msg, sizeof(msg)) == sizeof(msg))
            serve_message(&msg);
    }
}

static void
add_ram(void)
{
    struct vm_object *object;

    MUST(vm_object_create_default(&m.sys, RAM_PAGES, &object) == 0);
    struct vm_map_insert args = {
        .start = gpa_from_u64(0),
        .end = gpa_from_u64(RAM_PAGES * PAGE_SIZE),
        .object = object,
        .maptype = VM_MAPTYPE_NORMAL,
        .protection = VM_PROT_ALL,
        .max_protection = VM_PROT_ALL,
    };
    MUST(vm_map_insert(&m.map, &args) == 0);
}

/* A machine with RAM, and unless natural is PMAP_NO_NATURAL - 1, a test window. */
#define NO_WINDOW (PMAP_NO_NATURAL - 1)
#define NATURAL 0

static void
machine_open(uint64_t natural, bool serve)
{
    struct vm_system_config config = { .store_pages = 1u << 20 };
    struct host_error error;

    memset(&m, 0, sizeof(m));
    calls_zeropage = calls_copy = calls_continue = 0;
    disturb = NULL;
    if (kvm_host_open(&m.host, &error) != 0) {
        printf("    %s\n", error.message);
        MUST(false);
    }
    MUST(vm_system_init(&m.sys, &config) == 0);
    MUST(kvm_pmap_create(&m.host, &m.sys, &m.kp) == 0);
    kvm_pmap_configure(m.kp, 0, spy_ioctl);
    MUST(pmap_init(&m.pmap, &m.sys, &kvm_pmap_ops, m.kp) == 0);
    vm_map_init(&m.map, &m.sys, &m.pmap);
    add_ram();
    MUST(vm_extent_alloc(&m.sys, WINDOW_PAGES, &m.frames) == 0);
    m.w = (struct pmap_window){ .pmap = &m.pmap,
                                .start = gpa_from_u64(WINDOW_GPA),
                                .npages = WINDOW_PAGES,
                                .natural = natural == NATURAL ? m.frames : PMAP_NO_NATURAL };
    if (natural != NO_WINDOW)
        MUST(kvm_pmap_ops.window_create(m.kp, &m.w) == 0);
    m.run = 1;
    m.serve = serve;
    pthread_mutex_init(&m.p, NULL);
    MUST(pipe(m.stop) == 0);
    if (serve)
        MUST(pthread_create(&m.server, NULL, server_main, NULL) == 0);
}

static void
machine_close(void)
{
    if (m.serve) {
        MUST(write(m.stop[1], "", 1) == 1);
        pthread_join(m.server, NULL);
    }
    close(m.stop[0]);
    close(m.stop[1]);
    if (m.w.md != NULL)
        kvm_pmap_ops.window_destroy(m.kp, &m.w);
    vm_frame_punch_run(&m.sys, m.frames, WINDOW_PAGES);
    vm_extent_free(&m.sys, m.frames, WINDOW_PAGES);
    vm_map_fini(&m.map);
    pmap_fini(&m.pmap);
    kvm_pmap_destroy(m.kp);
    vm_system_fini(&m.sys);
    kvm_host_close(&m.host);
    pthread_mutex_destroy(&m.p);
}

/* Plan pages [0, npages): frame `base + index * step % WINDOW_PAGES`. */
static void
plan(unsigned npages, unsigned step, vm_prot_t prot, bool fill)
{
    for (unsigned i = 0; i < npages; i++)
        m.plan[i] = (struct pmap_frame){
            .frame = m.frames + (uint64_t)i * step % WINDOW_PAGES,
            .prot = prot,
            .fill = fill,
            .foreign = step != 1,
        };
}

/* Give each planned frame its content, 1000 + page. */
static void
fill_frames(unsigned npages)
{
    for (unsigned i = 0; i < npages; i++)
        *frame_word(m.plan[i].frame) = 1000 + i;
}

/* --- guests -------------------------------------------------------------- */

/* Loop: for each of RCX pages from RSI: AL 0 = load, 1 = store RDX, 2 = locked increment
 * RCX times without moving on; then an exit. */
__asm__(".pushsection .rodata\n"
        "guest_start:\n"
        "  cmpb $2, %al\n je 3f\n"
        "1: cmpb $0, %al\n jne 2f\n"
        "  movq (%rsi), %rbx\n jmp 4f\n"
        "2: movq %rdx, (%rsi)\n"
        "4: addq $4096, %rsi\n decq %rcx\n jnz 1b\n jmp 5f\n"
        "3: lock incq (%rsi)\n decq %rcx\n jnz 3b\n"
        "5: outb %al, $0xe9\n"
        "  jmp guest_start\n"
        "guest_end:\n"
        ".popsection\n");
extern const uint8_t guest_start[];
extern const uint8_t guest_end[];

enum guest_op {
    GUEST_LOAD,
    GUEST_STORE,
    GUEST_INCREMENT
};

struct guest {
    int fd;
    struct kvm_run *run;
    struct fault_service *service; /* NULL: a test's server answers */
    unsigned index;
    unsigned efaults;
    struct vm_fault_info failure;
    /* for guest_thread */
    enum guest_op op;
    gpa_t gpa;
    uint64_t count;
    int result;
};

static void
ram_write(uint64_t gpa, const void *from, size_t size)
{
    struct vm_fault_info info;

    MUST(vm_map_write(&m.map, gpa_from_u64(gpa), from, size, &info) == VM_OK);
}

static void
ram_write_u64(uint64_t gpa, uint64_t value)
{
    ram_write(gpa, &value, sizeof(value));
}

/* Identity map of 4 GiB by 2 MiB pages, flat segments, the loop above. */
static void
load_guest(void)
{
    ram_write_u64(GUEST_TABLES, (GUEST_TABLES + 0x1000) | 7);
    for (unsigned i = 0; i < 4; i++) {
        ram_write_u64(GUEST_TABLES + 0x1000 + i * 8, (GUEST_TABLES + 0x2000 + i * 0x1000) | 7);
        for (unsigned j = 0; j < 512; j++)
            ram_write_u64(GUEST_TABLES + 0x2000 + i * 0x1000 + j * 8,
                          ((uint64_t)(i * 512 + j) << 21) | 0xe7);
    }
    ram_write_u64(GUEST_GDT + 0x18, 0x00cff3000000ffff);
    ram_write_u64(GUEST_GDT + 0x20, 0x00affb000000ffff);
    ram_write(GUEST_CODE, guest_start, (size_t)(guest_end - guest_start));
}

static void
set_long_mode(int fd)
{
    struct kvm_sregs s;
    struct kvm_segment data = {
        .limit = ~0u, .selector = 0x1b, .type = 3, .present = 1, .dpl = 3, .s = 1, .db = 1, .g = 1
    };
    struct kvm_segment code = {
        .limit = ~0u, .selector = 0x23, .type = 11, .present = 1, .dpl = 3, .s = 1, .l = 1, .g = 1
    };

    MUST(ioctl(fd, KVM_GET_SREGS, &s) == 0);
    s.cr0 = 0x80010033;
    s.cr3 = GUEST_TABLES;
    s.cr4 = 0x620;
    s.efer = 0xd01;
    s.cs = code;
    s.ss = s.ds = s.es = s.fs = s.gs = data;
    s.gdt.base = GUEST_GDT;
    s.gdt.limit = 0x27;
    MUST(ioctl(fd, KVM_SET_SREGS, &s) == 0);
}

static void
set_cpuid(int fd)
{
    const unsigned entries = 256;
    struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + entries * sizeof(cpuid->entries[0]));

    MUST(cpuid != NULL);
    cpuid->nent = entries;
    MUST(ioctl(m.host.kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) == 0);
    MUST(ioctl(fd, KVM_SET_CPUID2, cpuid) == 0);
    free(cpuid);
}

static void
guest_open(struct guest *g, unsigned index, struct fault_service *service)
{
    if (index == 0)
        load_guest();
    memset(g, 0, sizeof(*g));
    g->index = index;
    g->service = service;
    g->fd = ioctl(m.host.vm_fd, KVM_CREATE_VCPU, (unsigned long)index);
    MUST(g->fd >= 0);
    g->run = mmap(NULL, m.host.vcpu_mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd, 0);
    MUST(g->run != MAP_FAILED);
    set_cpuid(g->fd);
    set_long_mode(g->fd);
    struct kvm_regs regs = { .rip = GUEST_CODE, .rflags = 0x3002 };
    MUST(ioctl(g->fd, KVM_SET_REGS, &regs) == 0);
}

static void
guest_close(struct guest *g)
{
    munmap(g->run, m.host.vcpu_mmap_size);
    close(g->fd);
}

/* Run to the next exit.  0 = done, -EFAULT = failed by the service, -ECANCELED = EFAULTs without
 * end or a triple fault (the machine was aborted). */
static int
guest_run(struct guest *g)
{
    const unsigned most = g->service != NULL ? 1000000 : 10000; /* a failure may take its time */
    unsigned in_a_row = 0;

    for (;;) {
        int result = ioctl(g->fd, KVM_RUN, 0);
        if (result == 0 && g->run->exit_reason == KVM_EXIT_IO)
            return 0;
        if (result != 0 && errno == EINTR)
            continue;
        if (result != 0 && errno == EFAULT) {
            g->efaults++;
            if (g->service != NULL && fault_service_take_failure(g->service, g->index, &g->failure))
                return -EFAULT;
            if (++in_a_row > most)
                return -ECANCELED;
            continue;
        }
        if (result == 0 && g->run->exit_reason == KVM_EXIT_SHUTDOWN)
            return -ECANCELED; /* after an abort its page tables are inaccessible too */
        printf("    guest: result %d errno %d exit %u\n", result, errno, g->run->exit_reason);
        return -EIO;
    }
}

/* Do `op` on count pages from gpa. */
static int
guest_do(struct guest *g, enum guest_op op, gpa_t gpa, uint64_t count, uint64_t value)
{
    struct kvm_regs regs;

    if (g->service != NULL)
        fault_service_attach(g->service, g->index);
    g->run->immediate_exit = 1; /* ends the exit before, if there was one */
    (void)ioctl(g->fd, KVM_RUN, 0);
    g->run->immediate_exit = 0;
    MUST(ioctl(g->fd, KVM_GET_REGS, &regs) == 0);
    regs.rip = GUEST_CODE;
    regs.rax = op;
    regs.rsi = gpa_to_u64(gpa);
    regs.rcx = count;
    regs.rdx = value;
    MUST(ioctl(g->fd, KVM_SET_REGS, &regs) == 0);
    return guest_run(g);
}

static void *
guest_thread(void *argument)
{
    struct guest *g = argument;

    g->result = guest_do(g, g->op, g->gpa, g->count, 1);
    return NULL;
}

static void
guest_start_thread(struct guest *g, pthread_t *thread, enum guest_op op, uint64_t page,
                   uint64_t count)
{
    g->op = op;
    g->gpa = gpa_from_u64(WINDOW_GPA + page * PAGE_SIZE);
    g->count = count;
    MUST(pthread_create(thread, NULL, guest_thread, g) == 0);
}

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
    CHECK(m.kp->vmas == 0);
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

static unsigned
count_vmas(void)
{
    unsigned lines = 0;
    FILE *f = fopen("/proc/self/maps", "re");
    int c;

    MUST(f != NULL);
    while ((c = fgetc(f)) != EOF)
        lines += c == '\n';
    fclose(f);
    return lines;
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
    CHECK(m.kp->vmas == 0);
    machine_close();
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
    int result = ioctl(m.host.uffd, UFFDIO_ZEROPAGE, op);
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
    CHECK(entered == 0 && m.kp->vmas == 0);
    for (unsigned i = 0; i < 8; i++)
        CHECK(*window_word(i) == 1000 + i);
    CHECK(m.missing == 8);
    machine_close();
}

/* --- windows and slots --------------------------------------------------- */

static void
slot_numbers_are_reused_and_their_end_is_an_error(void)
{
    struct memslots slots;
    unsigned slot[3];
    void *base =
        mmap(NULL, 4 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    machine_open(NO_WINDOW, false);
    MUST(memslots_init(&slots, m.host.vm_fd, 4) == 0);
    slots.used[0] = 1; /* RAM has slot 0 */
    for (unsigned i = 0; i < 3; i++) {
        CHECK(memslot_add(&slots, gpa_from_u64(WINDOW_GPA + i * PAGE_SIZE), 1, base, &slot[i]) ==
              0);
        CHECK(slot[i] == i + 1);
    }
    unsigned none;
    CHECK(memslot_add(&slots, gpa_from_u64(WINDOW_GPA + 9 * PAGE_SIZE), 1, base, &none) == -ENOSPC);
    memslot_remove(&slots, slot[1]);
    CHECK(memslot_add(&slots, gpa_from_u64(WINDOW_GPA + 9 * PAGE_SIZE), 1, base, &none) == 0);
    CHECK(none == 2);
    memslot_remove(&slots, 1);
    CHECK(memslot_add(&slots, gpa_from_u64(WINDOW_GPA + 9 * PAGE_SIZE), 1, base, &none) ==
          -EEXIST); /* KVM: overlaps slot 2 */
    memslots_fini(&slots);
    munmap(base, 4 * PAGE_SIZE);
    machine_close();
}

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
    CHECK(kvm_pmap_fail(m.kp, gpa_from_u64(3u << 30), 0) == -ENOENT);
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
    struct pollfd fd = { .fd = m.host.uffd, .events = POLLIN };
    struct uffd_msg msg;
    for (unsigned i = 0; i < 2; i++)
        while (read(m.host.uffd, &msg, sizeof(msg)) != sizeof(msg))
            poll(&fd, 1, 1000);
    kvm_pmap_abort(m.kp);
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(thread[i], NULL);
        CHECK(g[i].result == -ECANCELED);
        guest_close(&g[i]);
    }
    machine_close();
}

/* --- the fault service --------------------------------------------------- */

static _Atomic unsigned fatals;
static _Atomic unsigned suspects;
static char fatal_message[256];

static void
on_fatal(void *context, const char *message)
{
    (void)context;
    snprintf(fatal_message, sizeof(fatal_message), "%s", message);
    printf("    fatal: %s\n", message);
    fatals++;
    kvm_pmap_abort(m.kp);
}

static void
on_suspect(void *context, unsigned vcpu, gpa_t gpa)
{
    (void)context;
    CHECK(vcpu == 0 && gpa_to_u64(gpa) == WINDOW_GPA);
    if (++suspects == 2)
        kvm_pmap_abort(m.kp);
}

static struct fault_service *
service_open(unsigned nvcpus, unsigned nthreads, enum fault_placement placement)
{
    struct fault_service_config config = {
        .host = &m.host,
        .map = &m.map,
        .kpmap = m.kp,
        .nvcpus = nvcpus,
        .nthreads = nthreads,
        .placement = placement,
        .fatal = on_fatal,
        .suspect = on_suspect,
    };
    struct fault_service *service;

    fatals = suspects = 0;
    fatal_message[0] = '\0';
    MUST(fault_service_start(&config, &service) == 0);
    return service;
}

/* A map entry on a fresh object where the test window would be. */
static void
add_entry(enum vm_maptype maptype, vpte_t root)
{
    struct vm_object *object;

    MUST(vm_object_create_default(&m.sys, WINDOW_PAGES, &object) == 0);
    struct vm_map_insert args = {
        .start = gpa_from_u64(WINDOW_GPA),
        .end = gpa_from_u64(WINDOW_GPA + WINDOW_PAGES * PAGE_SIZE),
        .object = object,
        .maptype = maptype,
        .format = maptype == VM_MAPTYPE_VPAGETABLE ? &vpte64_format : NULL,
        .root = root,
        .protection = VM_PROT_ALL,
        .max_protection = VM_PROT_ALL,
    };
    MUST(vm_map_insert(&m.map, &args) == 0);
}

static void
check_service(enum fault_placement placement)
{
    struct fault_report report;
    struct guest g;

    machine_open(NO_WINDOW, false);
    struct fault_service *service = service_open(1, 0, placement);
    add_entry(VM_MAPTYPE_NORMAL, 0);
    guest_open(&g, 0, service);
    CHECK(guest_do(&g, GUEST_STORE, gpa_from_u64(WINDOW_GPA), WINDOW_PAGES, 7) == 0);
    fault_service_report(service, &report);
    CHECK(report.messages > 0 && report.latency.count == report.messages);
    CHECK(report.missing + report.minor + report.write_protect == report.messages);
    CHECK(report.resolved == report.messages && report.failed == 0);
    guest_close(&g);
    fault_service_stop(service);
    machine_close();
}

static void
the_service_resolves_faults_with_and_without_spinning(void)
{
    check_service(FAULT_PLACE_SPIN);
    check_service(FAULT_PLACE_BLOCK);
    check_service(FAULT_PLACE_AUTO);
}

static void
a_fault_the_guest_must_handle_reaches_its_vcpu_with_the_cause(void)
{
    struct fault_report report;
    struct guest g;
    gpa_t gpa = gpa_from_u64(WINDOW_GPA + 5 * PAGE_SIZE);

    machine_open(NO_WINDOW, false);
    struct fault_service *service = service_open(1, 0, FAULT_PLACE_AUTO);
    add_entry(VM_MAPTYPE_VPAGETABLE, 0); /* root without V */
    guest_open(&g, 0, service);
    for (unsigned i = 0; i < 50; i++) {
        CHECK(guest_do(&g, i % 2 ? GUEST_STORE : GUEST_LOAD, gpa, 1, 7) == -EFAULT);
        CHECK(g.failure.result == VM_VPTE_INVALID);
        CHECK(gpa_to_u64(gpa_trunc_page(g.failure.gpa)) == gpa_to_u64(gpa));
        CHECK(g.failure.access == (i % 2 ? VM_PROT_WRITE : VM_PROT_READ));
    }
    CHECK(!fault_service_take_failure(service, 0, &g.failure));
    CHECK(m.kp->nfailed == 0);
    fault_service_report(service, &report);
    CHECK(report.failed == 50);
    CHECK(fatals == 0);
    guest_close(&g);
    fault_service_stop(service);
    machine_close();
}

#define FAIL_ROUNDS 100u

static pthread_barrier_t fail_barrier;

/* One thread for all rounds: a message that is answered late still finds its vCPU. */
static void *
fail_in_rounds(void *argument)
{
    struct guest *g = argument;

    for (unsigned round = 0; round < FAIL_ROUNDS; round++) {
        pthread_barrier_wait(&fail_barrier);
        CHECK(guest_do(g, GUEST_STORE, g->gpa, 1, 1) == -EFAULT);
        CHECK(g->failure.result == VM_VPTE_INVALID);
    }
    return NULL;
}

static void
two_vcpus_that_fail_on_one_page_both_learn_it(void)
{
    struct guest g[2];
    pthread_t thread[2];

    machine_open(NO_WINDOW, false);
    struct fault_service *service = service_open(2, 2, FAULT_PLACE_AUTO);
    add_entry(VM_MAPTYPE_VPAGETABLE, 0);
    pthread_barrier_init(&fail_barrier, NULL, 2);
    for (unsigned i = 0; i < 2; i++) {
        guest_open(&g[i], i, service);
        g[i].gpa = gpa_from_u64(WINDOW_GPA);
    }
    for (unsigned i = 0; i < 2; i++)
        MUST(pthread_create(&thread[i], NULL, fail_in_rounds, &g[i]) == 0);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    for (unsigned i = 0; i < 2; i++)
        guest_close(&g[i]);
    pthread_barrier_destroy(&fail_barrier);
    fault_service_stop(service); /* takes what was recorded for a message answered late */
    CHECK(m.kp->nfailed == 0);
    CHECK(fatals == 0);
    machine_close();
}

/* Touch the page until it does not fail for want of a failure to take. */
static void *
store_until_answered(void *argument)
{
    struct guest *g = argument;

    do
        g->result = guest_do(g, GUEST_STORE, g->gpa, 1, 1);
    while (g->result == -ECANCELED);
    return NULL;
}

static void
a_failure_nobody_takes_does_not_hold_up_others_for_ever(void)
{
    struct guest g[2];
    pthread_t thread;
    struct vm_fault_info info;
    vpte_t all = VPTE_V | VPTE_PS | VPTE_R | VPTE_W | VPTE_X;

    machine_open(NO_WINDOW, false);
    struct fault_service *service = service_open(2, 1, FAULT_PLACE_AUTO);
    add_entry(VM_MAPTYPE_VPAGETABLE, 0);
    for (unsigned i = 0; i < 2; i++)
        guest_open(&g[i], i, service);
    g[0].service = NULL; /* takes no failure */
    fault_service_attach(service, 0);
    CHECK(guest_do(&g[0], GUEST_STORE, gpa_from_u64(WINDOW_GPA), 1, 1) == -ECANCELED);
    CHECK(vm_map_setmap(&m.map, gpa_from_u64(WINDOW_GPA),
                        gpa_from_u64(WINDOW_GPA + WINDOW_PAGES * PAGE_SIZE), all) == 0);
    g[1].gpa = gpa_from_u64(WINDOW_GPA);
    MUST(pthread_create(&thread, NULL, store_until_answered, &g[1]) == 0);
    pthread_join(thread, NULL);
    CHECK(g[1].result == 0);
    CHECK(!fault_service_take_failure(service, 0, &info));
    for (unsigned i = 0; i < 2; i++)
        guest_close(&g[i]);
    fault_service_stop(service);
    machine_close();
}

static void
a_dead_fault_thread_ends_the_machine_with_a_message(void)
{
    struct guest g;

    machine_open(NO_WINDOW, false);
    struct fault_service *service = service_open(1, 1, FAULT_PLACE_AUTO);
    add_entry(VM_MAPTYPE_NORMAL, 0);
    guest_open(&g, 0, service);
    CHECK(guest_do(&g, GUEST_STORE, gpa_from_u64(WINDOW_GPA), 1, 7) == 0);
    fault_service_kill_thread(service, 0);
    CHECK(guest_do(&g, GUEST_STORE, gpa_from_u64(WINDOW_GPA + 3000 * PAGE_SIZE), 1, 7) ==
          -ECANCELED);
    CHECK(fatals == 1);
    CHECK(strstr(fatal_message, "fault thread 0") != NULL);
    guest_close(&g);
    fault_service_stop(service);
    machine_close();
}

/* The first page of the window is never entered, only its waiter woken.  ZEROPAGE and
 * CONTINUE have the same shape: range, mode, bytes done. */
static int
disturb_enter(unsigned long request, void *argument)
{
    struct uffdio_zeropage *op = argument;

    if ((request != UFFDIO_ZEROPAGE && request != UFFDIO_CONTINUE) ||
        op->range.start != (uintptr_t)window_word(0))
        return 1;
    op->zeropage = (int64_t)op->range.len;
    return ioctl(m.host.uffd, UFFDIO_WAKE, &op->range);
}

static void
a_page_that_faults_without_end_is_reported_as_suspect(void)
{
    struct guest g;

    machine_open(NO_WINDOW, false);
    m.sys.tunables.prefault_pages = 0;
    struct fault_service *service = service_open(1, 1, FAULT_PLACE_AUTO);
    add_entry(VM_MAPTYPE_NORMAL, 0);
    guest_open(&g, 0, service);
    CHECK(guest_do(&g, GUEST_LOAD, gpa_from_u64(0), 1, 0) == 0);
    disturb = disturb_enter;
    CHECK(guest_do(&g, GUEST_LOAD, gpa_from_u64(WINDOW_GPA), 1, 0) == -ECANCELED);
    CHECK(suspects == 2);
    disturb = NULL;
    guest_close(&g);
    fault_service_stop(service);
    machine_close();
}

static int
disturb_fatally(unsigned long request, void *argument)
{
    struct uffdio_zeropage *op = argument;

    if (request != UFFDIO_ZEROPAGE)
        return 1;
    op->zeropage = -ENOMEM;
    errno = ENOMEM;
    return -1;
}

static void
an_entry_the_host_refuses_ends_the_machine_with_address_access_and_cause(void)
{
    struct guest g;

    machine_open(NO_WINDOW, false);
    struct fault_service *service = service_open(1, 1, FAULT_PLACE_AUTO);
    add_entry(VM_MAPTYPE_NORMAL, 0);
    guest_open(&g, 0, service);
    CHECK(guest_do(&g, GUEST_LOAD, gpa_from_u64(0), 1, 0) == 0);
    disturb = disturb_fatally;
    CHECK(guest_do(&g, GUEST_STORE, gpa_from_u64(WINDOW_GPA), 1, 0) == -ECANCELED);
    CHECK(fatals == 1);
    CHECK(strstr(fatal_message, "0x40000000") != NULL);
    CHECK(strstr(fatal_message, "write") != NULL);
    CHECK(strstr(fatal_message, strerror(ENOMEM)) != NULL);
    guest_close(&g);
    fault_service_stop(service);
    machine_close();
}

static void
an_idle_service_stops_at_once(void)
{
    machine_open(NO_WINDOW, false);
    for (unsigned i = 0; i < 50; i++) {
        fault_service_stop(service_open(2, 3, i % 2 ? FAULT_PLACE_SPIN : FAULT_PLACE_BLOCK));
        CHECK(fatals == 0);
    }
    machine_close();
}

/* --- all ----------------------------------------------------------------- */

struct test {
    const char *name;
    void (*run)(void);
};

#define TEST(name)  \
    {               \
#name, name \
    }

static const struct test tests[] = {
    TEST(a_writable_natural_run_of_holes_is_a_short_zeropage_and_a_long_one),
    TEST(a_read_only_natural_run_of_holes_is_copied_and_its_first_write_is_seen),
    TEST(filled_natural_frames_are_entered_read_only_and_upgraded),
    TEST(the_same_without_a_write_protecting_continue),
    TEST(holes_and_filled_frames_in_one_run_keep_their_content),
    TEST(protect_makes_the_next_write_fault_and_keeps_the_data),
    TEST(a_removed_natural_page_faults_minor_and_a_punched_one_missing),
    TEST(a_removed_foreign_page_faults_minor_and_a_punched_one_missing),
    TEST(scattered_frames_are_mapped_read_only_and_upgraded),
    TEST(scattered_frames_too_without_a_write_protecting_continue),
    TEST(a_natural_frame_comes_back_where_a_foreign_one_was),
    TEST(contiguous_foreign_frames_share_one_mapping_and_holes_are_filled),
    TEST(no_write_is_lost_or_unseen_while_a_page_is_remapped_under_a_writer),
    TEST(old_foreign_mappings_are_dropped_near_the_limit_and_come_back_on_touch),
    TEST(a_page_of_another_window_is_evicted_without_hurting_its_window),
    TEST(a_rebased_window_shows_its_new_natural_frames),
    TEST(eagain_count_zero_and_partial_runs_are_continued),
    TEST(a_frame_that_is_filled_against_expectation_keeps_its_content),
    TEST(a_frame_that_is_a_hole_against_expectation_reads_as_zeros),
    TEST(entering_what_is_there_again_wakes_and_only_changes_the_protection),
    TEST(an_error_that_cannot_be_overcome_is_returned_with_what_was_entered),
    TEST(a_foreign_run_that_fails_leaves_pages_that_fault),
    TEST(slot_numbers_are_reused_and_their_end_is_an_error),
    TEST(a_window_beyond_the_address_space_is_refused),
    TEST(host_and_guest_addresses_translate_both_ways),
    TEST(a_failed_page_gives_efault_until_every_failure_is_undone),
    TEST(entering_around_a_failed_page_leaves_it_inaccessible),
    TEST(a_failure_after_a_wake_up_is_refused),
    TEST(abort_wakes_everybody_and_nothing_is_accessible_any_more),
    TEST(the_service_resolves_faults_with_and_without_spinning),
    TEST(a_fault_the_guest_must_handle_reaches_its_vcpu_with_the_cause),
    TEST(two_vcpus_that_fail_on_one_page_both_learn_it),
    TEST(a_failure_nobody_takes_does_not_hold_up_others_for_ever),
    TEST(a_dead_fault_thread_ends_the_machine_with_a_message),
    TEST(a_page_that_faults_without_end_is_reported_as_suspect),
    TEST(an_entry_the_host_refuses_ends_the_machine_with_address_access_and_cause),
    TEST(an_idle_service_stops_at_once),
};

/* Arguments: names, or parts of them, of the tests to run; none = all. */
static bool
chosen(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strstr(name, argv[i]) != NULL)
            return true;
    return argc == 1;
}

/*
 * A window page is inaccessible for moments while it is remapped (fact 2).  A vCPU that touches
 * it then gets EFAULT and runs again; this program's own touches do the same by returning.
 */
static void
touch_again(int signo)
{
    (void)signo;
}

int
main(int argc, char **argv)
{
    struct sigaction action = { .sa_handler = touch_again };

    sigaction(SIGSEGV, &action, NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        if (!chosen(tests[i].name, argc, argv))
            continue;
        alarm(120); /* a hang ends the program */
        this_failed = false;
        tests[i].run();
        tests_run++;
        tests_failed += this_failed;
        printf("%s %s\n", this_failed ? "FAIL" : "PASS", tests[i].name);
    }
    printf("host_pmap: %u tests, %u failed\n", tests_run, tests_failed);
    return tests_run == 0 || tests_failed != 0;
}
