/* SPDX-License-Identifier: BSD-2-Clause */
/* For the tests of shadow chains: copies in slots of the map, and a pair of objects. */
#ifndef SHADOW_RIG_H
#define SHADOW_RIG_H

#include "tests/unit/fault_rig.h"
#include "vmm/vpagetable/vm_budget.h"
#include "vmm/vpagetable/vm_shadow.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define PAGE(n) ((uint64_t)(n) << PAGE_SHIFT)
#define PAGES 16u /* of a slot */
#define SLOT(i) PAGE((uint64_t)(i)*64)
#define END(i) gpa_from_u64(SLOT(i) + PAGE(PAGES))

/* A zero-fill object in slot 0 whose page p has the value 1000 + p, for p below npages. */
static inline void
ram_init(struct rig *rig, unsigned npages)
{
    struct vm_object *object;

    rig_init_empty(rig, 0);
    rig->sys.tunables.prefault_pages = 0;
    cr_assert(zero(int, vm_object_create_default(&rig->sys, PAGES, &object)));
    rig_map_ram(rig, object, VM_PROT_ALL);
    for (unsigned p = 0; p < npages; p++)
        rig_store(rig, PAGE(p), 1000 + p);
}

/* From now on only the map refers to RAM. */
static inline void
ram_forget(struct rig *rig)
{
    vm_object_unref(rig->ram);
    rig->ram = NULL;
}

static inline void
copy_slot(struct rig *rig, unsigned from, unsigned to)
{
    cr_assert(zero(int, vm_map_copy(&rig->map, gpa_from_u64(SLOT(from)), gpa_from_u64(SLOT(to)),
                                    PAGE(PAGES))));
}

static inline void
exit_slot(struct rig *rig, unsigned i)
{
    cr_assert(zero(int, vm_map_remove(&rig->map, gpa_from_u64(SLOT(i)), END(i))));
}

static inline struct vm_object *
slot_object(struct rig *rig, unsigned i)
{
    return rig_entry(rig, SLOT(i))->object;
}

static inline unsigned
depth(const struct vm_object *object)
{
    unsigned n = 0;

    for (; object != NULL; object = object->backing_object)
        n++;
    return n;
}

static inline uint64_t
resident(struct rig *rig)
{
    return vm_budget_resident(&rig->sys);
}

/* Two objects, one behind the other, not in the map: `back` has the pages of `pages`. */
struct pair {
    struct rig rig;
    struct vm_object *front, *back;
};

static inline void
put_page(struct vm_object *object, vm_pindex_t pindex, uint64_t value)
{
    struct vm_page *m;

    vm_mutex_lock(&object->lock);
    m = vm_page_alloc(object, pindex);
    vm_page_zero_fill(m);
    *(uint64_t *)vm_page_address(m) = value;
    m->valid = 1;
    vm_page_activate(m);
    vm_page_wakeup(m);
    vm_mutex_unlock(&object->lock);
}

static inline void
pair_init(struct pair *pair, uint64_t front, uint64_t back, vm_pindex_t offset)
{
    rig_init_empty(&pair->rig, 0);
    cr_assert(zero(int, vm_object_create_default(&pair->rig.sys, back, &pair->back)));
    cr_assert(zero(int, vm_object_create_default(&pair->rig.sys, front, &pair->front)));
    rig_shadow(pair->front, pair->back, offset);
}

static inline void
pair_fini(struct pair *pair)
{
    vm_object_unref(pair->front);
    rig_fini(&pair->rig);
}

static inline uint64_t
value_of(struct vm_object *object, vm_pindex_t pindex)
{
    struct vm_map_meter meter = { 0 };
    struct vm_fault_info info;
    struct vm_page *m;
    uint64_t value;

    cr_assert(eq(
        int, vm_fault_object_page(&meter, object, NULL, pindex, VM_PROT_READ, 0, NULL, &m, &info),
        VM_OK));
    value = *(uint64_t *)vm_page_address(m);
    vm_page_unhold(m);
    return value;
}

/* RAM is an object of 16 pages in front of `back`, whose page p has the value 1000 + p. */
struct move {
    struct rig rig;
    struct vm_object *back;
    struct vm_page *page; /* page 5 */
    vm_frame_t frame;     /* its frame */
};

static inline void
move_init(struct move *move)
{
    struct vm_object *front;

    rig_init_empty(&move->rig, 0);
    move->rig.sys.tunables.prefault_pages = 0;
    cr_assert(zero(int, vm_object_create_default(&move->rig.sys, PAGES, &move->back)));
    for (unsigned p = 0; p < PAGES; p++)
        put_page(move->back, p, 1000 + p);
    cr_assert(zero(int, vm_object_create_default(&move->rig.sys, PAGES, &front)));
    rig_shadow(front, move->back, 0);
    rig_map_ram(&move->rig, front, VM_PROT_ALL);
    cr_assert(eq(u64, rig_load(&move->rig, PAGE(5)), 1005));
    move->page = rig_page(move->back, 5);
    move->frame = vm_page_frame(move->page);
}

#endif
