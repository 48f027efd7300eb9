/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A gibibyte of memory, touched in order for the first time and then read by loads that depend on each
 * other: with superpages and without, beside the host's own transparent huge pages.
 */
#include "tests/bench/baseline.h"
#include "tests/bench/bench.h"
#include "tests/bench/guest.h"

#define MEMORY (1536ull << 20)
#define PAGES 262144ull /* 1 GiB */

enum {
    FIRST_TOUCH,
    LOADS
};

/* `loads`: of the time of the loads; else of the first touch. */
static struct touch_params
touch_params(uint64_t what)
{
    return (struct touch_params){ .base = 256ull << 20,
                                  .count = PAGES,
                                  .stride = PAGE_SIZE,
                                  .mask = PAGES * PAGE_SIZE - 1,
                                  .write = what == LOADS ? TOUCH_CHASE : 1,
                                  .warm = what == LOADS ? TOUCH_LINK : 0 };
}

/* `a`: what; `b`: an enum baseline_kind. */
static double
measure_baseline(const struct bench_row *row)
{
    struct touch_params params = touch_params(row->a);

    bench_check(baseline_run((enum baseline_kind)row->b, MEMORY, &params), row->name);
    return (double)(params.end - params.begin) / bench_cycles_per_ns() / (double)PAGES;
}

/* `a`: what; `b`: superpages? */
static double
measure_guest(const struct bench_row *row)
{
    struct bench_guest guest;

    bench_guest_init(&guest, MEMORY);
    guest.host.superpages = row->b != 0;
    guest.touch[0] = touch_params(row->a);
    return bench_guest_run(&guest) / (double)PAGES;
}

enum {
    ROW_TOUCH_THP,
    ROW_TOUCH_KERNEL,
    ROW_TOUCH_SMALL,
    ROW_TOUCH_SUPER,
    ROW_LOAD_THP,
    ROW_LOAD_KERNEL,
    ROW_LOAD_SMALL,
    ROW_LOAD_SUPER,
    ROW_COUNT
};

static const struct bench_row rows[ROW_COUNT] = {
    [ROW_TOUCH_THP] = { "first touch: plain guest on transparent huge pages", measure_baseline,
                        FIRST_TOUCH, BASELINE_HUGE },
    [ROW_TOUCH_KERNEL] = { "first touch: plain guest on a memfd", measure_baseline, FIRST_TOUCH,
                           BASELINE_KERNEL },
    [ROW_TOUCH_SMALL] = { "first touch: vkvm without superpages", measure_guest, FIRST_TOUCH, 0 },
    [ROW_TOUCH_SUPER] = { "first touch: vkvm", measure_guest, FIRST_TOUCH, 1 },
    [ROW_LOAD_THP] = { "dependent load: plain guest on transparent huge pages", measure_baseline,
                       LOADS, BASELINE_HUGE },
    [ROW_LOAD_KERNEL] = { "dependent load: plain guest on a memfd", measure_baseline, LOADS,
                          BASELINE_KERNEL },
    [ROW_LOAD_SMALL] = { "dependent load: vkvm without superpages", measure_guest, LOADS, 0 },
    [ROW_LOAD_SUPER] = { "dependent load: vkvm", measure_guest, LOADS, 1 },
};

static const struct bench_ratio ratios[] = {
    { "first touch of 1 GiB / huge pages", ROW_TOUCH_SUPER, ROW_TOUCH_THP, 1.2 },
    { "dependent loads over 1 GiB / huge pages", ROW_LOAD_SUPER, ROW_LOAD_THP, 1.05 },
    { "... without superpages / huge pages", ROW_LOAD_SMALL, ROW_LOAD_THP, 0 },
};

const struct bench_group bench_huge_group = {
    .name = "huge",
    .title = "1 GiB, nanoseconds per 4 KiB page or load",
    .rows = rows,
    .nrows = ROW_COUNT,
    .ratios = ratios,
    .nratios = sizeof(ratios) / sizeof(ratios[0]),
};
