/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory under pressure: a guest goes twice over memory of which half has room, and all of which
 * has been written before.  Beside each row a plain KVM guest on the kernel's own swap; both processes
 * are bounded alike, so that neither has its swap file in the page cache.
 */
#include "tests/bench/baseline.h"
#include "tests/bench/bench.h"
#include "tests/bench/bounded.h"
#include "tests/bench/guest.h"

#include "guest/include/vkvm_abi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGES 16384ull
#define ROUNDS 2
#define ROOM (PAGES / 2 << PAGE_SHIFT)
#define OWN (16ull << 20) /* of either program, for itself and its page tables */
#define LIMIT_MS 600000   /* scattered, on a busy machine */
#define SWAP_SIZE (PAGES << PAGE_SHIFT << 1)
#define SMALL (16ull << 20) /* memory beside what is touched */
#define SCATTERED (5237 * PAGE_SIZE)

enum {
    READ,
    WRITE,
    READ_BEFORE_WRITE
};

static struct touch_params
pressure_touch(const struct bench_row *row, uint64_t base)
{
    return (struct touch_params){ .base = base,
                                  .count = ROUNDS * PAGES,
                                  .stride = row->a != 0 ? SCATTERED : PAGE_SIZE,
                                  .mask = (PAGES << PAGE_SHIFT) - 1,
                                  .write = row->b == WRITE,
                                  .read_write = row->b == READ_BEFORE_WRITE };
}

/* A file's name for swap, which is not there yet. */
static void
swap_path(char path[256])
{
    const char *directory = getenv("TMPDIR");
    int fd;

    snprintf(path, 256, "%s/vkvm-bench.XXXXXX", directory != NULL ? directory : "/tmp");
    fd = mkstemp(path);
    if (fd < 0)
        bench_fail("swap file", path);
    close(fd);
}

/* Say once why rows are left out. */
static double
left_out(const char *what, int error)
{
    static bool said;

    if (!said)
        fprintf(stderr, "bench: pressure: %s: %s; these rows are left out\n", what,
                strerror(-error));
    said = true;
    return BENCH_NONE;
}

/* --- vkvm ---------------------------------------------------------------- */

static void
prepare_vkvm(struct bench_guest *guest, struct vm_map *map)
{
    bench_guest_add_region(map, VKVM_WINDOW_BASE, PAGES);
    for (uint64_t i = 1; i <= PAGES; i++)
        bench_guest_poke(map, VKVM_WINDOW_BASE + (i - 1) * PAGE_SIZE, &i, sizeof(i));
    (void)guest;
}

static double
run_vkvm(const void *context)
{
    struct bench_guest guest;
    char path[256];
    double us;

    swap_path(path);
    bench_guest_init(&guest, SMALL);
    guest.config.timeout_ms = LIMIT_MS;
    guest.host.swap = path;
    guest.host.ram_budget = ROOM;
    guest.touch[0] = pressure_touch(context, VKVM_WINDOW_BASE);
    guest.prepare = prepare_vkvm;
    us = bench_guest_us_per_page(&guest);
    unlink(path);
    return us;
}

/* Microseconds per touch; `a`: scattered?  `b`: what is done. */
static double
measure_vkvm(const struct bench_row *row)
{
    double us = 0;
    int error = bounded_run(ROOM + OWN, run_vkvm, row, &us);

    if (error == 0)
        return us;
    if (error == -ECHILD)
        bench_fail(row->name, "vkvm ended without a figure");
    (void)left_out("a memory cgroup, so that vkvm is not bounded", error);
    return run_vkvm(row);
}

/* --- The kernel ---------------------------------------------------------- */

static double
run_kernel(const void *context)
{
    struct touch_params touch = pressure_touch(context, SMALL);

    bench_check(baseline_run(BASELINE_SWAPPED, SMALL + (PAGES << PAGE_SHIFT), &touch),
                "a plain KVM guest");
    return (double)(touch.end - touch.begin) / bench_cycles_per_ns() / 1e3 / (double)touch.count;
}

static double
measure_kernel(const struct bench_row *row)
{
    char path[256];
    double us = 0;
    int error;

    swap_path(path);
    error = bounded_swap_on(path, SWAP_SIZE);
    if (error != 0)
        return left_out("the kernel's own swap", error);
    error = bounded_run(ROOM + OWN, run_kernel, row, &us);
    bounded_swap_off(path);
    if (error == -ECHILD)
        bench_fail(row->name, "the plain guest ended without a figure");
    return error == 0 ? us : left_out("a memory cgroup", error);
}

static const struct bench_row rows[] = {
    { "reading in order", measure_vkvm, 0, READ },
    { "  ... the kernel's own swap", measure_kernel, 0, READ },
    { "writing in order", measure_vkvm, 0, WRITE },
    { "  ... the kernel's own swap", measure_kernel, 0, WRITE },
    { "reading before writing, in order", measure_vkvm, 0, READ_BEFORE_WRITE },
    { "  ... the kernel's own swap", measure_kernel, 0, READ_BEFORE_WRITE },
    { "reading, scattered", measure_vkvm, 1, READ },
    { "  ... the kernel's own swap", measure_kernel, 1, READ },
    { "writing, scattered", measure_vkvm, 1, WRITE },
    { "  ... the kernel's own swap", measure_kernel, 1, WRITE },
    { "reading before writing, scattered", measure_vkvm, 1, READ_BEFORE_WRITE },
    { "  ... the kernel's own swap", measure_kernel, 1, READ_BEFORE_WRITE },
};

static const struct bench_ratio ratios[] = {
    { "reading in order / the kernel", 0, 1, 1 },
    { "writing in order / the kernel", 2, 3, 1 },
    { "reading before writing, in order / the kernel", 4, 5, 1 },
    { "reading, scattered / the kernel", 6, 7, 1 },
    { "writing, scattered / the kernel", 8, 9, 1 },
    { "reading before writing, scattered / the kernel", 10, 11, 1 },
};

const struct bench_group bench_pressure_group = {
    .name = "pressure",
    .title = "memory under pressure, room for half, us per 4 KiB page",
    .rows = rows,
    .nrows = sizeof(rows) / sizeof(rows[0]),
    .ratios = ratios,
    .nratios = sizeof(ratios) / sizeof(ratios[0]),
    .max_rounds = 3,
};
