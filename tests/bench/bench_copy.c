/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Virtual copies: what vm_map_copy of 1 GiB costs, and what a fork does with one.
 *
 * Over the real machine half, without vCPUs: what the copy write-protects is mapped in
 * the monitor's page tables, not in KVM's.
 */
#include "tests/bench/bench.h"
#include "tests/bench/engine.h"

#define GIB ((uint64_t)1 << 30)
#define GIB_PAGES (GIB >> PAGE_SHIFT)
#define FORK_PAGES 16384ull
#define FORK_STRIDE 8

/* Every step-th page of the first npages is resident and mapped writable. */
static void
populate(struct bench_engine *engine, uint64_t npages, uint64_t step)
{
    if (step == 1)
        bench_engine_populate(engine, 0, npages);
    else
        for (uint64_t i = 0; i < npages; i += step)
            bench_engine_fault(engine, i << PAGE_SHIFT, VM_PROT_WRITE, VM_FAULT_NORMAL);
}

/* Cut what is mapped into n entries; advice keeps neighbours from being merged. */
static void
cut(struct bench_engine *engine, uint64_t size, uint64_t n)
{
    for (uint64_t i = 1; i < n; i += 2)
        bench_check(vm_map_advise(&engine->map, gpa_from_u64(i * (size / n)),
                                  gpa_from_u64((i + 1) * (size / n)), VM_ADVICE_RANDOM),
                    "cutting an entry");
}

static double
copy_ms(struct bench_engine *engine, uint64_t size)
{
    double start = bench_cpu_ns();

    bench_check(vm_map_copy(&engine->map, gpa_from_u64(0), gpa_from_u64(2 * GIB), size),
                "copying memory");
    return (bench_cpu_ns() - start) / 1e6;
}

/* `a`: a page in so many is resident, 0 = none; `b`: entries. */
static double
measure_copy(const struct bench_row *row)
{
    struct bench_engine engine;
    double ms;

    bench_engine_init(&engine, true);
    bench_engine_map(&engine, 0, GIB_PAGES, NULL, 0);
    if (row->a != 0)
        populate(&engine, GIB_PAGES, row->a);
    cut(&engine, GIB, row->b);
    ms = copy_ms(&engine, GIB);
    bench_engine_fini(&engine);
    return ms;
}

/* 64 MiB are copied, one page in eight of the source is written to, the copy goes. */
static double
measure_fork(const struct bench_row *row)
{
    struct bench_engine engine;
    double start;

    (void)row;
    bench_engine_init(&engine, true);
    bench_engine_map(&engine, 0, FORK_PAGES, NULL, 0);
    populate(&engine, FORK_PAGES, 1);
    start = bench_cpu_ns();
    (void)copy_ms(&engine, FORK_PAGES << PAGE_SHIFT);
    populate(&engine, FORK_PAGES, FORK_STRIDE);
    bench_engine_unmap(&engine, 2 * GIB, FORK_PAGES);
    start = (bench_cpu_ns() - start) / 1e6;
    bench_engine_fini(&engine);
    return start;
}

static const struct bench_row rows[] = {
    { "1 GiB, all of it resident and mapped writable", measure_copy, 1, 1 },
    { "1 GiB, one page in 64 resident", measure_copy, 64, 1 },
    { "1 GiB, nothing resident", measure_copy, 0, 1 },
    { "1 GiB in 1,024 entries, nothing resident", measure_copy, 0, 1024 },
    { "fork: copy 64 MiB, write 8 MiB of it, drop the copy", measure_fork, 0, 0 },
};

const struct bench_group bench_copy_group = {
    .name = "copy",
    .title = "virtual copy, milliseconds",
    .rows = rows,
    .nrows = sizeof(rows) / sizeof(rows[0]),
    .max_rounds = 3,
};
