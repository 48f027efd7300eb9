/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The walk of a four-level virtual page table, warm, beside four dependent loads from
 * the same entries.
 *
 * Each walk begins where the last one ended (its page index depends on the result), so
 * that the processor cannot do several at once; the same for the loads.  The accessed
 * bits are set already, as they are on every walk of a page but the first.
 */
#include "tests/bench/bench.h"
#include "tests/bench/engine.h"

#include <stdlib.h>
#include <string.h>

#define ROOT_TABLE 1
#define FIRST_LEAF 4
#define MAX_LEAVES 512
#define OBJECT_PAGES (1u << 20)
#define WALKS 200000
#define FLAGS (VPTE_V | VPTE_R | VPTE_W | VPTE_X | VPTE_A | VPTE_M)

static struct bench_engine engine;
static struct vm_object *object;
static uint8_t *tables; /* page 0 of the object in the direct map */

static vpte_t *
table_page(vm_pindex_t pindex)
{
    struct vm_page *m;

    bench_engine_fault(&engine, pindex << PAGE_SHIFT, VM_PROT_WRITE, VM_FAULT_NORMAL);
    vm_mutex_lock(&object->lock);
    m = vm_page_lookup(object, pindex);
    vm_mutex_unlock(&object->lock);
    return vm_page_address(m);
}

/* MAX_LEAVES leaf tables behind one table of each level above. */
static void
make_tables(void)
{
    vpte_t *level3;

    if (object != NULL)
        return;
    bench_engine_init(&engine, false);
    bench_check(vm_object_create_default(&engine.sys, OBJECT_PAGES, &object), "making memory");
    vm_object_ref(object);
    bench_engine_map(&engine, 0, OBJECT_PAGES, object, 0);
    tables = (uint8_t *)table_page(0);
    table_page(ROOT_TABLE)[0] = (ROOT_TABLE + 1) << PAGE_SHIFT | FLAGS;
    table_page(ROOT_TABLE + 1)[0] = (ROOT_TABLE + 2) << PAGE_SHIFT | FLAGS;
    level3 = table_page(ROOT_TABLE + 2);
    for (uint64_t leaf = 0; leaf < MAX_LEAVES; leaf++) {
        vpte_t *entries = table_page(FIRST_LEAF + leaf);

        level3[leaf] = (FIRST_LEAF + leaf) << PAGE_SHIFT | FLAGS;
        for (uint64_t i = 0; i < 512; i++)
            entries[i] = bench_scatter(leaf * 512 + i) % OBJECT_PAGES << PAGE_SHIFT | FLAGS;
    }
}

/* 0, which the compiler does not know: what comes out of one walk goes into the next. */
static uint64_t
opaque_zero(void)
{
    uint64_t zero = 0;

    __asm__ volatile("" : "+r"(zero));
    return zero;
}

/* Where a table page is: by its place in the direct map, or as a fault finds it. */
static inline void *
table_by_place(vm_pindex_t table)
{
    return tables + (table << PAGE_SHIFT);
}

static inline void *
table_by_lookup(vm_pindex_t table) VM_REQUIRES(object->lock)
{
    return vm_page_address(vm_page_lookup(object, table));
}

static inline vm_pindex_t
walk(vm_pindex_t pindex, bool lookup) VM_REQUIRES(object->lock)
{
    struct vpte_walk w;
    vm_pindex_t result = 0;
    enum vm_result rv = vpte_walk_start(&w, &vpte64_format, ROOT_TABLE << PAGE_SHIFT | FLAGS,
                                        pindex, VM_PROT_READ, OBJECT_PAGES);

    while (rv == VM_OK && !vpte_walk_done(&w)) {
        vm_pindex_t table = 0;

        rv = vpte_walk_table(&w, &table);
        if (rv == VM_OK)
            rv = vpte_walk_step(&w, lookup ? table_by_lookup(table) : table_by_place(table));
    }
    if (rv == VM_OK)
        rv = vpte_walk_result(&w, &result);
    if (rv != VM_OK)
        bench_fail("walk", vm_result_name(rv));
    return result;
}

static inline vm_pindex_t
four_loads(vm_pindex_t pindex)
{
    vpte_t entry = ROOT_TABLE << PAGE_SHIFT;

    for (unsigned shift = 27; shift < 64; shift -= 9) {
        uint64_t frame = entry & 0x000FFFFFFFFFF000u;

        entry = *(const volatile vpte_t *)(tables + frame + (pindex >> shift & 511) * 8);
    }
    return (entry & 0x000FFFFFFFFFF000u) >> PAGE_SHIFT;
}

enum {
    WALK,
    WALK_LOOKUP,
    LOADS
};

/* Nanoseconds for one of WALKS of them. */
static double
walks_ns(uint64_t mask, uint64_t what) VM_REQUIRES(object->lock)
{
    uint64_t zero = opaque_zero(), last = 0;
    double start = bench_cpu_ns();

    for (uint64_t i = 0; i < WALKS; i++) {
        vm_pindex_t pindex = (bench_scatter(i) + (last & zero)) & mask;

        if (what == LOADS)
            last = four_loads(pindex);
        else
            last = walk(pindex, what == WALK_LOOKUP);
    }
    return (bench_cpu_ns() - start) / WALKS;
}

/* `a`: leaf tables in use; `b`: what to do.  The first time only warms the caches. */
static double
measure_walk(const struct bench_row *row)
{
    uint64_t mask = row->a * 512 - 1;
    double ns;

    make_tables();
    vm_mutex_lock(&object->lock);
    (void)walks_ns(mask, row->b);
    ns = walks_ns(mask, row->b);
    vm_mutex_unlock(&object->lock);
    return ns;
}

static const struct bench_row rows[] = {
    { "four dependent loads, 1 leaf table (first-level cache)", measure_walk, 1, LOADS },
    { "walk of 4 levels, same entries", measure_walk, 1, WALK },
    { "... each table page looked up as a fault does", measure_walk, 1, WALK_LOOKUP },
    { "four dependent loads, 32 leaf tables (a window of 64 MiB)", measure_walk, 32, LOADS },
    { "walk of 4 levels, same entries", measure_walk, 32, WALK },
    { "... each table page looked up as a fault does", measure_walk, 32, WALK_LOOKUP },
    { "four dependent loads, 512 leaf tables (1 GiB)", measure_walk, 512, LOADS },
    { "walk of 4 levels, same entries", measure_walk, 512, WALK },
    { "... each table page looked up as a fault does", measure_walk, 512, WALK_LOOKUP },
};

static const struct bench_ratio ratios[] = {
    { "walk, window of 64 MiB (ns)", 4, BENCH_NO_BASE, 40 },
    { "walk / four dependent loads, 1 leaf table", 1, 0, 2 },
    { "walk / four dependent loads, window of 64 MiB", 4, 3, 2 },
    { "walk / four dependent loads, 1 GiB", 7, 6, 2 },
};

const struct bench_group bench_walk_group = {
    .name = "walk",
    .title = "walk of a virtual page table, warm, nanoseconds",
    .rows = rows,
    .nrows = sizeof(rows) / sizeof(rows[0]),
    .ratios = ratios,
    .nratios = sizeof(ratios) / sizeof(ratios[0]),
};
