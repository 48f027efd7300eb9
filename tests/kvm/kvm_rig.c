/* SPDX-License-Identifier: BSD-2-Clause */
/* See kvm_rig.h. */
#include "tests/kvm/kvm_rig.h"

#include "vmm/base/clock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define RAM_PAGES 64
#define GUEST_CODE 0x8000u
#define GUEST_TABLES 0x1000u
#define GUEST_GDT 0x500u

bool rig_failed;

/* --- the machine under test ---------------------------------------------- */

struct machine m;

/* Counting and disturbing what goes to the userfaultfd. */
_Atomic unsigned calls_zeropage;
_Atomic unsigned calls_copy;
_Atomic unsigned calls_continue;
int (*disturb)(unsigned long request, void *argument); /* 1 = pass on */

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

/* The first pages of a run are accessible before the others. */
volatile uint64_t *
window_word(unsigned page)
{
    pthread_mutex_lock(&m.p);
    pthread_mutex_unlock(&m.p);
    return kvm_pmap_host_address(m.kp, gpa_from_u64(WINDOW_GPA + page * PAGE_SIZE));
}

volatile uint64_t *
frame_word(uint64_t frame)
{
    return vm_frame_address(&m.sys, frame);
}

/* Enter a run as planned; `write` makes the first page writable. */
int
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
    if (m.promoted[page / PMAP_CHUNK_PAGES]) { /* it was reported before */
        kvm_pmap_ops.wake(m.kp, &m.w, page, 1);
        pthread_mutex_unlock(&m.p);
        return;
    }
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
    struct pollfd fds[2] = { { .fd = m.kvm.uffd, .events = POLLIN },
                             { .fd = m.stop[0], .events = POLLIN } };
    struct uffd_msg msg;

    (void)unused;
    for (;;) {
        poll(fds, 2, -1);
        if (fds[1].revents != 0)
            return NULL;
        while (read(m.kvm.uffd, &msg, sizeof(msg)) == sizeof(msg))
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

/* As a VM does. */
void
machine_abort(void)
{
    m.aborted = true;
    kvm_pmap_abort(m.kp);
}

static void
take_fatal(void *context, const char *message)
{
    (void)context;
    if (m.fatal[0] == '\0')
        snprintf(m.fatal, sizeof(m.fatal), "%s", message);
    machine_abort();
}

void
machine_open(uint64_t natural, bool serve)
{
    struct vm_system_config config = { .store_pages = 1u << 20 };
    struct failure failure;

    memset(&m, 0, sizeof(m));
    calls_zeropage = calls_copy = calls_continue = 0;
    disturb = NULL;
    if (kvm_host_open(&m.host, &failure) != 0 || kvm_vm_open(&m.kvm, &m.host, &failure) != 0) {
        printf("    %s\n", failure.message);
        MUST(false);
    }
    MUST(vm_system_init(&m.sys, &config) == 0);
    const struct kvm_pmap_config kpmap_config = { .kvm = &m.kvm,
                                                  .sys = &m.sys,
                                                  .fatal = take_fatal };
    MUST(kvm_pmap_create(&kpmap_config, &m.kp) == 0);
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

void
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
    kvm_vm_close(&m.kvm);
    kvm_host_close(&m.host);
    pthread_mutex_destroy(&m.p);
}

unsigned
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

/* Plan pages [0, npages): frame `base + index * step % WINDOW_PAGES`. */
void
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
void
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

void
guest_set_table(uint64_t linear, gpa_t table)
{
    ram_write_u64(GUEST_TABLES + 0x1000 + (linear >> 30) * 8, gpa_to_u64(table) | 0x27);
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

void
guest_open(struct guest *g, unsigned index, struct fault_service *service)
{
    if (index == 0)
        load_guest();
    memset(g, 0, sizeof(*g));
    g->index = index;
    g->service = service;
    g->patience = GUEST_PATIENCE;
    g->fd = ioctl(m.kvm.fd, KVM_CREATE_VCPU, (unsigned long)index);
    MUST(g->fd >= 0);
    g->run = mmap(NULL, m.host.vcpu_mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd, 0);
    MUST(g->run != MAP_FAILED);
    set_cpuid(g->fd);
    set_long_mode(g->fd);
    struct kvm_regs regs = { .rip = GUEST_CODE, .rflags = 0x3002 };
    MUST(ioctl(g->fd, KVM_SET_REGS, &regs) == 0);
}

void
guest_close(struct guest *g)
{
    munmap(g->run, m.host.vcpu_mmap_size);
    close(g->fd);
}

/* How long a failure that a service records may take. */
#define PATIENCE_NS ((uint64_t)5000000000u)

/* Run to the next exit; results as of guest_do. */
static int
guest_run(struct guest *g)
{
    uint64_t end = 0; /* of the patience; 0: no EFAULT yet */
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
            end = end == 0 ? clock_now_ns() + PATIENCE_NS : end;
            if (m.aborted ||
                (++in_a_row > g->patience && (g->service == NULL || clock_now_ns() > end)))
                return -ECANCELED;
            continue;
        }
        if (result == 0 && g->run->exit_reason == KVM_EXIT_SHUTDOWN)
            return -ECANCELED; /* after an abort its page tables are inaccessible too */
        printf("    guest: result %d errno %d exit %u\n", result, errno, g->run->exit_reason);
        return -EIO;
    }
}

int
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

void
guest_start_thread(struct guest *g, pthread_t *thread, enum guest_op op, uint64_t page,
                   uint64_t count)
{
    g->op = op;
    g->gpa = gpa_from_u64(WINDOW_GPA + page * PAGE_SIZE);
    g->count = count;
    MUST(pthread_create(thread, NULL, guest_thread, g) == 0);
}

/* --- all ----------------------------------------------------------------- */

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
rig_main(const char *program, const struct rig_test *tests, size_t n, int argc, char **argv)
{
    struct sigaction action = { .sa_handler = touch_again };
    unsigned run = 0, failed = 0;

    sigaction(SIGSEGV, &action, NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < n; i++) {
        if (!chosen(tests[i].name, argc, argv))
            continue;
        alarm(
            240); /* a hang ends the program; the longest test takes 80 s on an emulated processor */
        rig_failed = false;
        tests[i].run();
        run++;
        failed += rig_failed;
        printf("%s %s\n", rig_failed ? "FAIL" : "PASS", tests[i].name);
    }
    printf("%s: %u tests, %u failed\n", program, run, failed);
    return run == 0 || failed != 0;
}
