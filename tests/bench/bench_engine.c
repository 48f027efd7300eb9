/* SPDX-License-Identifier: BSD-2-Clause */
/* What the engine itself needs for each kind of fault, without the host. */
#include "tests/bench/bench.h"
#include "tests/bench/engine.h"
#include "tests/bench/guest.h"

#define PAGES 4096ull
#define REGION 0
#define COPY (PAGES << PAGE_SHIFT)
#define WINDOW (COPY * 4)
#define TABLES PAGES /* page index of the window's root table */

static uint64_t
scattered(uint64_t i, const void *context)
{
    (void)context;
    return REGION + ((i * 1021 & (PAGES - 1)) << PAGE_SHIFT);
}

static uint64_t
in_window(uint64_t i, const void *context)
{
    return WINDOW + scattered(i, context);
}

/* Fresh pages, and the same ones again after their mappings are gone. */
static double
measure_zero_fill(const struct bench_row *row)
{
    struct bench_engine engine;
    double ns;

    bench_engine_init(&engine, false);
    bench_engine_map(&engine, REGION, PAGES, NULL, 0);
    ns = bench_engine_ns_per_fault(&engine, PAGES, scattered, NULL, VM_PROT_WRITE);
    if (row->a != 0) {
        bench_engine_drop(&engine, REGION, PAGES);
        ns = bench_engine_ns_per_fault(&engine, PAGES, scattered, NULL, VM_PROT_READ);
    }
    bench_engine_fini(&engine);
    return ns;
}

static double
measure_sequential(const struct bench_row *row)
{
    struct bench_engine engine;
    double ns;

    (void)row;
    bench_engine_init(&engine, false);
    bench_engine_map(&engine, REGION, PAGES, NULL, 0);
    ns = bench_cpu_ns();
    bench_engine_populate(&engine, REGION, PAGES);
    ns = (bench_cpu_ns() - ns) / PAGES;
    bench_engine_fini(&engine);
    return ns;
}

/* Fill the frames, so that a copy reads what is there and not a hole. */
static void
fill(struct bench_engine *engine)
{
    const uint64_t mark = 1;
    struct vm_fault_info info;

    for (uint64_t i = 0; i < PAGES; i++) {
        if (vm_map_write(&engine->map, gpa_from_u64(REGION + (i << PAGE_SHIFT)), &mark,
                         sizeof(mark), &info) != VM_OK)
            bench_fail("filling memory", vm_result_name(info.result));
    }
}

/* The first page is pinned while the copy goes: the rest moves instead of being copied. */
static struct vm_page *
make_movable(struct bench_engine *engine)
{
    struct vm_page *pinned = bench_pin(&engine->map, REGION);

    bench_engine_fault(engine, REGION + PAGE_SIZE, VM_PROT_WRITE, VM_FAULT_NORMAL);
    bench_engine_unmap(engine, COPY, PAGES);
    return pinned;
}

/* `a`: moved instead of copied? */
static double
measure_cow(const struct bench_row *row)
{
    struct vm_page *pinned = NULL;
    struct bench_engine engine;
    double ns;

    bench_engine_init(&engine, false);
    bench_engine_map(&engine, REGION, PAGES, NULL, 0);
    fill(&engine);
    bench_engine_populate(&engine, REGION, PAGES);
    bench_check(vm_map_copy(&engine.map, gpa_from_u64(REGION), gpa_from_u64(COPY),
                            PAGES << PAGE_SHIFT),
                "copying memory");
    if (row->a != 0)
        pinned = make_movable(&engine);
    ns = bench_engine_ns_per_fault(&engine, PAGES, scattered, NULL, VM_PROT_WRITE);
    if (pinned != NULL)
        bench_unpin(pinned);
    bench_engine_fini(&engine);
    return ns;
}

static double
measure_window(const struct bench_row *row)
{
    const uint64_t npages = PAGES + 3 + PAGES / 512;
    struct bench_engine engine;
    struct vm_object *object;
    double ns;

    (void)row;
    bench_engine_init(&engine, false);
    bench_check(vm_object_create_default(&engine.sys, npages, &object), "making memory");
    vm_object_ref(object);
    bench_engine_map(&engine, REGION, npages, object, 0);
    bench_engine_populate(&engine, REGION, PAGES);
    bench_engine_map_window(&engine, WINDOW, PAGES, object, TABLES, 1);
    ns = bench_engine_ns_per_fault(&engine, PAGES, in_window, NULL, VM_PROT_READ);
    bench_engine_fini(&engine);
    return ns;
}

static const struct bench_row rows[] = {
    { "resident page, mapped again", measure_zero_fill, 1, 0 },
    { "page of zeros, isolated", measure_zero_fill, 0, 0 },
    { "page of zeros, in runs, per page", measure_sequential, 0, 0 },
    { "COW fault, with the copy of 4 KiB into a fresh frame", measure_cow, 0, 0 },
    { "moved page", measure_cow, 1, 0 },
    { "through a window: walk of 4 levels and a resident page", measure_window, 0, 0 },
};

const struct bench_group bench_engine_group = {
    .name = "engine",
    .title = "vm_fault alone, no host, nanoseconds per fault",
    .rows = rows,
    .nrows = sizeof(rows) / sizeof(rows[0]),
};
