/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * First touch of fresh memory, as a guest sees it, beside what the host itself and the
 * plainest monitors need for it.
 */
#include "tests/bench/baseline.h"
#include "tests/bench/bench.h"
#include "tests/bench/guest.h"

#include "guest/include/vkvm_abi.h"

#define MEMORY (1024ull << 20)
#define TOUCH_BASE (256ull << 20) /* where the touched memory begins */
#define SEQUENTIAL_PAGES 16384ull /* 64 MiB */
#define ISOLATED_PAGES 4096ull
#define ISOLATED_SPAN (256ull << 20)          /* 16 pages apart on average ... */
#define ISOLATED_STRIDE (16ull * 4001 * 4096) /* ... and in no order */
#define TABLES (128ull << 20)                 /* where the window's virtual page table lies */
#define SCATTER 7919ull                       /* odd: entry i maps frame i * SCATTER mod pages */
#define DIRECTORY (VPTE_V | VPTE_R | VPTE_W | VPTE_X)

static const struct touch_params sequential = {
    .base = TOUCH_BASE, .count = SEQUENTIAL_PAGES, .stride = PAGE_SIZE, .mask = UINT64_MAX
};

static const struct touch_params isolated = { .base = TOUCH_BASE,
                                              .count = ISOLATED_PAGES,
                                              .stride = ISOLATED_STRIDE,
                                              .mask = ISOLATED_SPAN - 1,
                                              .write = 1 };

/* `a`: an enum baseline_kind. */
static double
measure_baseline(const struct bench_row *row)
{
    enum baseline_kind kind = (enum baseline_kind)row->a;
    struct touch_params params = kind == BASELINE_TEXTBOOK ? isolated : sequential;

    params.write = kind != BASELINE_PROTECTED;
    bench_check(baseline_run(kind, MEMORY, &params), row->name);
    return (double)(params.end - params.begin) / bench_cycles_per_ns() / 1e3 / (double)params.count;
}

/* `a`: isolated?  `b`: superpages? */
static double
measure_normal(const struct bench_row *row)
{
    struct bench_guest guest;

    bench_guest_init(&guest, MEMORY);
    guest.host.superpages = row->b != 0;
    guest.touch[0] = row->a != 0 ? isolated : sequential;
    guest.touch[0].write = 1;
    return bench_guest_us_per_page(&guest);
}

/*
 * A vpte64 tree for a window of SEQUENTIAL_PAGES: one page each for levels 1 to 3, then
 * the leaf tables.  Every frame it maps is made resident.
 */
static void
build_table(struct vm_map *map, vpte_t leaf_flags)
{
    uint64_t leaf_tables = SEQUENTIAL_PAGES / 512;
    uint64_t first_leaf = TABLES + 3 * PAGE_SIZE;
    vpte_t entries[512];

    for (unsigned level = 0; level < 2; level++) {
        vpte_t entry = (TABLES + (level + 1) * PAGE_SIZE) | DIRECTORY;

        bench_guest_poke(map, TABLES + level * PAGE_SIZE, &entry, sizeof(entry));
    }
    for (uint64_t i = 0; i < leaf_tables; i++)
        entries[i] = (first_leaf + i * PAGE_SIZE) | DIRECTORY;
    bench_guest_poke(map, TABLES + 2 * PAGE_SIZE, entries, leaf_tables * sizeof(entries[0]));
    for (uint64_t table = 0; table < leaf_tables; table++) {
        for (uint64_t i = 0; i < 512; i++) {
            uint64_t frame = ((table * 512 + i) * SCATTER) % SEQUENTIAL_PAGES;

            entries[i] = (TOUCH_BASE + frame * PAGE_SIZE) | leaf_flags;
            bench_guest_poke(map, TOUCH_BASE + frame * PAGE_SIZE, &frame, sizeof(frame));
        }
        bench_guest_poke(map, first_leaf + table * PAGE_SIZE, entries, sizeof(entries));
    }
}

static void
prepare_window(struct bench_guest *guest, struct vm_map *map)
{
    build_table(map, guest->touch[0].write ? DIRECTORY | VPTE_A | VPTE_M : DIRECTORY);
}

/* `a`: write? */
static double
measure_window(const struct bench_row *row)
{
    struct bench_guest guest;

    bench_guest_init(&guest, MEMORY);
    guest.config.machine.nwindows = 1;
    guest.config.machine.windows[0] = (struct machine_window){
        .start = gpa_from_u64(VKVM_WINDOW_BASE),
        .size = SEQUENTIAL_PAGES * PAGE_SIZE,
        .format = &vpte64_format,
        .root = TABLES | DIRECTORY,
        .protection = VM_PROT_ALL,
    };
    guest.touch[0] = sequential;
    guest.touch[0].base = VKVM_WINDOW_BASE;
    guest.touch[0].write = row->a;
    guest.prepare = prepare_window;
    return bench_guest_us_per_page(&guest);
}

enum {
    ROW_WRITABLE,
    ROW_PROTECTED,
    ROW_KERNEL,
    ROW_ZEROPAGE,
    ROW_TEXTBOOK,
    ROW_ISOLATED,
    ROW_SEQUENTIAL,
    ROW_SUPER,
    ROW_VPT_READ,
    ROW_VPT_WRITE,
    ROW_CORES,
    ROW_COUNT
};

static const struct bench_row rows[ROW_COUNT] = {
    [ROW_WRITABLE] = { "floor: populated, writable; sequential write", measure_baseline,
                       BASELINE_POPULATED, 0 },
    [ROW_PROTECTED] = { "floor: populated, write-protected; sequential read", measure_baseline,
                        BASELINE_PROTECTED, 0 },
    [ROW_KERNEL] = { "kernel demand paging, sequential", measure_baseline, BASELINE_KERNEL, 0 },
    [ROW_ZEROPAGE] = { "floor: runs by UFFDIO_ZEROPAGE, sequential write", measure_baseline,
                       BASELINE_ZEROPAGE, 0 },
    [ROW_TEXTBOOK] = { "textbook userfaultfd handler, isolated random", measure_baseline,
                       BASELINE_TEXTBOOK, 0 },
    [ROW_ISOLATED] = { "vkvm isolated random fault", measure_normal, 1, 0 },
    [ROW_SEQUENTIAL] = { "vkvm sequential first touch (NORMAL)", measure_normal, 0, 0 },
    [ROW_SUPER] = { "vkvm sequential first touch, superpages", measure_normal, 0, 1 },
    [ROW_VPT_READ] = { "vkvm sequential read, scattered vpagetable", measure_window, 0, 0 },
    [ROW_VPT_WRITE] = { "vkvm sequential write, scattered vpagetable, M set", measure_window, 1,
                        0 },
    [ROW_CORES] = { BENCH_CORES_NAME, bench_measure_cores, 0, 0 },
};

static const struct bench_ratio ratios[] = {
    { "isolated random fault / textbook", ROW_ISOLATED, ROW_TEXTBOOK, 0.60 },
    { "sequential first touch / kernel", ROW_SEQUENTIAL, ROW_KERNEL, 0.20 },
    { "sequential first touch / runs by UFFDIO_ZEROPAGE", ROW_SEQUENTIAL, ROW_ZEROPAGE, 1.15 },
    { "sequential through a scattered vpagetable / kernel", ROW_VPT_READ, ROW_KERNEL, 0.45 },
    { "floor of that: populated, write-protected / kernel", ROW_PROTECTED, ROW_KERNEL, 0 },
};

const struct bench_group bench_touch_group = {
    .name = "touch",
    .title = "first touch, microseconds per 4 KiB page",
    .rows = rows,
    .nrows = ROW_COUNT,
    .ratios = ratios,
    .nratios = sizeof(ratios) / sizeof(ratios[0]),
};
