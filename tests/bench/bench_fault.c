/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Faults on memory that has a history, as a guest sees them: copy on write, pages that
 * move, swap; and how many faults one and two vCPUs take per second.
 */
#include "tests/bench/bench.h"
#include "tests/bench/guest.h"

#include "guest/include/vkvm_abi.h"
#include "vmm/vpagetable/vm_pageout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMORY (16ull << 20)
#define PAGES 4096ull
#define REGION VKVM_WINDOW_BASE
#define COPY (REGION + (1ull << 30))
#define BUDGET (PAGES / 2 << PAGE_SHIFT)
#define SCATTERED (1021 * PAGE_SIZE) /* odd: each page of the region once, in no order */
#define RATE_MEMORY (1024ull << 20)
#define RATE_SPAN (256ull << 20)

static struct touch_params
region_touch(bool scattered, bool write)
{
    return (struct touch_params){ .base = REGION,
                                  .count = PAGES,
                                  .stride = scattered ? SCATTERED : PAGE_SIZE,
                                  .mask = (PAGES << PAGE_SHIFT) - 1,
                                  .write = write };
}

/* A region whose pages are there, with something in them. */
static void
add_region(struct bench_guest *guest, struct vm_map *map)
{
    bench_guest_add_region(map, REGION, PAGES);
    bench_guest_populate(map, &guest->touch[0]);
    for (uint64_t i = 1; i <= PAGES; i++) /* a page of zeros would never go to swap */
        bench_guest_poke(map, REGION + (i - 1) * PAGE_SIZE, &i, sizeof(i));
}

/* --- Copy on write ------------------------------------------------------- */

static void
copy_region(struct vm_map *map)
{
    bench_check(vm_map_copy(map, gpa_from_u64(REGION), gpa_from_u64(COPY), PAGES << PAGE_SHIFT),
                "copying a region");
}

static void
prepare_cow(struct bench_guest *guest, struct vm_map *map)
{
    add_region(guest, map);
    copy_region(map);
}

/*
 * The copy goes while the first page of the object behind is pinned, so that the object
 * cannot be collapsed at once: its pages move one by one as they are written to.
 */
static void
prepare_move(struct bench_guest *guest, struct vm_map *map)
{
    const uint64_t mark = 1;
    gpa_t end = gpa_from_u64(COPY + (PAGES << PAGE_SHIFT));

    prepare_cow(guest, map);
    guest->pinned = bench_pin(map, REGION);
    bench_guest_poke(map, REGION + PAGE_SIZE, &mark, sizeof(mark));
    bench_check(vm_map_remove(map, gpa_from_u64(COPY), end), "removing a copy");
}

static void
finish_move(struct bench_guest *guest, struct vm_map *map)
{
    if (vm_meter_get(&map->meter, v_cow_optim) < PAGES / 2)
        bench_fail("moved pages", "pages were copied");
    bench_unpin(guest->pinned);
}

/* `a`: scattered?  `b`: moved instead of copied? */
static double
measure_cow(const struct bench_row *row)
{
    struct bench_guest guest;

    bench_guest_init(&guest, MEMORY);
    guest.touch[0] = region_touch(row->a != 0, true);
    guest.touch[0].warm = 1;
    guest.prepare = row->b != 0 ? prepare_move : prepare_cow;
    guest.finish = row->b != 0 ? finish_move : NULL;
    return bench_guest_us_per_page(&guest);
}

/* The same pages, write-protected and nobody else's: what a fault costs without a copy. */
static void
prepare_protected(struct bench_guest *guest, struct vm_map *map)
{
    add_region(guest, map);
    pmap_write_protect(map->pmap, gpa_from_u64(REGION),
                       gpa_from_u64(REGION + (PAGES << PAGE_SHIFT)));
}

static double
measure_protected(const struct bench_row *row)
{
    struct bench_guest guest;

    bench_guest_init(&guest, MEMORY);
    guest.touch[0] = region_touch(row->a != 0, true);
    guest.touch[0].warm = 1;
    guest.prepare = prepare_protected;
    return bench_guest_us_per_page(&guest);
}

/* --- Swap ---------------------------------------------------------------- */

/* All of the region goes to swap; only then a guest that reads it. */
static void
prepare_swap(struct bench_guest *guest, struct vm_map *map)
{
    bool scattered = guest->touch[0].stride != PAGE_SIZE;

    add_region(guest, map);
    if (guest->host.ram_budget != 0)
        return;
    while (vm_pageout_scan(map->sys, PAGES) != 0)
        ;
    bench_check(vm_map_advise(map, gpa_from_u64(REGION),
                              gpa_from_u64(REGION + (PAGES << PAGE_SHIFT)),
                              scattered ? VM_ADVICE_RANDOM : VM_ADVICE_SEQUENTIAL),
                "advice");
}

static void
finish_swap(struct bench_guest *guest, struct vm_map *map)
{
    (void)guest;
    if (vm_meter_get(&map->meter, v_pagein) < PAGES)
        bench_fail("swap-in", "pages were in memory");
}

static double
measure_swap(const struct bench_row *row)
{
    const char *directory = getenv("TMPDIR");
    struct bench_guest guest;
    char path[256];
    double us;
    int fd;

    snprintf(path, sizeof(path), "%s/vkvm-bench.XXXXXX", directory != NULL ? directory : "/tmp");
    fd = mkstemp(path);
    if (fd < 0)
        bench_fail("swap file", path);
    close(fd);
    bench_guest_init(&guest, MEMORY);
    guest.host.swap = path;
    guest.host.ram_budget = row->b;
    guest.touch[0] = region_touch(row->a != 0, false);
    guest.touch[0].warm = row->b != 0;
    guest.prepare = prepare_swap;
    guest.finish = finish_swap;
    us = bench_guest_us_per_page(&guest);
    unlink(path);
    return us;
}

enum {
    ROW_PROTECTED,
    ROW_COW,
    ROW_COW_ISOLATED,
    ROW_MOVED,
    ROW_SWAP_SINGLE,
    ROW_SWAP_CLUSTER,
    ROW_SWAP_SHORT,
    ROW_SWAP_SHORT_IN_ORDER,
    ROW_CORES,
    ROW_COUNT
};

static const struct bench_row rows[ROW_COUNT] = {
    [ROW_PROTECTED] = { "write to a write-protected page, nothing to copy", measure_protected, 0,
                        0 },
    [ROW_COW] = { "COW fault, sequential", measure_cow, 0, 0 },
    [ROW_COW_ISOLATED] = { "COW fault, scattered", measure_cow, 1, 0 },
    [ROW_MOVED] = { "moved page (renamed instead of copied), sequential", measure_cow, 0, 1 },
    [ROW_SWAP_SINGLE] = { "swap-in, single pages (scattered, advice random)", measure_swap, 1, 0 },
    [ROW_SWAP_CLUSTER] = { "swap-in, clustered (in order, advice sequential)", measure_swap, 0, 0 },
    [ROW_SWAP_SHORT] = { "swap-in, RAM for half of it, scattered", measure_swap, 1, BUDGET },
    [ROW_SWAP_SHORT_IN_ORDER] = { "swap-in, RAM for half of it, in order", measure_swap, 0,
                                  BUDGET },
    [ROW_CORES] = { BENCH_CORES_NAME, bench_measure_cores, 0, 0 },
};

static const struct bench_ratio ratios[] = {
    { "moved page / COW fault", ROW_MOVED, ROW_COW, 0 },
    { "swap-in, clustered / single pages", ROW_SWAP_CLUSTER, ROW_SWAP_SINGLE, 0 },
};

const struct bench_group bench_fault_group = {
    .name = "fault",
    .title = "other faults, microseconds per 4 KiB page",
    .rows = rows,
    .nrows = ROW_COUNT,
    .ratios = ratios,
    .nratios = sizeof(ratios) / sizeof(ratios[0]),
};

/* --- Rates --------------------------------------------------------------- */

/* Thousands of isolated faults per second; `a`: vCPUs, each in memory of its own. */
static double
measure_rate(const struct bench_row *row)
{
    struct bench_guest guest;

    bench_guest_init(&guest, RATE_MEMORY);
    guest.config.machine.nvcpus = (unsigned)row->a;
    for (unsigned i = 0; i < guest.config.machine.nvcpus; i++)
        guest.touch[i] = (struct touch_params){ .base = (i + 1) * RATE_SPAN,
                                                .count = PAGES,
                                                .stride = 4001 * 16 * PAGE_SIZE,
                                                .mask = RATE_SPAN - 1,
                                                .write = 1 };
    return (double)(guest.config.machine.nvcpus * PAGES) / bench_guest_run(&guest) * 1e6;
}

static const struct bench_row rate_rows[] = {
    { "1 vCPU", measure_rate, 1, 0 },
    { "2 vCPUs", measure_rate, 2, 0 },
    { BENCH_CORES_NAME, bench_measure_cores, 0, 0 },
};

static const struct bench_ratio rate_ratios[] = {
    { "2 vCPUs / 1 vCPU", 1, 0, 0 },
};

const struct bench_group bench_rate_group = {
    .name = "rate",
    .title = "isolated zero-fill faults, thousands per second",
    .rows = rate_rows,
    .nrows = sizeof(rate_rows) / sizeof(rate_rows[0]),
    .ratios = rate_ratios,
    .nratios = 1,
};
