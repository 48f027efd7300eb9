/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * make bench: microseconds per 4 KiB page on the paths a guest's first touch can take,
 * all from one run, round after round, so that a drift of the machine hits every row.
 *
 *     bench [ROUNDS] [VKVM HELLO.elf]
 *
 * Each row prints minimum, median and maximum over the rounds; ratios are of medians.
 * Nothing here judges: a figure is for reading.
 */
#include "tests/bench/baseline.h"

#include "guest/include/vkvm_abi.h"
#include "vmm/vm.h"
#include "vmm/x86_64/arch.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define MEMORY (1024ull << 20)
#define TOUCH_BASE (256ull << 20) /* where the touched memory begins */
#define SEQUENTIAL_PAGES 16384ull /* 64 MiB */
#define ISOLATED_PAGES 4096ull
#define ISOLATED_SPAN (256ull << 20)          /* 16 pages apart on average ... */
#define ISOLATED_STRIDE (16ull * 4001 * 4096) /* ... and in no order */
#define TABLES (128ull << 20)                 /* where the window's virtual page table lies */
#define SCATTER 7919ull                       /* odd: entry i maps frame i * SCATTER mod pages */
#define MAX_ROUNDS 64

enum row {
    ROW_KERNEL,
    ROW_TEXTBOOK,
    ROW_ISOLATED,
    ROW_SEQUENTIAL,
    ROW_VPT_READ,
    ROW_VPT_WRITE,
    ROW_HELLO,
    ROW_COUNT
};

static const char *const row_names[ROW_COUNT] = {
    [ROW_KERNEL] = "kernel demand paging, sequential",
    [ROW_TEXTBOOK] = "textbook userfaultfd handler, isolated random",
    [ROW_ISOLATED] = "vkvm isolated random fault",
    [ROW_SEQUENTIAL] = "vkvm sequential first touch (NORMAL)",
    [ROW_VPT_READ] = "vkvm sequential read, scattered vpagetable",
    [ROW_VPT_WRITE] = "vkvm sequential write, scattered vpagetable, M set",
    [ROW_HELLO] = "hello image, whole process (ms)",
};

struct figures {
    unsigned count;
    double value[MAX_ROUNDS];
};

static double cycles_per_us;

static double
now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static void
calibrate(void)
{
    double start = now_us();
    uint64_t tsc = __rdtsc();

    while (now_us() - start < 50e3)
        ;
    cycles_per_us = (double)(__rdtsc() - tsc) / (now_us() - start);
}

static void
figures_add(struct figures *f, double value)
{
    if (f->count < MAX_ROUNDS)
        f->value[f->count++] = value;
}

static int
compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

static double
figures_median(struct figures *f)
{
    if (f->count == 0)
        return 0;
    qsort(f->value, f->count, sizeof f->value[0], compare);
    return f->value[f->count / 2];
}

static void
fail(const char *what, const char *why)
{
    fprintf(stderr, "bench: %s: %s\n", what, why);
    exit(1);
}

static void
poke(struct vm *vm, uint64_t gpa, const void *data, size_t size)
{
    struct vm_fault_info info;

    if (vm_map_write(vm_map_of(vm), gpa_from_u64(gpa), data, size, &info) != VM_OK)
        fail("writing guest memory", vm_result_name(info.result));
}

/*
 * A vpte64 tree for a window of SEQUENTIAL_PAGES: one page each for levels 1 to 3, then
 * the leaf tables.  Every frame it maps is made resident.
 */
static vpte_t
build_table(struct vm *vm, vpte_t leaf_flags)
{
    const vpte_t directory = VPTE_V | VPTE_R | VPTE_W | VPTE_X;
    uint64_t leaf_tables = SEQUENTIAL_PAGES / 512;
    uint64_t first_leaf = TABLES + 3 * PAGE_SIZE;
    vpte_t entries[512];

    for (unsigned level = 0; level < 2; level++) {
        vpte_t entry = (TABLES + (level + 1) * PAGE_SIZE) | directory;

        poke(vm, TABLES + level * PAGE_SIZE, &entry, sizeof entry);
    }
    for (uint64_t i = 0; i < leaf_tables; i++)
        entries[i] = (first_leaf + i * PAGE_SIZE) | directory;
    poke(vm, TABLES + 2 * PAGE_SIZE, entries, leaf_tables * sizeof entries[0]);
    for (uint64_t table = 0; table < leaf_tables; table++) {
        for (uint64_t i = 0; i < 512; i++) {
            uint64_t frame = ((table * 512 + i) * SCATTER) % SEQUENTIAL_PAGES;

            entries[i] = (TOUCH_BASE + frame * PAGE_SIZE) | leaf_flags;
            poke(vm, TOUCH_BASE + frame * PAGE_SIZE, &frame, sizeof frame);
        }
        poke(vm, first_leaf + table * PAGE_SIZE, entries, sizeof entries);
    }
    return TABLES | directory;
}

/* Run touch.S under vkvm; a base in the window region gets a scattered window. */
static double
vkvm_touch(struct touch_params *params, vpte_t leaf_flags)
{
    struct vm_config config = { .memory_size = MEMORY,
                                .nvcpus = 1,
                                .timeout_ms = 60000,
                                .prefault_pages = VM_PREFAULT_DEFAULT,
                                .fast_fault = true };
    struct host_error error = { 0 };
    struct vm_outcome outcome;
    struct vm_fault_info info;
    struct vm *vm;

    if (params->base >= VKVM_WINDOW_BASE) {
        config.nwindows = 1;
        config.windows[0] = (struct vm_window_config){
            .start = gpa_from_u64(params->base),
            .size = SEQUENTIAL_PAGES * PAGE_SIZE,
            .format = &vpte64_format,
            .root = TABLES | VPTE_V | VPTE_R | VPTE_W | VPTE_X,
            .protection = VM_PROT_ALL,
        };
    }
    if (vm_create(&config, &vm, &error))
        fail("creating a VM", error.message);
    if (config.nwindows)
        (void)build_table(vm, leaf_flags);
    if (arch_boot_prepare(vm_map_of(vm), MEMORY, &error))
        fail("boot state", error.message);
    poke(vm, TOUCH_CODE, touch_begin, (size_t)(touch_end - touch_begin));
    poke(vm, TOUCH_PARAMS, params, sizeof *params);
    vm_run(vm, gpa_from_u64(TOUCH_CODE), gpa_from_u64(0), &outcome);
    if (outcome.end != VM_END_GUEST)
        fail("running the guest", outcome.message);
    if (vm_map_read(vm_map_of(vm), gpa_from_u64(TOUCH_PARAMS), params, sizeof *params, &info) !=
        VM_OK)
        fail("reading the result", vm_result_name(info.result));
    vm_destroy(vm);
    return (double)params->cycles / cycles_per_us / (double)params->count;
}

static double
baseline_touch(enum baseline_kind kind, struct touch_params *params)
{
    int error = baseline_run(kind, MEMORY, params);

    if (error)
        fail("baseline", strerror(-error));
    return (double)params->cycles / cycles_per_us / (double)params->count;
}

static double
touch_row(enum row row)
{
    struct touch_params sequential = { .base = TOUCH_BASE,
                                       .count = SEQUENTIAL_PAGES,
                                       .stride = PAGE_SIZE,
                                       .mask = UINT64_MAX,
                                       .write = 1 };
    struct touch_params isolated = { .base = TOUCH_BASE,
                                     .count = ISOLATED_PAGES,
                                     .stride = ISOLATED_STRIDE,
                                     .mask = ISOLATED_SPAN - 1,
                                     .write = 1 };
    struct touch_params window = {
        .base = VKVM_WINDOW_BASE, .count = SEQUENTIAL_PAGES, .stride = PAGE_SIZE, .mask = UINT64_MAX
    };
    const vpte_t leaf = VPTE_V | VPTE_R | VPTE_W | VPTE_X;

    switch (row) {
    case ROW_KERNEL:
        return baseline_touch(BASELINE_KERNEL, &sequential);
    case ROW_TEXTBOOK:
        return baseline_touch(BASELINE_TEXTBOOK, &isolated);
    case ROW_ISOLATED:
        return vkvm_touch(&isolated, 0);
    case ROW_SEQUENTIAL:
        return vkvm_touch(&sequential, 0);
    case ROW_VPT_READ:
        return vkvm_touch(&window, leaf);
    default:
        window.write = 1;
        return vkvm_touch(&window, leaf | VPTE_A | VPTE_M);
    }
}

/* Wall time of one `vkvm run HELLO.elf`, in milliseconds. */
static double
hello_row(char *vkvm, char *image)
{
    char run[] = "run";
    char *argv[] = { vkvm, run, image, NULL };
    posix_spawn_file_actions_t actions;
    double start = now_us();
    int status;
    pid_t pid;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", 1, 0);
    if (posix_spawn(&pid, vkvm, &actions, NULL, argv, environ) != 0 ||
        waitpid(pid, &status, 0) != pid || status != 0)
        fail(image, "did not run");
    posix_spawn_file_actions_destroy(&actions);
    return (now_us() - start) / 1e3;
}

static void
print_row(const char *name, struct figures *f)
{
    double median = figures_median(f);

    if (f->count)
        printf("  %-52s %8.2f %8.2f %8.2f\n", name, f->value[0], median, f->value[f->count - 1]);
}

static void
print_ratio(const char *name, double value, double goal)
{
    printf("  %-52s %8.2f   goal <= %.2f\n", name, value, goal);
}

static void
print_table(struct figures *rows)
{
    double kernel = figures_median(&rows[ROW_KERNEL]);
    double textbook = figures_median(&rows[ROW_TEXTBOOK]);

    printf("microseconds per 4 KiB page%27s %8s %8s %8s\n", "", "min", "median", "max");
    for (enum row row = 0; row < ROW_COUNT; row++)
        print_row(row_names[row], &rows[row]);
    printf("\nratios of medians\n");
    print_ratio("isolated random fault / textbook", figures_median(&rows[ROW_ISOLATED]) / textbook,
                0.60);
    print_ratio("sequential first touch / kernel", figures_median(&rows[ROW_SEQUENTIAL]) / kernel,
                0.20);
    print_ratio("sequential through a scattered vpagetable / kernel",
                figures_median(&rows[ROW_VPT_READ]) / kernel, 0.45);
    if (rows[ROW_HELLO].count)
        print_ratio("hello image, whole process (ms)", figures_median(&rows[ROW_HELLO]), 5);
}

int
main(int argc, char **argv)
{
    static struct figures rows[ROW_COUNT];
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 7;

    if (rounds == 0 || rounds > MAX_ROUNDS)
        fail("usage", "bench [ROUNDS 1..64] [VKVM HELLO.elf]");
    calibrate();
    for (unsigned round = 0; round < rounds; round++) {
        for (enum row row = 0; row < ROW_HELLO; row++)
            figures_add(&rows[row], touch_row(row));
        if (argc > 3)
            figures_add(&rows[ROW_HELLO], hello_row(argv[2], argv[3]));
    }
    print_table(rows);
    return 0;
}
