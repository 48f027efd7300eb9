/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Does a fault cost more when there is more?  More resident pages, more map entries,
 * longer chains of shadow objects.
 *
 * Each cell is the cost of isolated faults on a sample of pages all over what there is,
 * by the engine alone.  A small sample shows the steps that are taken; a large one also
 * that what is looked up no longer lies in the processor's first caches.
 */
#include "tests/bench/bench.h"
#include "tests/bench/engine.h"

#define HOT 256ull   /* pages that are faulted on again and again ... */
#define COLD 4096ull /* ... or so many that nothing stays in the first caches */

/* Pages that follow each other but for a gap of one page after every `run`, in no order. */
struct sample {
    uint64_t gpa;
    uint64_t npages; /* a power of two */
    uint64_t run;    /* 0 = no gaps */
    uint64_t count;  /* how many are faulted on; at most npages */
};

static uint64_t
sample_gpa(uint64_t i, const void *context)
{
    const struct sample *sample = context;
    uint64_t page = bench_scatter(i) & (sample->npages - 1);

    return sample->gpa + ((page + (sample->run != 0 ? page / sample->run : 0)) << PAGE_SHIFT);
}

static void
sample_drop(struct bench_engine *engine, const struct sample *sample)
{
    for (uint64_t i = 0; i < sample->count; i++)
        bench_engine_drop(engine, sample_gpa(i, sample), 1);
}

/* The mean of so many times that together they are COLD faults. */
static double
sample_measure(struct bench_engine *engine, struct sample sample)
{
    uint64_t times;
    double ns = 0;

    if (sample.count > sample.npages)
        sample.count = sample.npages;
    times = COLD / sample.count;
    for (uint64_t i = 0; i < times; i++) {
        sample_drop(engine, &sample);
        ns += bench_engine_ns_per_fault(engine, sample.count, sample_gpa, &sample, VM_PROT_READ);
    }
    return ns / (double)times;
}

/* --- Resident pages ------------------------------------------------------ */

#define FRESH ((uint64_t)1 << 40) /* where pages of zeros are made */

/* Resident pages, kept from round to round. */
static struct bench_engine *
resident_pages(unsigned which, uint64_t npages)
{
    static struct bench_engine engines[4];
    static bool made[4];

    if (!made[which]) {
        bench_engine_init(&engines[which], false);
        bench_engine_map(&engines[which], 0, npages, NULL, 0);
        bench_engine_populate(&engines[which], 0, npages);
        made[which] = true;
    }
    return &engines[which];
}

/* `a`: which; `b`: log2 of the pages. */
static double
measure_resident(const struct bench_row *row, uint64_t count)
{
    const struct sample sample = { 0, (uint64_t)1 << row->b, 0, count };

    return sample_measure(resident_pages((unsigned)row->a, sample.npages), sample);
}

static double
measure_resident_hot(const struct bench_row *row)
{
    return measure_resident(row, HOT);
}

static double
measure_resident_cold(const struct bench_row *row)
{
    return measure_resident(row, COLD);
}

static double
measure_zeros(const struct bench_row *row)
{
    struct bench_engine *engine = resident_pages((unsigned)row->a, (uint64_t)1 << row->b);
    const struct sample sample = { FRESH, 8 * COLD, 0, COLD };
    double ns;

    bench_engine_map(engine, FRESH, sample.npages, NULL, 0);
    ns = bench_engine_ns_per_fault(engine, COLD, sample_gpa, &sample, VM_PROT_WRITE);
    bench_engine_unmap(engine, FRESH, sample.npages);
    return ns;
}

static const char *const page_columns[] = { "1k", "16k", "256k", "1M" };

static const struct bench_row page_rows[] = {
    { "resident page, mapped again; 256 pages", measure_resident_hot, 0, 10 },
    { "", measure_resident_hot, 1, 14 },
    { "", measure_resident_hot, 2, 18 },
    { "", measure_resident_hot, 3, 20 },
    { "resident page, mapped again; 4,096 pages, cold caches", measure_resident_cold, 0, 10 },
    { "", measure_resident_cold, 1, 14 },
    { "", measure_resident_cold, 2, 18 },
    { "", measure_resident_cold, 3, 20 },
    { "page of zeros", measure_zeros, 0, 10 },
    { "", measure_zeros, 1, 14 },
    { "", measure_zeros, 2, 18 },
    { "", measure_zeros, 3, 20 },
};

static const struct bench_ratio page_ratios[] = {
    { "resident page, 1M / 1k pages", 3, 0, 0 },
    { "page of zeros, 1M / 1k pages", 11, 8, 0 },
};

const struct bench_group bench_pages_group = {
    .name = "pages",
    .title = "ns per fault, by resident pages",
    .rows = page_rows,
    .nrows = 12,
    .columns = page_columns,
    .ncolumns = 4,
    .ratios = page_ratios,
    .nratios = 2,
};

/* --- Map entries --------------------------------------------------------- */

#define ENTRIES_PAGES 16384ull /* in all entries together */

/* n entries on one object, a page of nothing between them, each with a window of its own. */
static struct bench_engine *
many_entries(unsigned which, uint64_t n, uint64_t run)
{
    static struct bench_engine engines[4];
    static bool made[4];
    struct bench_engine *engine = &engines[which];
    struct vm_object *object;

    if (made[which])
        return engine;
    bench_engine_init(engine, false);
    bench_check(vm_object_create_default(&engine->sys, n * run, &object), "making memory");
    for (uint64_t i = 0; i < n; i++) {
        uint64_t gpa = i * (run + 1) << PAGE_SHIFT;

        if (i != 0)
            vm_object_ref(object);
        bench_engine_map(engine, gpa, run, object, i * run);
        bench_engine_populate(engine, gpa, run);
    }
    made[which] = true;
    return engine;
}

/* `a`: which; `b`: entries. */
static double
measure_entries(const struct bench_row *row, uint64_t count)
{
    const uint64_t run = ENTRIES_PAGES / row->b + 1;
    const struct sample sample = { 0, ENTRIES_PAGES, run, count };

    return sample_measure(many_entries((unsigned)row->a, row->b, run), sample);
}

static double
measure_entries_hot(const struct bench_row *row)
{
    return measure_entries(row, HOT);
}

static double
measure_entries_cold(const struct bench_row *row)
{
    return measure_entries(row, COLD);
}

static const char *const entry_columns[] = { "10", "100", "1,000", "10,000" };

static const struct bench_row entry_rows[] = {
    { "resident page, mapped again; 256 pages", measure_entries_hot, 0, 10 },
    { "", measure_entries_hot, 1, 100 },
    { "", measure_entries_hot, 2, 1000 },
    { "", measure_entries_hot, 3, 10000 },
    { "resident page, mapped again; 4,096 pages, cold caches", measure_entries_cold, 0, 10 },
    { "", measure_entries_cold, 1, 100 },
    { "", measure_entries_cold, 2, 1000 },
    { "", measure_entries_cold, 3, 10000 },
};

static const struct bench_ratio entry_ratios[] = {
    { "10,000 / 10 entries", 3, 0, 0 },
};

const struct bench_group bench_entries_group = {
    .name = "entries",
    .title = "ns per fault, by map entries",
    .rows = entry_rows,
    .nrows = 8,
    .columns = entry_columns,
    .ncolumns = 4,
    .ratios = entry_ratios,
    .nratios = 1,
};

/* --- Chains -------------------------------------------------------------- */

#define CHAIN_PAGES 2048ull /* the lower half is never written to after the first time */
#define COPY(n) ((uint64_t)(n) * (CHAIN_PAGES << PAGE_SHIFT))

/* The next generation: a copy of the memory at 0, which then writes a page of its own. */
static void
generation(struct bench_engine *engine, uint64_t n)
{
    bench_check(vm_map_copy(&engine->map, gpa_from_u64(0), gpa_from_u64(COPY(n)),
                            CHAIN_PAGES << PAGE_SHIFT),
                "copying memory");
    bench_engine_fault(engine, (CHAIN_PAGES - 1 - n % (CHAIN_PAGES / 2)) << PAGE_SHIFT,
                       VM_PROT_WRITE, VM_FAULT_NORMAL);
}

/* `n` generations; all copies stay, or only the newest one does. */
static struct bench_engine *
chain(unsigned which, uint64_t n, bool keep)
{
    static struct bench_engine engines[8];
    static bool made[8];
    struct bench_engine *engine = &engines[which];

    if (made[which])
        return engine;
    bench_engine_init(engine, false);
    bench_engine_map(engine, 0, CHAIN_PAGES, NULL, 0);
    bench_engine_populate(engine, 0, CHAIN_PAGES);
    for (uint64_t i = 1; i <= n; i++)
        generation(engine, i);
    for (uint64_t i = 1; !keep && i < n; i++)
        bench_engine_unmap(engine, COPY(i), CHAIN_PAGES);
    made[which] = true;
    return engine;
}

static unsigned
chain_depth(struct bench_engine *engine)
{
    struct vm_map_lookup lookup;
    struct vm_object *object;
    unsigned depth = 0;

    if (vm_map_lookup(&engine->map, gpa_from_u64(0), VM_PROT_READ, &lookup) != VM_OK)
        bench_fail("chain", "there is no entry");
    for (object = lookup.object; object->backing_object != NULL; object = object->backing_object)
        depth++;
    vm_map_lookup_done(&engine->map);
    return depth;
}

/* `a`: which, the upper four with the copies gone; `b`: generations. */
static struct bench_engine *
row_chain(const struct bench_row *row)
{
    return chain((unsigned)row->a, row->b, row->a < 4);
}

static double
measure_chain(const struct bench_row *row)
{
    const struct sample sample = { 0, CHAIN_PAGES / 2, 0, HOT };

    return sample_measure(row_chain(row), sample);
}

static double
measure_depth(const struct bench_row *row)
{
    return chain_depth(row_chain(row));
}

/* Microseconds per generation when each copy goes before the next one comes. */
static double
measure_generation(const struct bench_row *row)
{
    struct bench_engine engine;
    double start;

    bench_engine_init(&engine, false);
    bench_engine_map(&engine, 0, CHAIN_PAGES, NULL, 0);
    bench_engine_populate(&engine, 0, CHAIN_PAGES);
    start = bench_cpu_ns();
    for (uint64_t i = 1; i <= row->b; i++) {
        generation(&engine, i);
        if (i > 1)
            bench_engine_unmap(&engine, COPY(i - 1), CHAIN_PAGES);
    }
    start = (bench_cpu_ns() - start) / 1e3 / (double)row->b;
    bench_engine_fini(&engine);
    return start;
}

static const char *const chain_columns[] = { "1", "10", "100", "1,000" };

static const struct bench_row chain_rows[] = {
    { "every copy stays: objects behind the first", measure_depth, 0, 1 },
    { "", measure_depth, 1, 10 },
    { "", measure_depth, 2, 100 },
    { "", measure_depth, 3, 1000 },
    { "every copy stays: ns per fault on the oldest's pages", measure_chain, 0, 1 },
    { "", measure_chain, 1, 10 },
    { "", measure_chain, 2, 100 },
    { "", measure_chain, 3, 1000 },
    { "only the newest copy left: objects behind the first", measure_depth, 4, 1 },
    { "", measure_depth, 5, 10 },
    { "", measure_depth, 6, 100 },
    { "", measure_depth, 7, 1000 },
    { "only the newest copy left: ns per fault", measure_chain, 4, 1 },
    { "", measure_chain, 5, 10 },
    { "", measure_chain, 6, 100 },
    { "", measure_chain, 7, 1000 },
    { "copy, write a page, drop the copy before: us", measure_generation, 0, 1 },
    { "", measure_generation, 0, 10 },
    { "", measure_generation, 0, 100 },
    { "", measure_generation, 0, 1000 },
};

static const struct bench_ratio chain_ratios[] = {
    { "after collapse, 1,000 / 1 generations", 15, 12, 0 },
};

const struct bench_group bench_chain_group = {
    .name = "chains",
    .title = "shadow chains, by generations of copies",
    .rows = chain_rows,
    .nrows = 20,
    .columns = chain_columns,
    .ncolumns = 4,
    .ratios = chain_ratios,
    .nratios = 1,
};
