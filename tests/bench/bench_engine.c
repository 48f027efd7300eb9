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
#define FLAGS (VPTE_V | VPTE_R | VPTE_W | VPTE_X | VPTE_A | VPTE_M)

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
        if (vm_map_write(&engine->map, gpa_from_u64(REGION + (i << PAGE_SHIFT)), &mark, sizeof mark,
                         &info) != VM_OK)
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

static void
set_entry(struct bench_engine *engine, uint64_t table, uint64_t index, vm_pindex_t frame)
{
    vpte_t entry = frame << PAGE_SHIFT | FLAGS;
    struct vm_fault_info info;

    if (vm_map_write(&engine->map, gpa_from_u64((table << PAGE_SHIFT) + index * sizeof entry),
                     &entry, sizeof entry, &info) != VM_OK)
        bench_fail("writing a table", vm_result_name(info.result));
}

/* A window whose page i is page i of the region; A and M are set. */
static void
map_window(struct bench_engine *engine, struct vm_object *object)
{
    struct vm_map_insert args = {
        .start = gpa_from_u64(WINDOW),
        .end = gpa_from_u64(WINDOW + (PAGES << PAGE_SHIFT)),
        .object = object,
        .maptype = VM_MAPTYPE_VPAGETABLE,
        .format = &vpte64_format,
        .root = TABLES << PAGE_SHIFT | FLAGS,
        .protection = VM_PROT_ALL,
        .max_protection = VM_PROT_ALL,
    };

    set_entry(engine, TABLES, 0, TABLES + 1);
    set_entry(engine, TABLES + 1, 0, TABLES + 2);
    for (uint64_t i = 0; i < PAGES; i++) {
        set_entry(engine, TABLES + 2, i / 512, TABLES + 3 + i / 512);
        set_entry(engine, TABLES + 3 + i / 512, i % 512, i);
    }
    bench_check(vm_map_insert(&engine->map, &args), "mapping a window");
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
    map_window(&engine, object);
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
    .nrows = sizeof rows / sizeof rows[0],
};
