/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations on ranges of a map with every failure injected, see injection.h. */
#include "tests/unit/injection.h"

#include "vmm/vpagetable/vm_budget.h"
#include "vmm/vpagetable/vm_object.h"

#include <criterion/criterion.h>
#include <errno.h>

#define A 64u
#define B 128u
#define NPAGES 16u

static void
fill_a(struct world *w)
{
    cr_assert(world_map(w, A, NPAGES, VM_PROT_ALL, 0));
    cr_assert(world_store_run(w, A, NPAGES, 100));
}

static bool
load_a(struct world *w)
{
    return world_load_run(w, A, NPAGES);
}

static bool
load_b(struct world *w)
{
    return world_load_run(w, B, NPAGES);
}

static bool
copy_a(struct world *w)
{
    return world_copy(w, A, B, NPAGES);
}

/* --- Virtual copy of every kind of entry --------------------------------- */

#define SRC A
#define SRC_PAGES 48u

/* NORMAL 8, guard 4, gap 4, wired 8, file 24. */
static void
many_entries(struct world *w)
{
    cr_assert(world_map(w, SRC, 8, VM_PROT_ALL, 0));
    cr_assert(world_map(w, SRC + 8, 4, VM_PROT_NONE, MAP_ENTRY_NOFAULT));
    cr_assert(world_map(w, SRC + 16, 8, VM_PROT_ALL, 0));
    cr_assert(world_store_run(w, SRC, 8, 30));
    cr_assert(world_store_run(w, SRC + 16, 5, 40));
    cr_assert(world_wire(w, SRC + 16, 8, true));
    cr_assert(world_map_file(w, SRC + 24, WORLD_FILE, WORLD_SHARED, VM_ADVICE_NORMAL));
    cr_assert(world_store_run(w, SRC + 30, 4, 60));
}

static bool
copy_part(struct world *w)
{
    return world_copy(w, SRC + 2, B + 2, SRC_PAGES - 4);
}

static bool
store_part(struct world *w)
{
    return world_store(w, B + 3, 70) && world_store(w, B + 18, 71) && world_store(w, B + 31, 72) &&
           world_store(w, SRC + 4, 73) && world_store(w, SRC + 17, 74);
}

static bool
remove_part(struct world *w)
{
    return world_remove(w, B + 2, SRC_PAGES - 4);
}

SCENARIO(virtual_copy, many_entries, copy_part, store_part, remove_part, copy_part)

static bool
wire_a(struct world *w)
{
    return world_wire(w, A + 2, 8, false);
}

static bool
unwire_a(struct world *w)
{
    return world_unwire(w, A + 2, 8, false);
}

static bool
store_b(struct world *w)
{
    return world_store_run(w, B + 1, 5, 90);
}

SCENARIO(copy_of_a_wired_entry, fill_a, wire_a, copy_a, store_b, load_a, load_b, unwire_a)

/* --- Clip, advise, protect, remove --------------------------------------- */

static bool
advise_part(struct world *w)
{
    return world_advise(w, A + 3, 4, VM_ADVICE_SEQUENTIAL);
}

static bool
protect_part(struct world *w)
{
    return world_protect(w, A + 5, 6, VM_PROT_READ);
}

static bool
protect_none(struct world *w)
{
    return world_protect(w, A + 9, 4, VM_PROT_NONE);
}

static bool
protect_all(struct world *w)
{
    return world_protect(w, A, NPAGES, VM_PROT_ALL);
}

static bool
store_a(struct world *w)
{
    return world_store_run(w, A + 4, 8, 110);
}

static bool
remove_middle(struct world *w)
{
    return world_remove(w, A + 6, 3);
}

static bool
map_middle(struct world *w)
{
    return world_map(w, A + 6, 3, VM_PROT_ALL, 0);
}

SCENARIO(clip_advise_protect_remove, fill_a, advise_part, protect_part, protect_none, protect_all,
         store_a, remove_middle, map_middle, load_a)
SCENARIO(clip_of_what_needs_a_copy, fill_a, copy_a, advise_part, protect_part, protect_all, store_a,
         remove_middle, map_middle, load_b)

/* --- Wiring -------------------------------------------------------------- */

static bool
wire_user(struct world *w)
{
    return world_wire(w, A, NPAGES, true);
}

static bool
unwire_user(struct world *w)
{
    return world_unwire(w, A, NPAGES, true);
}

static bool
page_out(struct world *w)
{
    return world_pageout(w, 8);
}

static bool
pages_of_swap(struct world *w)
{
    return world_pageout(w, NPAGES);
}

SCENARIO(wire_and_unwire, fill_a, page_out, wire_a, wire_user, load_a, unwire_a, unwire_user,
         page_out, load_a)
SCENARIO(wire_what_needs_a_copy, fill_a, pages_of_swap, copy_a, wire_user, store_a, load_b,
         unwire_user)

static void
map_a_file(struct world *w)
{
    cr_assert(world_map_file(w, A, WORLD_FILE, WORLD_PRIVATE, VM_ADVICE_NORMAL));
}

SCENARIO(wire_a_private_file, map_a_file, wire_a, wire_user, store_a, unwire_user, unwire_a)

/* --- SETMAP and INVAL, on an object that is linear, then by a tree ------- */

#define WINDOW 256u
#define TREE (TREE_FIRST << PAGE_SHIFT | RIG_PASS)
#define TREE_FIRST UINT64_C(1)
#define DATA 16u

static void
make_window(struct world *w)
{
    struct vm_object *ram;

    cr_assert(vm_object_create_default(&w->rig.sys, 64, &ram) == 0);
    rig_map_ram(&w->rig, ram, VM_PROT_ALL);
    cr_assert(rig_tables(&w->rig, NPAGES, DATA + NPAGES, 1, RIG_PASS) == TREE);
    rig_window(&w->rig, (uint64_t)WINDOW << PAGE_SHIFT, NPAGES, VM_PROT_ALL, &vpte64_format,
               DATA << PAGE_SHIFT | RIG_PASS | VPTE_PS);
    world_fresh(w, DATA, 2 * NPAGES);
    for (unsigned i = 0; i < NPAGES; i++)
        world_alias(w, WINDOW + i, DATA + i);
}

static bool
window_store(struct world *w)
{
    return world_store_run(w, WINDOW + 2, 9, 130);
}

static bool
window_setmap_part(struct world *w)
{
    if (!world_setmap(w, WINDOW + 4, 4, TREE))
        return false;
    for (unsigned i = 4; i < 8; i++)
        world_alias(w, WINDOW + i, DATA + NPAGES + i);
    return true;
}

static bool
window_setmap_all(struct world *w)
{
    if (!world_setmap(w, WINDOW, NPAGES, TREE))
        return false;
    for (unsigned i = 0; i < NPAGES; i++)
        world_alias(w, WINDOW + i, DATA + NPAGES + i);
    return true;
}

static bool
window_inval(struct world *w)
{
    return world_inval(w, WINDOW + 3, 6);
}

SCENARIO(setmap, make_window, window_store, window_setmap_part, window_store, window_setmap_all,
         window_store)
SCENARIO(inval, make_window, window_store, window_inval, window_store, window_setmap_part,
         window_inval, window_store)

/* --- Virtual copy of a window that is alone on its object ---------------- */

static void
make_lonely_window(struct world *w)
{
    struct vm_map_insert args = {
        .start = gpa_from_u64((uint64_t)WINDOW << PAGE_SHIFT),
        .end = gpa_from_u64((uint64_t)(WINDOW + NPAGES) << PAGE_SHIFT),
        .maptype = VM_MAPTYPE_VPAGETABLE,
        .format = &vpte64_format,
        .root = RIG_PASS | VPTE_PS,
        .protection = VM_PROT_ALL,
        .max_protection = VM_PROT_ALL,
    };

    cr_assert(vm_object_create_default(&w->rig.sys, NPAGES, &args.object) == 0);
    cr_assert(vm_map_insert(&w->rig.map, &args) == 0);
    world_fresh(w, WINDOW, NPAGES);
}

static bool
window_copy(struct world *w)
{
    return world_copy(w, WINDOW, B, NPAGES);
}

static bool
window_protect_part(struct world *w)
{
    return world_protect(w, WINDOW + 5, 4, VM_PROT_READ);
}

static bool
window_protect_all(struct world *w)
{
    return world_protect(w, WINDOW, NPAGES, VM_PROT_ALL);
}

SCENARIO(copy_of_a_window, make_lonely_window, window_store, window_copy, window_protect_part,
         window_protect_all, window_store, store_b, load_b)

/* --- Growing down -------------------------------------------------------- */

#define STACK 96u

static bool
stack_map(struct world *w)
{
    return world_map_growing(w, STACK, 4, 20);
}

static bool
stack_store(struct world *w)
{
    return world_store(w, STACK - 3, 9) && world_store(w, STACK - 12, 10);
}

static bool
stack_wire(struct world *w)
{
    return world_wire(w, STACK, 4, true);
}

static bool
stack_unwire(struct world *w)
{
    return world_unwire(w, STACK, 4, true);
}

static bool
stack_store_on(struct world *w)
{
    return world_store(w, STACK - 15, 11) && world_store(w, STACK - 16, 12);
}

static bool
stack_copy(struct world *w)
{
    return world_copy(w, STACK - 20, B + 16, 24);
}

SCENARIO(growing_down, NULL, stack_map, stack_store, stack_wire, stack_store_on, stack_unwire,
         stack_copy, stack_store)

/* --- A vmspace: windows that come, are used, and go, in an order of their own  */

static bool
vmspace_map(struct world *w)
{
    for (; w->progress < 4; w->progress++) {
        unsigned page = B + 32 * (3 - w->progress);
        struct vm_map_insert args = {
            .start = gpa_from_u64((uint64_t)page << PAGE_SHIFT),
            .end = gpa_from_u64((uint64_t)(page + NPAGES) << PAGE_SHIFT),
            .object = w->rig.ram,
            .maptype = VM_MAPTYPE_VPAGETABLE,
            .format = &vpte64_format,
            .root = TREE,
            .protection = VM_PROT_ALL,
            .max_protection = VM_PROT_ALL,
        };

        vm_object_ref(w->rig.ram);
        if (!world_did(w, vm_map_insert(&w->rig.map, &args))) {
            vm_object_unref(w->rig.ram);
            return false;
        }
        for (unsigned i = 0; i < NPAGES; i++)
            world_alias(w, page + i, DATA + NPAGES + i);
    }
    w->progress = 0;
    return true;
}

static bool
vmspace_use(struct world *w)
{
    return world_store(w, B + 5, 1) && world_store(w, B + 32 + 6, 2) && world_load(w, B + 64 + 5) &&
           world_store(w, B + 96 + 15, 3);
}

static bool
vmspace_unmap_one(struct world *w)
{
    return world_remove(w, B + 32, NPAGES);
}

static bool
vmspace_destroy(struct world *w)
{
    return world_remove(w, B, 4 * 32);
}

static void
make_ram(struct world *w)
{
    make_window(w);
    cr_assert(world_remove(w, WINDOW, NPAGES));
}

SCENARIO(vmspace, make_ram, vmspace_map, vmspace_use, vmspace_unmap_one, vmspace_destroy,
         vmspace_map, vmspace_use)

/* The page that is copied is held; to wait for that would be to wait for oneself. */
Test(injection, a_copy_for_real_does_not_wait_for_the_page_it_holds)
{
    struct vm_map_insert args = {
        .start = gpa_from_u64(RIG_WINDOW),
        .end = gpa_from_u64(RIG_WINDOW + PAGE_SIZE),
        .protection = VM_PROT_ALL,
        .max_protection = VM_PROT_ALL,
    };
    struct rig_pager pager;
    struct rig rig;

    rig_init(&rig, VM_RAM_BUDGET_MIN);
    args.object = rig_pager_object(&rig, 1, &pager);
    args.object->flags |= OBJ_WRITEBACK;
    cr_assert(vm_map_insert(&rig.map, &args) == 0);
    for (unsigned i = 0; i < VM_RAM_BUDGET_MIN - 1; i++)
        rig_store(&rig, (uint64_t)i << PAGE_SHIFT, i);
    rig_load(&rig, RIG_WINDOW);
    cr_assert(vm_map_copy(&rig.map, args.start, args.end, PAGE_SIZE) == -ENOMEM);
    cr_assert(rig_system_meter(&rig, v_pdpages) <
              100 * VM_RAM_BUDGET_MIN); /* it did not look for long */
    rig_fini(&rig);
}

/* Dirty pages that nobody would write fill the inactive queue; clean ones are active. */
Test(injection, inactive_pages_that_cannot_leave_do_not_hide_active_ones_that_can)
{
    struct vm_map_insert args = {
        .start = gpa_from_u64(RIG_WINDOW),
        .end = gpa_from_u64(RIG_WINDOW + (4 << PAGE_SHIFT)),
        .protection = VM_PROT_ALL,
        .max_protection = VM_PROT_ALL,
    };
    struct rig_pager pager;
    struct rig rig;

    rig_init(&rig, VM_RAM_BUDGET_MIN);
    args.object = rig_pager_object(&rig, 4, &pager);
    cr_assert(vm_map_insert(&rig.map, &args) == 0);
    for (unsigned i = 0; i < VM_RAM_BUDGET_MIN - 4; i++) {
        cr_assert(rig_touch(&rig, (uint64_t)i << PAGE_SHIFT, VM_PROT_WRITE) == VM_OK);
        vm_mutex_lock(&rig.ram->lock);
        vm_page_deactivate(vm_page_lookup(rig.ram, i));
        vm_mutex_unlock(&rig.ram->lock);
    }
    for (unsigned i = 0; i < 4; i++)
        (void)rig_load(&rig, RIG_WINDOW + ((uint64_t)i << PAGE_SHIFT));
    cr_assert(vm_budget_resident(&rig.sys) == VM_RAM_BUDGET_MIN);
    for (unsigned i = 0; i < 4; i++) {
        vm_mutex_lock(&args.object->lock);
        vm_page_activate(vm_page_lookup(args.object, i));
        vm_mutex_unlock(&args.object->lock);
    }
    cr_assert(rig_touch(&rig, 40 << PAGE_SHIFT, VM_PROT_WRITE) == VM_OK);
    rig_fini(&rig);
}
