/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine with several threads, as a VM with several vCPUs has it: do their faults go side by
 * side?  Each thread has pages of its own, in one object or in an object of its own.
 *
 * This is wall time: with fewer processors than threads it can only stay the same.
 */
#include "tests/bench/bench.h"
#include "tests/bench/engine.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

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
};

static void *
fault_pages(void *context)
{
    struct part *part = context;

    atomic_fetch_sub(part->waiting, 1);
    while (atomic_load(part->waiting) != 0)
        sched_yield();
    part->begin = bench_now_ns();
    for (uint64_t i = 0; i < part->npages; i++) {
        uint64_t page = part->first + (i * SCATTER & (part->npages - 1));

        bench_engine_fault(part->engine, page << PAGE_SHIFT, part->access, VM_FAULT_NORMAL);
    }
    part->end = bench_now_ns();
    return NULL;
}

/* From the first thread's begin to the last one's end, ns for each fault. */
static double
run_threads(struct part *parts, unsigned nthreads)
{
    double begin, end;
    pthread_t threads[THREADS_MAX];

    for (unsigned i = 0; i < nthreads; i++)
        bench_check(-pthread_create(&threads[i], NULL, fault_pages, &parts[i]),
                    "starting a thread");
    for (unsigned i = 0; i < nthreads; i++)
        pthread_join(threads[i], NULL);
    begin = parts[0].begin;
    end = parts[0].end;
    for (unsigned i = 1; i < nthreads; i++) {
        begin = parts[i].begin < begin ? parts[i].begin : begin;
        end = parts[i].end > end ? parts[i].end : end;
    }
    return (end - begin) / TOTAL_PAGES;
}

enum kind {
    KIND_RESIDENT, /* the pages are there, and have to be mapped again */
    KIND_ZERO_FILL
};

/* `kind` on pages of one object, or of one for each thread. */
static double
measure_kind(enum kind kind, bool shared, unsigned nthreads)
{
    _Atomic unsigned waiting = nthreads;
    struct part parts[THREADS_MAX];
    struct bench_engine engine;
    double ns;

    bench_engine_init(&engine, false);
    if (shared)
        bench_engine_map(&engine, 0, TOTAL_PAGES, NULL, 0);
    for (unsigned i = 0; i < nthreads; i++) {
        uint64_t npages = TOTAL_PAGES / nthreads;

        parts[i] = (struct part){ .engine = &engine,
                                  .waiting = &waiting,
                                  .first = i * npages,
                                  .npages = npages,
                                  .access = VM_PROT_WRITE };
        if (!shared)
            bench_engine_map(&engine, parts[i].first << PAGE_SHIFT, npages, NULL, 0);
    }
    if (kind == KIND_RESIDENT) {
        bench_engine_populate(&engine, 0, TOTAL_PAGES);
        bench_engine_drop(&engine, 0, TOTAL_PAGES);
    }
    ns = run_threads(parts, nthreads);
    bench_engine_fini(&engine);
    return ns;
}

static double
measure_resident_shared(const struct bench_row *row)
{
    return measure_kind(KIND_RESIDENT, true, (unsigned)row->a);
}

static double
measure_resident_own(const struct bench_row *row)
{
    return measure_kind(KIND_RESIDENT, false, (unsigned)row->a);
}

static double
measure_zero_shared(const struct bench_row *row)
{
    return measure_kind(KIND_ZERO_FILL, true, (unsigned)row->a);
}

static double
measure_zero_own(const struct bench_row *row)
{
    return measure_kind(KIND_ZERO_FILL, false, (unsigned)row->a);
}

#define ROW(name, measure)                                                     \
    { name, measure, 1, 0 }, { name, measure, 2, 0 }, { name, measure, 4, 0 }, \
        { name, measure, 8, 0 },                                               \
    {                                                                          \
        name, measure, 16, 0                                                   \
    }
#define COLUMNS 5

static const struct bench_row rows[] = {
    ROW("resident page, mapped again, of one object", measure_resident_shared),
    ROW("resident page, mapped again, of an object each", measure_resident_own),
    ROW("page of zeros, of one object", measure_zero_shared),
    ROW("page of zeros, of an object each", measure_zero_own),
};

static const char *const columns[COLUMNS] = { "1", "2", "4", "8", "16" };

static const struct bench_ratio ratios[] = {
    { "2 threads / 1: resident, one object", 1, 0, 0.56 },
    { "2 threads / 1: resident, an object each", COLUMNS + 1, COLUMNS, 0.56 },
    { "2 threads / 1: zeros, one object", 2 * COLUMNS + 1, 2 * COLUMNS, 0.56 },
    { "2 threads / 1: zeros, an object each", 3 * COLUMNS + 1, 3 * COLUMNS, 0.56 },
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
