/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a trace costs: an isolated fault without one, with one, and with the registers; and what a
 * record costs by itself.
 *
 * The ratio that has a goal is of pairs: a run with and one without a trace, one directly after the
 * other, by turns which is first.  What else the machine does spoils some pairs, not their median.  Where that
 * is too much, the ratio of processor times is left: all threads on one processor, so that none spins.
 */
#include "tests/bench/bench.h"
#include "tests/bench/guest.h"

#include "vmm/trace/trace_writer.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MEMORY (1024ull << 20)
#define SPAN (256ull << 20)
#define PAGES 2048ull
#define CPU_PAGES 8192ull /* of a run whose making counts too */
#define RUNS 4u
#define PAIRS 9u /* of a round: odd, so that one is in the middle */
#define RECORDS 200000u

#define TRACED 1
#define WITH_REGISTERS 2

static void
name_file(char *path, size_t size)
{
    const char *directory = getenv("TMPDIR");
    int fd;

    snprintf(path, size, "%s/vkvm-bench.XXXXXX", directory != NULL ? directory : "/tmp");
    fd = mkstemp(path);
    if (fd < 0)
        bench_fail("trace file", path);
    close(fd);
}

/* Each page is far from the one before: no prefault helps. */
static double
measure_pages(uint64_t how, uint64_t pages)
{
    struct bench_guest guest;
    char path[256];
    double us;

    bench_guest_init(&guest, MEMORY);
    guest.touch[0] = (struct touch_params){
        .base = SPAN, .count = pages, .stride = 4001 * 16 * PAGE_SIZE, .mask = SPAN - 1, .write = 1
    };
    if (how == 0)
        return bench_guest_us_per_page(&guest);
    name_file(path, sizeof(path));
    guest.config.trace =
        (struct vm_trace_config){ .path = path, .program = "bench", .registers = how > TRACED };
    us = bench_guest_us_per_page(&guest);
    unlink(path);
    return us;
}

static double
measure_once(uint64_t how)
{
    return measure_pages(how, PAGES);
}

/* Processor time of all threads, VM and trace made and ended included. */
static double
measure_cpu(uint64_t how)
{
    struct timespec before, after;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    (void)measure_pages(how, CPU_PAGES);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    return (double)(after.tv_sec - before.tv_sec) * 1e9 + (double)(after.tv_nsec - before.tv_nsec);
}

/* The best of a few short runs: what else the machine does is in none of them, or in all. */
static double
measure_fault(const struct bench_row *row)
{
    double us, best = measure_once(row->a);

    for (unsigned i = 1; i < RUNS; i++) {
        us = measure_once(row->a);
        best = us < best ? us : best;
    }
    return best;
}

static int
compare(const void *left, const void *right)
{
    const double *a = left, *b = right;

    return (*a > *b) - (*a < *b);
}

/* The median of pairs: traced / not traced. */
static double
median_of_pairs(uint64_t how, double (*measure)(uint64_t how))
{
    double ratios[PAIRS];

    for (unsigned i = 0; i < PAIRS; i++) {
        double first = measure(i % 2 == 0 ? 0 : how);
        double second = measure(i % 2 == 0 ? how : 0);
        ratios[i] = i % 2 == 0 ? second / first : first / second;
    }
    qsort(ratios, PAIRS, sizeof(ratios[0]), compare);
    return ratios[PAIRS / 2];
}

static double
measure_pairs(const struct bench_row *row)
{
    return median_of_pairs(row->a, measure_once);
}

static double
measure_cpu_pairs(const struct bench_row *row)
{
    cpu_set_t all, one;
    double ratio;

    if (sched_getaffinity(0, sizeof(all), &all) != 0)
        return BENCH_NONE;
    CPU_ZERO(&one);
    for (int cpu = 0; CPU_COUNT(&one) == 0 && cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    if (sched_setaffinity(0, sizeof(one), &one) != 0)
        return BENCH_NONE;
    ratio = median_of_pairs(row->a, measure_cpu);
    if (sched_setaffinity(0, sizeof(all), &all) != 0)
        bench_fail("processors", "they cannot be had back");
    return ratio;
}

/* A fault as the guest above makes it. */
static void
fill(struct trace_record *record, uint64_t i)
{
    uint64_t page = bench_scatter(i) % (SPAN >> PAGE_SHIFT);

    *record = (struct trace_record){
        .kind = TRACE_FAULT,
        .time = i * 25000,
        .who = TRACE_VCPU,
        .fault = { .access = TRACE_WRITE,
                   .gpa = SPAN + (page << PAGE_SHIFT),
                   .duration = 9000 + page % 1000,
                   .flags = VM_FAULT_BURST,
                   .step = FAULT_STEP_PAGE,
                   .entry_prot = VM_PROT_ALL,
                   .resolution = TRACE_ZERO_FILL,
                   .object = 2,
                   .pindex = page,
                   .slot = page,
                   .source = page },
    };
}

/* `a`: what is returned: ns for a record, thousands of records a second, or bytes of one. */
static double
measure_records(const struct bench_row *row)
{
    char path[256];
    const struct trace_config config = { .path = path, .nlanes = 1, .text = "" };
    struct trace_totals totals;
    struct failure failure;
    struct trace *trace;
    double start, put_ns, all_ns;

    name_file(path, sizeof(path));
    if (trace_create(&config, &trace, &failure) != 0)
        bench_fail("trace", failure.message);
    start = bench_now_ns();
    for (uint64_t i = 0; i < RECORDS; i++) {
        struct trace_record record;
        fill(&record, i);
        trace_put(trace, trace_get_lane(trace, 0), &record);
    }
    put_ns = bench_now_ns() - start;
    trace_finish(trace, "");
    all_ns = bench_now_ns() - start;
    trace_get_totals(trace, &totals);
    trace_destroy(trace);
    unlink(path);
    if (row->a == 0)
        return put_ns / RECORDS;
    if (row->a == 1)
        return (double)(totals.records - totals.lost) / all_ns * 1e6;
    return (double)totals.bytes / (double)(totals.records - totals.lost);
}

static const struct bench_row rows[] = {
    { "isolated fault, no trace, us", measure_fault, 0, 0 },
    { "isolated fault, traced, us", measure_fault, TRACED, 0 },
    { "isolated fault, traced with the registers, us", measure_fault, WITH_REGISTERS, 0 },
    { "a record, without the fault, ns", measure_records, 0, 0 },
    { "records a second into the file, thousands", measure_records, 1, 0 },
    { "a record in the file, bytes", measure_records, 2, 0 },
    { "isolated fault, traced / not traced, of pairs", measure_pairs, TRACED, 0 },
    { "... processor time, all threads on one processor", measure_cpu_pairs, TRACED, 0 },
};

static const struct bench_ratio ratios[] = {
    { "traced / not traced, of pairs", 6, BENCH_NO_BASE, 1.03 },
    { "... processor time", 7, BENCH_NO_BASE, 1.03 },
    { "traced with the registers / not traced", 2, 0, 0 },
};

const struct bench_group bench_trace_group = {
    .name = "trace",
    .title = "what a trace costs",
    .rows = rows,
    .nrows = sizeof(rows) / sizeof(rows[0]),
    .ratios = ratios,
    .nratios = sizeof(ratios) / sizeof(ratios[0]),
};
