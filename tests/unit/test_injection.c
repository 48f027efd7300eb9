/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Faults with every failure injected, see injection.h: zero-fill, windows, chains, pagers,
 * page-out, prefault.  test_injection_map.c has what is done to ranges.
 */
#include "tests/unit/injection.h"

#include "vmm/vpagetable/vm_shadow.h"

#include <criterion/criterion.h>

#define A 64u
#define B 96u
#define C 128u
#define NPAGES 16u

static bool
load_all_a(struct world *w)
{
    return world_load_run(w, A, NPAGES);
}

static void
map_a(struct world *w)
{
    cr_assert(world_map(w, A, NPAGES, VM_PROT_ALL, 0));
}

static void
fill_a(struct world *w)
{
    map_a(w);
    cr_assert(world_store_run(w, A, NPAGES, 100));
}

/* --- Zero-fill ----------------------------------------------------------- */

static bool
zero_fill_new(struct world *w)
{
    return world_map(w, A, NPAGES, VM_PROT_ALL, 0);
}

static bool
zero_fill_store(struct world *w)
{
    return world_store(w, A + 3, 7);
}

static bool
zero_fill_rest(struct world *w)
{
    return world_store_run(w, A + 4, 8, 20);
}

SCENARIO(zero_fill, NULL, zero_fill_new, zero_fill_store, load_all_a, zero_fill_rest)

/* --- A memory system of its own, with what hangs on it ------------------- */

static bool
another_system(struct world *w)
{
    const struct vm_system_config config = { .store_pages = 64, .ram_budget = VM_RAM_BUDGET_MIN };
    static struct vm_system sys;
    static struct pmap pmap;
    struct swap_device *swap;
    struct vm_object *object;
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", w->file);
    if (!world_did(w, vm_system_init(&sys, &config)))
        return false;
    if (world_did(w, pmap_init(&pmap, &sys, &fake_pmap_ops, &w->rig.fake)))
        pmap_fini(&pmap);
    if (w->error == 0 && world_did(w, swap_device_open(path, 0, &swap))) {
        if (world_did(w, vm_object_create_default(&sys, 10, &object)))
            vm_object_unref(object);
        swap_device_close(swap);
    }
    vm_system_fini(&sys);
    return w->error == 0;
}

SCENARIO(memory_system, NULL, another_system)

/* --- Windows: RAM of 64 pages at 0, tables in its pages 1 to 4 ----------- */

#define WINDOW_AT 256u
#define DATA 16u

static void
make_window(struct world *w)
{
    struct vm_object *ram;
    vpte_t root;

    cr_assert(vm_object_create_default(&w->rig.sys, 64, &ram) == 0);
    rig_map_ram(&w->rig, ram, VM_PROT_ALL);
    root = rig_tables(&w->rig, NPAGES, DATA, 2, RIG_PASS);
    rig_window(&w->rig, (uint64_t)WINDOW_AT << PAGE_SHIFT, NPAGES, VM_PROT_ALL, &vpte64_format,
               root);
    world_fresh(w, DATA, 2 * NPAGES);
    for (unsigned i = 0; i < NPAGES; i++)
        world_alias(w, WINDOW_AT + i, DATA + 2 * i);
}

static bool
window_load(struct world *w)
{
    return world_load(w, WINDOW_AT + 2);
}

static bool
window_store(struct world *w)
{
    return world_store_run(w, WINDOW_AT + 4, 6, 50);
}

static bool
window_under(struct world *w)
{
    return world_store(w, DATA + 2, 77);
}

static bool
window_load_all(struct world *w)
{
    return world_load_run(w, WINDOW_AT, NPAGES);
}

static bool
window_swap_out(struct world *w)
{
    return world_pageout(w, 10);
}

SCENARIO(fault_through_a_window, make_window, window_load, window_store, window_under,
         window_load_all, window_swap_out, window_store, window_load_all)

static bool
tables_swap_out(struct world *w)
{
    return world_pageout(w, 3);
}

static bool
bare_walk(struct world *w)
{
    const struct vm_fault_table table = { &vpte64_format, rig_pte(1, RIG_PASS) };
    struct vm_fault_info info;
    struct vm_page *m;
    enum vm_result result =
        vm_fault_object_page(&w->rig.map.meter, w->rig.ram, &table, 5, VM_PROT_WRITE,
                             VM_FAULT_DIRTY | VM_FAULT_UNSWAP, NULL, &m, &info);

    if (result == VM_OK)
        vm_page_unhold(m);
    return world_faulted(w, result, &info);
}

SCENARIO(fault_on_a_bare_object, make_window, bare_walk, tables_swap_out, bare_walk)

/* --- Copy on write and moves --------------------------------------------- */

static bool
copy_to_b(struct world *w)
{
    return world_copy(w, A, B, NPAGES);
}

static bool
store_b(struct world *w)
{
    return world_store_run(w, B + 2, 5, 200);
}

static bool
store_a(struct world *w)
{
    return world_store_run(w, A + 4, 5, 300);
}

static bool
load_b(struct world *w)
{
    return world_load_run(w, B, NPAGES);
}

static bool
remove_a(struct world *w)
{
    return world_remove(w, A, NPAGES);
}

SCENARIO(copy_on_write, fill_a, copy_to_b, store_b, store_a, load_b, load_all_a)

static bool
store_all_b(struct world *w)
{
    return world_store_run(w, B, NPAGES, 400);
}

SCENARIO(move_instead_of_copy, fill_a, copy_to_b, store_a, remove_a, store_all_b, load_b)

static bool
copy_in_b(struct world *w)
{
    return world_copy_in(w, B + 1, 7, 500);
}

static bool
copy_out_b(struct world *w)
{
    return world_copy_out(w, B, NPAGES);
}

SCENARIO(copies_between_guest_and_monitor, fill_a, copy_to_b, copy_in_b, copy_out_b, load_all_a)

/* --- Swap ---------------------------------------------------------------- */

static bool
page_out(struct world *w)
{
    return world_pageout(w, NPAGES);
}

static bool
page_out_some(struct world *w)
{
    return world_pageout(w, 6);
}

SCENARIO(page_out_of_a_cluster, fill_a, page_out, load_all_a, store_a, page_out)

static void
fill_and_page_out(struct world *w)
{
    fill_a(w);
    cr_assert(world_pageout(w, NPAGES));
}

static bool
random_a(struct world *w)
{
    return world_advise(w, A, NPAGES, VM_ADVICE_RANDOM);
}

static bool
load_one(struct world *w)
{
    return world_load(w, A + 9);
}

SCENARIO(swap_in, fill_and_page_out, load_one, store_a, load_all_a, page_out_some, load_all_a)
SCENARIO(swap_in_of_single_pages, fill_and_page_out, random_a, load_one, store_a, load_all_a)

SCENARIO(copy_on_write_of_pages_in_swap, fill_and_page_out, copy_to_b, store_b, page_out_some,
         store_a, load_b, load_all_a)

/* --- Collapse: A is copied to B, that to C, and what is between goes ----- */

static bool
copy_b_to_c(struct world *w)
{
    return world_copy(w, B, C, NPAGES);
}

static bool
remove_b(struct world *w)
{
    return world_remove(w, B, NPAGES);
}

static bool
store_c(struct world *w)
{
    return world_store_run(w, C + 6, 6, 600);
}

static bool
load_c(struct world *w)
{
    return world_load_run(w, C, NPAGES);
}

static bool
page_out_all(struct world *w)
{
    return world_pageout(w, 24);
}

SCENARIO(collapse, fill_a, copy_to_b, store_b, copy_b_to_c, store_c, remove_b, remove_a, load_c)
SCENARIO(collapse_with_swap, fill_a, copy_to_b, store_b, copy_b_to_c, store_c, page_out_all,
         remove_b, store_c, remove_a, load_c)

static bool
generation(struct world *w)
{
    if (w->progress == 0 && !world_copy(w, A, B, NPAGES))
        return false;
    w->progress = 1;
    if (!world_store(w, B + 3, 700))
        return false;
    w->progress = 0;
    return true;
}

static bool
copy_back(struct world *w)
{
    return world_copy(w, B, A, NPAGES);
}

SCENARIO(bypass, fill_a, generation, remove_a, copy_back, store_all_b, remove_b, load_all_a,
         generation, remove_a, store_all_b)

/* --- Files --------------------------------------------------------------- */

#define F 192u

static bool
map_shared(struct world *w)
{
    return world_map_file(w, F, WORLD_FILE, WORLD_SHARED, VM_ADVICE_NORMAL);
}

static bool
map_random(struct world *w)
{
    return world_map_file(w, F, WORLD_FILE, WORLD_SHARED, VM_ADVICE_RANDOM);
}

static bool
map_private(struct world *w)
{
    return world_map_file(w, F, WORLD_FILE, WORLD_PRIVATE, VM_ADVICE_SEQUENTIAL);
}

static bool
file_load_all(struct world *w)
{
    return world_load_run(w, F, WORLD_FILE);
}

static bool
file_store(struct world *w)
{
    return world_store_run(w, F + 5, 10, 800);
}

static bool
file_store_again(struct world *w)
{
    return world_store_run(w, F + 12, 10, 900);
}

static bool
file_flush(struct world *w)
{
    return world_flush(w, F);
}

static bool
file_page_out(struct world *w)
{
    return world_pageout(w, 8);
}

static bool
file_remove(struct world *w)
{
    return world_remove(w, F, WORLD_FILE);
}

SCENARIO(page_in_of_single_pages, NULL, map_random, file_store, file_load_all)
SCENARIO(page_in_of_clusters, NULL, map_shared, file_load_all, file_page_out, file_load_all)
SCENARIO(shared_file, NULL, map_shared, file_store, file_page_out, file_store_again, file_load_all,
         file_remove)
SCENARIO(private_file, NULL, map_private, file_store, file_load_all, file_page_out,
         file_store_again, file_load_all, file_remove)
SCENARIO(flush_of_an_object, NULL, map_shared, file_store, file_flush, file_store_again,
         file_load_all, file_flush)

/* --- Prefault: neighbours are resident or zero-fill, and enter as a run -- */

static void
resident_file(struct world *w)
{
    cr_assert(map_shared(w));
    cr_assert(file_load_all(w));
    cr_assert(world_inval(w, F, WORLD_FILE));
}

static bool
file_store_backwards(struct world *w)
{
    return world_store(w, F + 20, 1) && world_store(w, F + 10, 2) && world_store(w, F + 11, 3);
}

SCENARIO(prefault, resident_file, file_load_all, file_store_backwards)

static void
resident_window(struct world *w)
{
    make_window(w);
    cr_assert(world_store_run(w, DATA, 2 * NPAGES, 40));
    cr_assert(world_inval(w, WINDOW_AT, NPAGES));
}

SCENARIO(prefault_through_a_window, resident_window, window_load_all, window_store)
