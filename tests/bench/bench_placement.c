/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How fault threads wait: what --placement auto finds, beside each way that it may choose, with one
 * vCPU and two, alone and beside a process that wants a processor all the time.
 */
#include "tests/bench/bench.h"
#include "tests/bench/guest.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 8192ull /* of each vCPU: finding out is part of it */
#define SPAN (512ull << 20)
#define MEMORY (2ull << 30)

static pid_t
busy_begin(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (volatile unsigned i = 0;; i++)
            ;
    }
    bench_check(pid < 0 ? -errno : 0, "starting a busy process");
    return pid;
}

static void
busy_end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* Microseconds for a fault.  `a`: enum fault_placement; `b`: vCPUs, and 16 if beside a process. */
static double
measure(const struct bench_row *row)
{
    struct bench_guest guest;
    pid_t busy = 0;
    double us;

    bench_guest_init(&guest, MEMORY);
    guest.config.placement = (enum fault_placement)row->a;
    guest.config.machine.nvcpus = (unsigned)row->b & 15;
    for (unsigned i = 0; i < guest.config.machine.nvcpus; i++)
        guest.touch[i] = (struct touch_params){ .base = (i + 1) * SPAN,
                                                .count = PAGES,
                                                .stride = 16ull * 4001 * PAGE_SIZE,
                                                .mask = SPAN - 1,
                                                .write = 1 };
    if ((row->b & 16) != 0)
        busy = busy_begin();
    us = bench_guest_us_per_page(&guest);
    if (busy != 0)
        busy_end(busy);
    return us;
}

#define COLUMNS 6

static const char *const columns[COLUMNS] = { "auto",      "block",      "same-core",
                                              "spin-bare", "spin-short", "spin" };

#define ROW(name, b)                                                                              \
    { name, measure, FAULT_PLACE_AUTO, b }, { name, measure, FAULT_PLACE_BLOCK, b },              \
        { name, measure, FAULT_PLACE_SAME_CORE, b }, { name, measure, FAULT_PLACE_SPIN_BARE, b }, \
        { name, measure, FAULT_PLACE_SPIN_SHORT, b },                                             \
    {                                                                                             \
        name, measure, FAULT_PLACE_SPIN, b                                                        \
    }

static const struct bench_row rows[] = {
    ROW("1 vCPU", 1),
    ROW("1 vCPU, beside a busy process", 17),
    ROW("2 vCPUs", 2),
    ROW("2 vCPUs, beside a busy process", 18),
};

#define RATIO(name, line)                              \
    {                                                  \
        name, (line)*COLUMNS, (line)*COLUMNS + 1, 1.10 \
    }

static const struct bench_ratio ratios[] = {
    RATIO("auto / the best: 1 vCPU", 0),
    RATIO("auto / the best: 1 vCPU, beside a busy process", 1),
    RATIO("auto / the best: 2 vCPUs", 2),
    RATIO("auto / the best: 2 vCPUs, beside a busy process", 3),
};

const struct bench_group bench_placement_group = {
    .name = "placement",
    .title = "isolated zero-fill fault, microseconds",
    .rows = rows,
    .nrows = sizeof(rows) / sizeof(rows[0]),
    .columns = columns,
    .ncolumns = COLUMNS,
    .ratios = ratios,
    .nratios = sizeof(ratios) / sizeof(ratios[0]),
    .nbases = COLUMNS - 1,
    .max_rounds = 5,
};
