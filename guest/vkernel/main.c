/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vkernel from start to exit status: boot arguments, the programs one after the other, then
 * all at once, and a look at the books.
 */
#include "guest/lib/console.h"
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/fdt.h"
#include "guest/lib/ring3.h"
#include "guest/lib/string.h"
#include "guest/lib/sync.h"
#include "guest/lib/test.h"
#include "guest/lib/x86.h"
#include "guest/vkernel/kernel.h"
#include "guest/vkernel/page.h"
#include "guest/vkernel/proc.h"
#include "guest/vkernel/shm.h"
#include "guest/vkernel/swap.h"
#include "guest/vkernel/trap.h"

#include <stddef.h>

#define MAIN_NO_QUOTA (UINT64_C(1) << 40)
#define MAIN_STRESS_QUOTA 128 /* pages; the program uses 320 */

struct kernel_counts kernel_counts;
struct kernel_times kernel_times[SPACE_KINDS];
struct kernel_options kernel_options;

/* guest.ld */
extern char user_image[], user_text_start[], user_data_end[];

/* A program that the kernel runs. */
struct job {
    const char *name;
    const char *claim; /* what is true if it ends well */
    uint64_t quota;
    bool vptes; /* A and M are what it is about: SPACE_VPTE only */
};

static const struct job main_jobs[PROGRAM_COUNT] = {
    [PROGRAM_SIEVE] = { .name = "sieve",
                        .claim = "a sieve over 4 MiB counts the primes",
                        .quota = MAIN_NO_QUOTA },
    [PROGRAM_SORT] = { .name = "sort",
                       .claim = "a merge sort of 2^20 numbers keeps and orders them",
                       .quota = MAIN_NO_QUOTA },
    [PROGRAM_FORK] = { .name = "fork",
                       .claim = "three generations write to 1 MiB copy-on-write",
                       .quota = MAIN_NO_QUOTA },
    [PROGRAM_MAPPINGS] = { .name = "mappings",
                           .claim = "shared mappings share and private ones do not",
                           .quota = MAIN_NO_QUOTA },
    [PROGRAM_SCAN] = { .name = "scan",
                       .claim = "A and M say what was read and written",
                       .quota = MAIN_NO_QUOTA,
                       .vptes = true },
    [PROGRAM_STRESS] = { .name = "stress",
                         .claim = "1.25 MiB keep their contents within a quota of 512 KiB",
                         .quota = MAIN_STRESS_QUOTA },
    [PROGRAM_BAD] = { .name = "bad",
                      .claim = "bad processes are killed and nothing else is",
                      .quota = MAIN_NO_QUOTA },
    [PROGRAM_TIMES] = { .name = "times",
                        .claim = "the child of a fork keeps its pages while each is written",
                        .quota = MAIN_NO_QUOTA },
};

static const char *const main_kinds[SPACE_KINDS] = { "vptes", "COPY" };

static uint32_t main_ready;  /* set when the secondary vCPUs may begin */
static uint32_t main_served; /* of these, how many have finished */

_Noreturn void
kernel_panic(const char *why)
{
    console_printf("vkernel: %s\n", why);
    doorbell_exit(TRAP_EXIT_STATUS);
}

static bool
main_option_is(const char *name, const char *value)
{
    char text[16];

    return fdt_argument(name, text, sizeof(text)) && strcmp(text, value) == 0;
}

static void
main_read_options(void)
{
    kernel_options.delivery = main_option_is("fault", "ve") ? VKVM_DELIVER_VE : VKVM_DELIVER_PF;
    kernel_options.format = main_option_is("vpte", "32") ? &vpte32 : &vpte64;
    kernel_options.kind = main_option_is("fork", "copy") ? SPACE_COPY : SPACE_VPTE;
    kernel_options.cluster = (unsigned)fdt_argument_number("cluster", 16);
}

static void
main_boot(void)
{
    const struct fdt_machine *machine = fdt_machine();
    uint64_t image = (uint64_t)user_image;
    uint32_t nswap = (uint32_t)fdt_argument_number("swap", 2048);

    main_read_options();
    page_init(image, image + (uint64_t)(user_data_end - user_text_start));
    swap_init(nswap);
    space_boot();
    trap_choose_delivery();
    console_printf("vkernel: %lu MiB of RAM, %u vCPU%s, %s, faults as #%s, kernel in ring %u\n",
                   machine->memory_size >> 20, machine->ncpus, machine->ncpus == 1 ? "" : "s",
                   kernel_options.format->name,
                   kernel_options.delivery == VKVM_DELIVER_VE ? "VE" : "PF", x86_cpl());
}

/* The same moment by two clocks. */
struct main_clock {
    uint64_t cycles;
    uint64_t ns;
};

static struct main_clock
main_read_clock(void)
{
    static struct vkvm_statistics statistics;
    struct main_clock clock;

    if (doorbell_statistics(&statistics) < 0)
        kernel_panic("STATISTICS refused");
    clock.cycles = x86_read_tsc();
    clock.ns = statistics.time_ns;
    return clock;
}

/* Reap what the kernel started; every one must have ended well. */
static unsigned
main_reap(void)
{
    unsigned n = 0;
    uint32_t pid;
    uint32_t status;

    while (proc_reap(&pid, &status)) {
        EXPECT(status == 0, "process %u ended with status %u", pid, status);
        n++;
    }
    return n;
}

/* What a job cost, into its PASS line. */
static void
main_note(enum space_kind kind, const struct kernel_counts *before)
{
    const struct kernel_counts *now = &kernel_counts;

    test_note("by %s: %lu faults, %lu pages filled, %lu forks, %lu copied on write, %lu to swap, "
              "%lu back",
              main_kinds[kind], now->faults - before->faults, now->filled - before->filled,
              now->forks - before->forks, now->cow_copies - before->cow_copies,
              now->swap_writes - before->swap_writes, now->swap_reads - before->swap_reads);
}

static bool
main_start(enum vkernel_program program, enum space_kind kind)
{
    const struct job *job = &main_jobs[program];

    return EXPECT(proc_spawn(program, job->vptes ? SPACE_VPTE : kind, job->quota) != 0,
                  "%s does not start", job->name);
}

static void
main_run_job(enum vkernel_program program, enum space_kind kind)
{
    const struct job *job = &main_jobs[program];
    struct kernel_counts before = kernel_counts;

    test_begin(job->claim);
    if (main_start(program, kind)) {
        proc_run_all();
        EXPECT(main_reap() == 1, "%s left children", job->name);
    }
    if (program == PROGRAM_STRESS && kind == SPACE_VPTE)
        EXPECT(kernel_counts.evicted_clean > before.evicted_clean &&
                   kernel_counts.evicted_dirty > before.evicted_dirty,
               "%lu clean and %lu dirty pages evicted",
               kernel_counts.evicted_clean - before.evicted_clean,
               kernel_counts.evicted_dirty - before.evicted_dirty);
    if (program == PROGRAM_BAD)
        EXPECT(kernel_counts.kills - before.kills == BAD_DEEDS, "%lu processes killed",
               kernel_counts.kills - before.kills);
    main_note(job->vptes ? SPACE_VPTE : kind, &before);
    test_end();
}

/* All but PROGRAM_TIMES, which would time the others. */
static void
main_run_together(void)
{
    struct kernel_counts before = kernel_counts;
    unsigned n = 0;

    test_begin("all programs at once get the same results");
    for (unsigned program = 0; program < PROGRAM_TIMES; program++)
        n += main_start(program, kernel_options.kind);
    proc_run_all();
    EXPECT(main_reap() == n, "not every program came back");
    main_note(kernel_options.kind, &before);
    test_end();
}

static void
main_check_leaks(void)
{
    test_begin("when all processes have ended every page is free again");
    EXPECT(page_in_use() == 0, "%lu pages are not", page_in_use());
    EXPECT(swap_in_use() == 0, "%u swap slots are not", swap_in_use());
    EXPECT(shm_in_use() == 0, "%u shared objects are not", shm_in_use());
    test_end();
}

/* The kernel's own counts against vkvm's. */
static void
main_check_statistics(void)
{
    static struct vkvm_statistics vkvm;

    test_begin("the kernel and vkvm counted the same");
    EXPECT(doorbell_statistics(&vkvm) == (int64_t)sizeof(vkvm), "STATISTICS refused");
    EXPECT(vkvm.version == VKVM_ABI_VERSION, "version %lu", vkvm.version);
    EXPECT(vkvm.faults == vkvm.resident + vkvm.zero_fill + vkvm.page_in + vkvm.cow + vkvm.failed +
                              vkvm.host_failed,
           "%lu faults are not the sum of their kinds", vkvm.faults);
    EXPECT(vkvm.delivered == kernel_counts.faults, "%lu faults delivered, %lu arrived",
           vkvm.delivered, kernel_counts.faults);
    EXPECT(vkvm.failed >= vkvm.delivered, "only %lu faults failed, %lu were delivered", vkvm.failed,
           vkvm.delivered);
    EXPECT(vkvm.invals == kernel_counts.invals, "%lu INVALs, %lu called", vkvm.invals,
           kernel_counts.invals);
    EXPECT(vkvm.walks >= kernel_counts.vpte_faults, "only %lu walks", vkvm.walks);
    EXPECT(vkvm.vpte_a >= kernel_counts.found_a, "A set %lu times, found %lu times", vkvm.vpte_a,
           kernel_counts.found_a);
    EXPECT(vkvm.vpte_m + kernel_counts.preset_m >= kernel_counts.found_m,
           "M set %lu times and preset %lu times, found %lu times", vkvm.vpte_m,
           kernel_counts.preset_m, kernel_counts.found_m);
    test_note("%lu faults, %lu of them refused, %lu walks, A set %lu times, M %lu times",
              vkvm.faults, vkvm.failed, vkvm.walks, vkvm.vpte_a, vkvm.vpte_m);
    test_end();
}

static void
main_print_counts(void)
{
#define KERNEL_COUNT(name, text) console_printf("  %8lu %s\n", kernel_counts.name, text);
    KERNEL_COUNTS(KERNEL_COUNT)
#undef KERNEL_COUNT
}

static void
main_run_jobs(void)
{
    char only[16];
    bool all = !fdt_argument("only", only, sizeof(only));

    for (unsigned program = 0; program < PROGRAM_COUNT; program++) {
        if (all || strcmp(only, main_jobs[program].name) == 0)
            main_run_job(program, kernel_options.kind);
    }
    if (all || strcmp(only, main_jobs[PROGRAM_TIMES].name) == 0)
        main_run_job(PROGRAM_TIMES, SPACE_KINDS - 1 - kernel_options.kind);
    if (all || strcmp(only, "together") == 0)
        main_run_together();
}

/* Cycles as nanoseconds, when `ns` of these took `all` of those; in microseconds, not to overflow. */
static uint64_t
main_ns(uint64_t cycles, uint64_t ns, uint64_t all)
{
    return cycles * (ns / 1000) / (all / 1000 + 1);
}

/*
 * The times, in nanoseconds: the host's clock, read by STATISTICS now and at the start, tells how
 * long a cycle takes.
 */
static void
main_print_times(const struct main_clock *start)
{
    struct main_clock now = main_read_clock();
    uint64_t ns = now.ns - start->ns;
    uint64_t cycles = now.cycles - start->cycles;

    for (unsigned kind = 0; kind < SPACE_KINDS; kind++) {
        const struct kernel_times *t = &kernel_times[kind];

        if (t->forks != 0 && cycles != 0)
            console_printf("  fork by %s: %lu us each of %lu, then %lu ns for each page written\n",
                           main_kinds[kind], main_ns(t->fork_cycles / t->forks, ns, cycles) / 1000,
                           t->forks, main_ns(t->page_cycles / t->pages, ns, cycles));
    }
}

/* idle=MS: nothing happens for so long, on any vCPU. */
static void
main_idle(void)
{
    static const uint32_t never;
    uint64_t ms = fdt_argument_number("idle", 0);

    if (ms == 0)
        return;
    while (doorbell_wait(&never, 0, ms * 1000000) == 0)
        continue;
}

/* The whole of vCPU 0. */
static uint64_t
main_kernel(uint64_t unused)
{
    const uint32_t nsecondary = fdt_machine()->ncpus - 1;
    struct main_clock start;

    (void)unused;
    main_boot();
    start = main_read_clock();
    sync_word_set(&main_ready, 1);
    main_idle();
    main_run_jobs();
    proc_shut_down();
    for (uint32_t n; (n = __atomic_load_n(&main_served, __ATOMIC_ACQUIRE)) < nsecondary;)
        sync_word_wait(&main_served, n);
    main_check_leaks();
    main_check_statistics();
    main_print_counts();
    main_print_times(&start);
    return (uint64_t)test_summary();
}

/* The whole of another vCPU. */
static uint64_t
main_secondary(uint64_t unused)
{
    (void)unused;
    trap_choose_delivery();
    proc_serve();
    __atomic_add_fetch(&main_served, 1, __ATOMIC_RELEASE);
    doorbell_wake(&main_served, 1);
    return 0;
}

/*
 * The kernel is a ring-3 program on hosts where ring 0 is slow.  fdt_machine must be called here
 * the first time, because it uses ring3_call itself.
 */
int
guest_main(void)
{
    fdt_machine();
    if (main_option_is("kernel", "ring0"))
        return (int)main_kernel(0);
    return (int)ring3_call(main_kernel, 0);
}

void
guest_secondary(unsigned cpu)
{
    (void)cpu;
    sync_word_wait(&main_ready, 0);
    if (main_option_is("kernel", "ring0"))
        main_secondary(0);
    else
        ring3_call(main_secondary, 0);
}
