/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bookkeeping: how much memory the monitor needs for itself per resident page of guest
 * memory, in percent of the page.
 *
 * Counted is what the heap has handed out (mallinfo2) and what is resident of the page
 * array and of the bitmap of moved frames; not the host kernel's page tables and VMAs.
 */
#include "tests/bench/bench.h"
#include "tests/bench/engine.h"
#include "vmm/vpagetable/vm_budget.h"

#include <malloc.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PAGES 65536ull
#define WINDOW(i) ((uint64_t)(1 + (i)) << 36)
#define WINDOW_TABLES (3 + PAGES / 512)
#define TABLES(i) (PAGES * 16 + (i)*WINDOW_TABLES) /* page index of window i's root table */
#define OBJECT_PAGES TABLES(2)
#define SCATTER 7919ull

enum {
    NORMAL,
    SPARSE,
    BOTH,
    TWO_WINDOWS,
    WINDOW_ONLY
};

/* Bytes of a large mapping that are resident. */
static uint64_t
resident_bytes(void *start, uint64_t size)
{
    uint64_t npages = (size + PAGE_MASK) >> PAGE_SHIFT, resident = 0;
    unsigned char *in_core = malloc(npages);

    if (in_core == NULL || mincore(start, size, in_core) != 0)
        bench_fail("bookkeeping", "mincore");
    for (uint64_t i = 0; i < npages; i++)
        resident += in_core[i] & 1;
    free(in_core);
    return resident << PAGE_SHIFT;
}

/* The part of the page array that has the object's pages, and of the bitmap beside it. */
static uint64_t
bookkeeping(struct bench_engine *engine, const struct vm_object *object)
{
    struct mallinfo2 heap = mallinfo2();
    struct vm_system *sys = &engine->sys;
    uint64_t words = sys->store_pages / 64;

    return heap.uordblks + heap.hblkhd +
           resident_bytes(&sys->pages[object->extent], OBJECT_PAGES * sizeof(sys->pages[0])) +
           resident_bytes(sys->moved, words * sizeof(sys->moved[0]));
}

/* Window i shows the first PAGES pages in another order; all its mappings. */
static void
fill_window(struct bench_engine *engine, struct vm_object *object, unsigned i)
{
    vm_object_ref(object);
    bench_engine_map_window(engine, WINDOW(i), PAGES, object, TABLES(i), SCATTER);
    bench_engine_populate(engine, WINDOW(i), PAGES);
}

/* PAGES pages of the object become resident: next to each other, or one in 16. */
static void
fill_normal(struct bench_engine *engine, bool sparse)
{
    if (!sparse)
        bench_engine_populate(engine, 0, PAGES);
    for (uint64_t i = 0; sparse && i < PAGES; i++)
        bench_engine_fault(engine, i * 16 << PAGE_SHIFT, VM_PROT_WRITE, VM_FAULT_NORMAL);
}

/* `a`: what is mapped. */
static double
measure_memory(const struct bench_row *row)
{
    struct bench_engine engine;
    struct vm_object *object;
    uint64_t before, resident;

    bench_engine_init(&engine, true);
    bench_check(vm_object_create_default(&engine.sys, OBJECT_PAGES, &object), "making memory");
    bench_engine_map(&engine, 0, OBJECT_PAGES, object, 0);
    before = bookkeeping(&engine, object);
    if (row->a != WINDOW_ONLY)
        fill_normal(&engine, row->a == SPARSE);
    if (row->a >= BOTH)
        fill_window(&engine, object, 0);
    if (row->a == TWO_WINDOWS)
        fill_window(&engine, object, 1);
    resident = vm_budget_resident(&engine.sys);
    before = bookkeeping(&engine, object) - before;
    bench_engine_fini(&engine);
    return (double)before / (double)resident / PAGE_SIZE * 100;
}

static const struct bench_row rows[] = {
    { "64k pages, mapped in a NORMAL entry", measure_memory, NORMAL, 0 },
    { "64k pages, one in 16 of a NORMAL entry", measure_memory, SPARSE, 0 },
    { "64k pages, mapped in a NORMAL entry and in a window", measure_memory, BOTH, 0 },
    { "64k pages, mapped in a window alone", measure_memory, WINDOW_ONLY, 0 },
    { "64k pages, mapped in a NORMAL entry and in two windows", measure_memory, TWO_WINDOWS, 0 },
};

static const struct bench_ratio ratios[] = {
    { "NORMAL (%)", 0, BENCH_NO_BASE, 2 },
    { "NORMAL and window (%)", 2, BENCH_NO_BASE, 2 },
    { "window alone (%)", 3, BENCH_NO_BASE, 2 },
};

const struct bench_group bench_memory_group = {
    .name = "memory",
    .title = "bookkeeping per resident page, percent of the page",
    .rows = rows,
    .nrows = sizeof(rows) / sizeof(rows[0]),
    .ratios = ratios,
    .nratios = sizeof(ratios) / sizeof(ratios[0]),
    .max_rounds = 1,
};
