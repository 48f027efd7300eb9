/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine with several threads, as a VM with several vCPUs has it: do their faults go side by
 * side?  Each thread has pages of its own, in one object or in an object of its own.
 *
 * Wall time: with fewer processors than threads it can only stay the same.  Where it goes: the
 * processor time of all threads grows where they wait for each other's cache lines, and a thread
 * sleeps where it waits for a lock.  These two say the same on a loaded machine.
 */
#include "tests/bench/bench.h"
#include "tests/bench/engine.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>

#define THREADS_MAX 16u
#define TOTAL_PAGES 65536ull /* of all threads together */
#define SCATTER 1021ull      /* odd: each page of a part once, in no order */

struct part {
    struct bench_engine *engine;
    _Atomic unsigned *waiting; /* threads that have not begun */
    uint64_t first;            /* page */
    uint64_t npages;           /* a power of two */
    vm_prot_t access;
    double begin, end; /* ns */
    double busy;       /* ns of processor time */
    long sleeps;
};

/* How often the calling thread gave its processor up to wait. */
static long
count_sleeps(void)
{
    struct rusage usage;

    bench_check(getrusage(RUSAGE_THREAD, &usage) < 0 ? -errno : 0, "asking for the sleeps");
    return usage.ru_nvcsw;
}

static void *
fault_pages(void *context)
{
    struct part *part = context;

    atomic_fetch_sub(part->waiting, 1);
    while (atomic_load(part->waiting) != 0)
        sched_yield();
    part->begin = bench_now_ns();
    part->busy = -bench_cpu_ns();
    part->sleeps = -count_sleeps();
    for (uint64_t i = 0; i < part->npages; i++) {
        uint64_t page = part->first + (i * SCATTER & (part->npages - 1));

        bench_engine_fault(part->engine, page << PAGE_SHIFT, part->access, VM_FAULT_NORMAL);
    }
    part->end = bench_now_ns();
    part->busy += bench_cpu_ns();
    part->sleeps += count_sleeps();
    return NULL;
}

static void
run_threads(struct part *parts, unsigned nthreads)
{
    pthread_t threads[THREADS_MAX];

    for (unsigned i = 0; i < nthreads; i++)
        bench_check(-pthread_create(&threads[i], NULL, fault_pages, &parts[i]),
                    "starting a thread");
    for (unsigned i = 0; i < nthreads; i++)
        pthread_join(threads[i], NULL);
}

/* What is measured of a run, for each fault. */
enum figure {
    FIGURE_WALL,  /* ns from the first thread's begin to the last one's end */
    FIGURE_BUSY,  /* ns of processor time, of all threads */
    FIGURE_SLEEPS /* for a thousand faults */
};

static double
figure_of(const struct part *parts, unsigned nthreads, enum figure figure)
{
    double begin = parts[0].begin, end = parts[0].end;
    double busy = parts[0].busy;
    long sleeps = parts[0].sleeps;

    for (unsigned i = 1; i < nthreads; i++) {
        begin = parts[i].begin < begin ? parts[i].begin : begin;
        end = parts[i].end > end ? parts[i].end : end;
        busy += parts[i].busy;
        sleeps += parts[i].sleeps;
    }
    if (figure == FIGURE_SLEEPS)
        return (double)sleeps * 1000 / TOTAL_PAGES;
    return (figure == FIGURE_BUSY ? busy : end - begin) / TOTAL_PAGES;
}

enum kind {
    KIND_RESIDENT, /* the pages are there, and have to be mapped again */
    KIND_ZERO_FILL
};

/* `row->b` says what is measured of what. */
struct choice {
    enum kind kind;
    bool shared; /* one object for all threads */
    enum figure figure;
};

static const struct choice choices[] = {
    { KIND_RESIDENT, true, FIGURE_WALL },   { KIND_RESIDENT, false, FIGURE_WALL },
    { KIND_ZERO_FILL, true, FIGURE_WALL },  { KIND_ZERO_FILL, false, FIGURE_WALL },
    { KIND_RESIDENT, true, FIGURE_BUSY },   { KIND_RESIDENT, false, FIGURE_BUSY },
    { KIND_ZERO_FILL, true, FIGURE_BUSY },  { KIND_ZERO_FILL, false, FIGURE_BUSY },
    { KIND_RESIDENT, true, FIGURE_SLEEPS }, { KIND_ZERO_FILL, true, FIGURE_SLEEPS },
};

static double
measure(const struct bench_row *row)
{
    const struct choice *choice = &choices[row->b];
    unsigned nthreads = (unsigned)row->a;
    _Atomic unsigned waiting = nthreads;
    struct part parts[THREADS_MAX];
    struct bench_engine engine;
    double value;

    bench_engine_init(&engine, false);
    if (choice->shared)
        bench_engine_map(&engine, 0, TOTAL_PAGES, NULL, 0);
    for (unsigned i = 0; i < nthreads; i++) {
        uint64_t npages = TOTAL_PAGES / nthreads;

        parts[i] = (struct part){ .engine = &engine,
                                  .waiting = &waiting,
                                  .first = i * npages,
                                  .npages = npages,
                                  .access = VM_PROT_WRITE };
        if (!choice->shared)
            bench_engine_map(&engine, parts[i].first << PAGE_SHIFT, npages, NULL, 0);
    }
    if (choice->kind == KIND_RESIDENT) {
        bench_engine_populate(&engine, 0, TOTAL_PAGES);
        bench_engine_drop(&engine, 0, TOTAL_PAGES);
    }
    run_threads(parts, nthreads);
    value = figure_of(parts, nthreads, choice->figure);
    bench_engine_fini(&engine);
    return value;
}

#define ROW(name, b)                                                           \
    { name, measure, 1, b }, { name, measure, 2, b }, { name, measure, 4, b }, \
        { name, measure, 8, b },                                               \
    {                                                                          \
        name, measure, 16, b                                                   \
    }
#define COLUMNS 5

static const struct bench_row rows[] = {
    ROW("resident page, mapped again, of one object", 0),
    ROW("resident page, mapped again, of an object each", 1),
    ROW("page of zeros, of one object", 2),
    ROW("page of zeros, of an object each", 3),
    ROW("processor time: resident, one object", 4),
    ROW("processor time: resident, an object each", 5),
    ROW("processor time: zeros, one object", 6),
    ROW("processor time: zeros, an object each", 7),
    ROW("sleeps in a thousand faults: resident, one object", 8),
    ROW("sleeps in a thousand faults: zeros, one object", 9),
};

static const char *const columns[COLUMNS] = { "1", "2", "4", "8", "16" };

static const struct bench_ratio ratios[] = {
    { "2 threads / 1: resident, one object", 1, 0, 0.56 },
    { "2 threads / 1: resident, an object each", COLUMNS + 1, COLUMNS, 0.56 },
    { "2 threads / 1: zeros, one object", 2 * COLUMNS + 1, 2 * COLUMNS, 0.56 },
    { "2 threads / 1: zeros, an object each", 3 * COLUMNS + 1, 3 * COLUMNS, 0.56 },
    { "... processor time: resident, one object", 4 * COLUMNS + 1, 4 * COLUMNS, 1.11 },
    { "... processor time: resident, an object each", 5 * COLUMNS + 1, 5 * COLUMNS, 1.11 },
    { "... processor time: zeros, one object", 6 * COLUMNS + 1, 6 * COLUMNS, 1.11 },
    { "... processor time: zeros, an object each", 7 * COLUMNS + 1, 7 * COLUMNS, 1.11 },
};

const struct bench_group bench_threads_group = {
    .name = "threads",
    .title = "vm_fault alone, ns of wall time per fault, by threads",
    .rows = rows,
    .nrows = sizeof(rows) / sizeof(rows[0]),
    .columns = columns,
    .ncolumns = COLUMNS,
    .ratios = ratios,
    .nratios = sizeof(ratios) / sizeof(ratios[0]),
};
