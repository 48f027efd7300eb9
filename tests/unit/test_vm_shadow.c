/* SPDX-License-Identifier: BSD-2-Clause */
/* Shadow chains: shadowing, moving instead of copying, collapse, bypass, generations of copies. */
#include "vmm/vpagetable/vm_shadow.h"

#include "tests/unit/fault_rig.h"
#include "vmm/pager/swap_pager.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE(n) ((uint64_t)(n) << PAGE_SHIFT)
#define PAGES 16u /* of a slot */
#define SLOT(i) PAGE((uint64_t)(i)*64)
#define END(i) gpa_from_u64(SLOT(i) + PAGE(PAGES))

/* ---- Help. ---- */

/* A zero-fill object in slot 0 whose page p has the value 1000 + p, for p below npages. */
static void
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
static void
ram_forget(struct rig *rig)
{
    vm_object_unref(rig->ram);
    rig->ram = NULL;
}

static void
copy_slot(struct rig *rig, unsigned from, unsigned to)
{
    cr_assert(zero(int, vm_map_copy(&rig->map, gpa_from_u64(SLOT(from)), gpa_from_u64(SLOT(to)),
                                    PAGE(PAGES))));
}

static void
exit_slot(struct rig *rig, unsigned i)
{
    cr_assert(zero(int, vm_map_remove(&rig->map, gpa_from_u64(SLOT(i)), END(i))));
}

static struct vm_object *
slot_object(struct rig *rig, unsigned i)
{
    return rig_entry(rig, SLOT(i))->object;
}

static unsigned
depth(const struct vm_object *object)
{
    unsigned n = 0;

    for (; object != NULL; object = object->backing_object)
        n++;
    return n;
}

static uint64_t
resident(struct rig *rig)
{
    return atomic_load(&rig->sys.resident_pages);
}

/* Two objects, one behind the other, not in the map: `back` has the pages of `pages`. */
struct pair {
    struct rig rig;
    struct vm_object *front, *back;
};

static void
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

static void
pair_init(struct pair *pair, uint64_t front, uint64_t back, vm_pindex_t offset)
{
    rig_init_empty(&pair->rig, 0);
    cr_assert(zero(int, vm_object_create_default(&pair->rig.sys, back, &pair->back)));
    cr_assert(zero(int, vm_object_create_default(&pair->rig.sys, front, &pair->front)));
    rig_shadow(pair->front, pair->back, offset);
}

static void
pair_fini(struct pair *pair)
{
    vm_object_unref(pair->front);
    rig_fini(&pair->rig);
}

static uint64_t
value_of(struct vm_object *object, vm_pindex_t pindex)
{
    struct vm_fault_info info;
    struct vm_page *m;
    uint64_t value;

    cr_assert(
        eq(int, vm_fault_object_page(object, NULL, pindex, VM_PROT_READ, 0, &m, &info), VM_OK));
    value = *(uint64_t *)vm_page_address(m);
    vm_page_unhold(m);
    return value;
}

/* ---- Shadow. ---- */

Test(vm_shadow, a_shadow_takes_the_reference_and_shows_the_old_object_from_the_offset_on)
{
    struct vm_object *old, *object;
    vm_pindex_t offset = 3;
    struct rig rig;

    rig_init_empty(&rig, 0);
    cr_assert(zero(int, vm_object_create_default(&rig.sys, 16, &old)));
    put_page(old, 5, 55);
    object = old;
    cr_assert(zero(int, vm_object_shadow(&object, &offset, 8)));
    cr_assert(object != old && object->backing_object == old && offset == 0);
    cr_assert(object->size == 8 && object->backing_object_offset == 3);
    cr_assert(old->ref_count == 1 && old->shadow_count == 1 && LIST_FIRST(&old->shadows) == object);
    cr_assert(eq(u64, value_of(object, 2), 55));
    cr_assert(zero(u64, object->resident_count));
    vm_object_unref(object);
    rig_fini(&rig);
}

Test(vm_shadow, a_shadow_that_cannot_be_made_changes_nothing)
{
    struct vm_object *old, *object;
    vm_pindex_t offset = 3;
    struct rig rig;

    rig_init_empty(&rig, 0);
    cr_assert(zero(int, vm_object_create_default(&rig.sys, 16, &old)));
    object = old;
    cr_assert(eq(int, vm_object_shadow(&object, &offset, 0), -EINVAL));
    cr_assert(eq(int, vm_object_shadow(&object, &offset, 1 << 20), -ENOSPC));
    cr_assert(object == old && offset == 3 && old->shadow_count == 0 && old->ref_count == 1);
    vm_object_unref(old);
    rig_fini(&rig);
}

/* ---- Sharing. ---- */

Test(vm_shadow, readers_of_a_copy_share_the_frames)
{
    vm_frame_t a, b;
    struct rig rig;

    ram_init(&rig, PAGES);
    ram_forget(&rig);
    for (unsigned i = 1; i < 8; i++)
        copy_slot(&rig, 0, i);
    for (unsigned i = 0; i < 8; i++) {
        for (unsigned p = 0; p < PAGES; p++)
            cr_assert(eq(u64, rig_load(&rig, SLOT(i) + PAGE(p)), 1000 + p));
    }
    cr_assert(eq(u64, resident(&rig), PAGES));
    cr_assert(fake_pmap_lookup(&rig.fake, gpa_from_u64(SLOT(0)), &a, NULL));
    cr_assert(fake_pmap_lookup(&rig.fake, gpa_from_u64(SLOT(7)), &b, NULL));
    cr_assert(eq(u64, a, b));
    rig_fini(&rig);
}

Test(vm_shadow, a_copy_on_write_leaves_the_mappings_of_others_alone)
{
    unsigned removed;
    struct rig rig;

    ram_init(&rig, PAGES);
    ram_forget(&rig);
    copy_slot(&rig, 0, 1);
    copy_slot(&rig, 0, 2);
    for (unsigned i = 0; i < 3; i++)
        cr_assert(eq(u64, rig_load(&rig, SLOT(i) + PAGE(3)), 1003));
    removed = rig.fake.removed_pages;
    rig_store(&rig, SLOT(1) + PAGE(3), 7);
    cr_assert(eq(uint, rig.fake.removed_pages, removed + 1));
    cr_assert(eq(int, rig_mapped(&rig, SLOT(0) + PAGE(3)), VM_PROT_READ));
    cr_assert(eq(int, rig_mapped(&rig, SLOT(2) + PAGE(3)), VM_PROT_READ));
    cr_assert(eq(u64, rig_load(&rig, SLOT(1) + PAGE(3)), 7));
    cr_assert(eq(u64, rig_load(&rig, SLOT(0) + PAGE(3)), 1003));
    cr_assert(eq(u64, rig_load(&rig, SLOT(2) + PAGE(3)), 1003));
    rig_fini(&rig);
}

Test(vm_shadow, two_entries_on_the_writing_object_both_see_the_copy)
{
    struct rig rig;

    ram_init(&rig, PAGES);
    ram_forget(&rig);
    copy_slot(&rig, 0, 1);
    rig_store(&rig, SLOT(1) + PAGE(0), 9); /* slot 1 has an object of its own now */
    vm_object_ref(slot_object(&rig, 1));
    cr_assert(zero(int, vm_map_insert(&rig.map, &(struct vm_map_insert){
                                                    .start = gpa_from_u64(SLOT(2)),
                                                    .end = END(2),
                                                    .object = slot_object(&rig, 1),
                                                    .protection = VM_PROT_ALL,
                                                    .max_protection = VM_PROT_ALL,
                                                })));
    cr_assert(eq(u64, rig_load(&rig, SLOT(2) + PAGE(3)), 1003));
    rig_store(&rig, SLOT(1) + PAGE(3), 7);
    cr_assert(eq(u64, rig_load(&rig, SLOT(2) + PAGE(3)), 7));
    rig_fini(&rig);
}

Test(vm_shadow, a_copy_that_cannot_be_mapped_leaves_no_mapping_of_the_old_page)
{
    struct rig rig;

    ram_init(&rig, PAGES);
    ram_forget(&rig);
    copy_slot(&rig, 0, 1);
    cr_assert(eq(u64, rig_load(&rig, SLOT(1)), 1000));
    fake_pmap_fail_next_enter(&rig.fake, -ENOMEM, 0);
    cr_assert(eq(int, rig_touch(&rig, SLOT(1), VM_PROT_WRITE), VM_HOST_FAILURE));
    cr_assert(eq(int, rig_mapped(&rig, SLOT(1)), VM_PROT_NONE));
    rig_store(&rig, SLOT(1), 1);
    cr_assert(eq(u64, rig_load(&rig, SLOT(0)), 1000));
    rig_fini(&rig);
}

Test(vm_shadow, a_held_page_that_had_to_be_copied_takes_the_mapping_with_it)
{
    uint64_t value = 5;
    struct rig rig;

    ram_init(&rig, PAGES);
    ram_forget(&rig);
    copy_slot(&rig, 0, 1);
    rig_store(&rig, SLOT(1) + PAGE(1), 1); /* slot 1 has an object of its own now */
    cr_assert(eq(u64, rig_load(&rig, SLOT(1)), 1000));
    cr_assert(eq(int, vm_map_write(&rig.map, gpa_from_u64(SLOT(1)), &value, 8, &rig_info), VM_OK));
    cr_assert(eq(u64, rig_load(&rig, SLOT(1)), 5));
    cr_assert(eq(u64, rig_load(&rig, SLOT(0)), 1000));
    rig_fini(&rig);
}

/* ---- Move instead of copy. ---- */

/* RAM is an object of 16 pages in front of `back`, whose page p has the value 1000 + p. */
struct move {
    struct rig rig;
    struct vm_object *back;
    struct vm_page *page; /* page 5 */
    vm_frame_t frame;     /* its frame */
};

static void
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

/* Write to page 5: was it moved? */
static bool
move_write(struct move *move)
{
    struct rig *rig = &move->rig;
    struct vm_page *m;
    bool moved;

    rig_store(rig, PAGE(5) + 8, 5);
    m = rig_page(rig->ram, 5);
    moved = vm_page_frame(m) == move->frame;
    cr_assert(eq(u64, rig_meter(rig, v_cow_faults), 1));
    cr_assert(eq(u64, rig_meter(rig, v_cow_optim), moved));
    cr_assert(eq(u64, rig_meter(rig, v_kind_cow), 1));
    cr_assert(eq(u64, rig_load(rig, PAGE(5)), 1005));
    cr_assert(m->dirty);
    return moved;
}

Test(vm_shadow, a_page_that_nobody_else_can_see_is_moved_not_copied)
{
    struct move move;
    unsigned removes;

    move_init(&move);
    removes = move.rig.fake.removes;
    cr_assert(move_write(&move));
    cr_assert(eq(uint, move.rig.fake.removes, removes)); /* its mapping moved with it */
    cr_assert(eq(u64, resident(&move.rig), PAGES));
    rig_fini(&move.rig);
}

Test(vm_shadow, a_page_is_copied_while_somebody_else_refers_to_its_object)
{
    struct move move;

    move_init(&move);
    vm_object_ref(move.back);
    cr_assert(not(move_write(&move)));
    vm_object_unref(move.back);
    cr_assert(eq(u64, resident(&move.rig), PAGES)); /* the one that was copied is gone again */
    rig_fini(&move.rig);
}

Test(vm_shadow, a_page_is_copied_while_its_object_has_another_shadow)
{
    struct vm_object *other;
    struct move move;

    move_init(&move);
    cr_assert(zero(int, vm_object_create_default(&move.rig.sys, PAGES, &other)));
    vm_object_ref(move.back);
    rig_shadow(other, move.back, 0);
    cr_assert(not(move_write(&move)));
    cr_assert(eq(u64, value_of(other, 5), 1005));
    vm_object_unref(other);
    rig_fini(&move.rig);
}

Test(vm_shadow, a_page_of_an_object_with_a_handle_is_copied)
{
    struct move move;

    move_init(&move);
    move.back->handle = &move;
    cr_assert(not(move_write(&move)));
    move.back->handle = NULL;
    rig_fini(&move.rig);
}

Test(vm_shadow, a_page_of_a_file_is_copied)
{
    struct move move;

    move_init(&move);
    move.back->type = OBJT_FILE;
    cr_assert(not(move_write(&move)));
    move.back->type = OBJT_DEFAULT;
    rig_fini(&move.rig);
}

Test(vm_shadow, a_page_from_further_down_the_chain_is_copied)
{
    struct vm_object *bottom;
    struct move move;

    move_init(&move);
    cr_assert(zero(int, vm_object_create_default(&move.rig.sys, PAGES, &bottom)));
    put_page(bottom, 5, 1005);
    pmap_remove(&move.rig.pmap, gpa_from_u64(0), END(0));
    vm_mutex_lock(&move.back->lock);
    vm_page_busy(move.page);
    vm_page_free(move.page);
    vm_mutex_unlock(&move.back->lock);
    rig_shadow(move.back, bottom, 0);
    move.frame = vm_page_frame(rig_page(bottom, 5));
    cr_assert(not(move_write(&move)));
    rig_fini(&move.rig);
}

Test(vm_shadow, a_held_page_is_copied)
{
    struct move move;

    move_init(&move);
    vm_mutex_lock(&move.back->lock);
    vm_page_hold(move.page);
    vm_mutex_unlock(&move.back->lock);
    cr_assert(not(move_write(&move)));
    vm_page_unhold(move.page);
    rig_fini(&move.rig);
}

Test(vm_shadow, a_wired_page_is_copied)
{
    struct move move;

    move_init(&move);
    vm_mutex_lock(&move.back->lock);
    vm_page_wire(move.page);
    vm_mutex_unlock(&move.back->lock);
    cr_assert(not(move_write(&move)));
    vm_mutex_lock(&move.back->lock);
    vm_page_unwire(move.page, true);
    vm_mutex_unlock(&move.back->lock);
    rig_fini(&move.rig);
}

Test(vm_shadow, other_readers_keep_their_mappings_of_a_moved_page_and_see_the_write)
{
    struct move move;
    struct rig *rig = &move.rig;

    move_init(&move);
    rig_window(rig, SLOT(1), PAGES, VM_PROT_ALL, &vpte64_format, rig_pte(0, RIG_PASS | VPTE_PS));
    cr_assert(eq(u64, rig_load(rig, SLOT(1) + PAGE(5)), 1005));
    cr_assert(move_write(&move));
    cr_assert(eq(int, rig_mapped(rig, SLOT(1) + PAGE(5)), VM_PROT_READ));
    cr_assert(eq(u64, rig_load(rig, SLOT(1) + PAGE(5) + 8), 5));
    rig_fini(rig);
}

/* ---- Collapse. ---- */

Test(vm_shadow, a_collapse_keeps_what_shows_and_frees_the_rest)
{
    struct pair pair;

    pair_init(&pair, 8, 16, 4);
    for (unsigned p = 0; p < 16; p += 2)
        put_page(pair.back, p, 100 + p); /* 4, 6, 8, 10 show at 0, 2, 4, 6 */
    put_page(pair.front, 2, 2);
    put_page(pair.front, 3, 3);
    vm_object_collapse(pair.front);
    cr_assert(pair.front->backing_object == NULL);
    cr_assert(zero(u64, pair.front->backing_object_offset));
    cr_assert(eq(u64, resident(&pair.rig), 5));
    cr_assert(eq(u64, value_of(pair.front, 0), 104));
    cr_assert(eq(u64, value_of(pair.front, 2), 2));
    cr_assert(eq(u64, value_of(pair.front, 3), 3));
    cr_assert(eq(u64, value_of(pair.front, 4), 108));
    cr_assert(eq(u64, value_of(pair.front, 6), 110));
    cr_assert(eq(u64, rig_meter(&pair.rig, v_collapses), 1));
    pair_fini(&pair);
}

Test(vm_shadow, a_collapse_of_many_pages_goes_in_batches_and_to_the_end_of_the_chain)
{
    const unsigned n = 3 * VM_SHADOW_BATCH + 7;
    struct vm_object *bottom;
    struct pair pair;

    pair_init(&pair, n, n, 0);
    cr_assert(zero(int, vm_object_create_default(&pair.rig.sys, n + 9, &bottom)));
    rig_shadow(pair.back, bottom, 9);
    for (unsigned p = 0; p < n; p++) {
        put_page(p % 3 != 0 ? pair.back : pair.front, p, p);
        put_page(bottom, p, 1);
    }
    vm_object_collapse(pair.front);
    cr_assert(pair.front->backing_object == NULL && pair.front->resident_count == n);
    for (unsigned p = 0; p < n; p += 5)
        cr_assert(eq(u64, value_of(pair.front, p), p));
    pair_fini(&pair);
}

Test(vm_shadow, a_collapse_adds_the_offsets_of_what_it_leaves_out)
{
    struct vm_object *bottom;
    struct pair pair;

    pair_init(&pair, 4, 8, 2);
    cr_assert(zero(int, vm_object_create_default(&pair.rig.sys, 32, &bottom)));
    rig_shadow(pair.back, bottom, 5);
    put_page(bottom, 2 + 5 + 1, 81);
    vm_object_ref(bottom);
    vm_object_collapse(pair.front);
    cr_assert(pair.front->backing_object == bottom);
    cr_assert(eq(u64, pair.front->backing_object_offset, 7));
    cr_assert(bottom->shadow_count == 1 && bottom->ref_count == 2);
    cr_assert(eq(u64, value_of(pair.front, 1), 81));
    vm_object_unref(bottom);
    cr_assert(pair.front->backing_object == NULL);
    cr_assert(eq(u64, value_of(pair.front, 1), 81));
    pair_fini(&pair);
}

Test(vm_shadow, nothing_collapses_while_paging_is_in_progress)
{
    struct pair pair;
    struct vm_object *both[2];

    pair_init(&pair, 8, 8, 0);
    put_page(pair.back, 1, 1);
    both[0] = pair.front;
    both[1] = pair.back;
    for (unsigned i = 0; i < 2; i++) {
        vm_mutex_lock(&both[i]->lock);
        vm_object_pip_add(both[i]);
        vm_mutex_unlock(&both[i]->lock);
        vm_object_collapse(pair.front);
        cr_assert(pair.front->backing_object == pair.back && pair.back->resident_count == 1);
        vm_mutex_lock(&both[i]->lock);
        vm_object_pip_wakeup(both[i]);
        vm_mutex_unlock(&both[i]->lock);
    }
    vm_object_collapse(pair.front);
    cr_assert(pair.front->backing_object == NULL);
    pair_fini(&pair);
}

Test(vm_shadow, objects_with_a_handle_or_of_a_file_stay)
{
    struct pair pair;

    pair_init(&pair, 8, 8, 0);
    pair.back->handle = &pair;
    vm_object_collapse(pair.front);
    pair.back->handle = NULL;
    pair.back->type = OBJT_FILE;
    vm_object_collapse(pair.front);
    pair.back->type = OBJT_DEFAULT;
    cr_assert(pair.front->backing_object == pair.back);
    vm_object_collapse(pair.front);
    cr_assert(pair.front->backing_object == NULL);
    pair_fini(&pair);
}

Test(vm_shadow, a_busy_held_or_wired_page_is_not_moved_and_the_next_collapse_takes_it)
{
    struct pair pair;
    struct vm_page *m;

    pair_init(&pair, 8, 8, 0);
    for (unsigned p = 0; p < 4; p++)
        put_page(pair.back, p, p);
    m = rig_page(pair.back, 2);
    for (unsigned i = 0; i < 3; i++) {
        vm_mutex_lock(&pair.back->lock);
        i == 0 ? vm_page_busy(m) : i == 1 ? vm_page_hold(m) : vm_page_wire(m);
        vm_mutex_unlock(&pair.back->lock);
        vm_object_collapse(pair.front);
        cr_assert(pair.front->backing_object == pair.back && rig_page(pair.back, 2) == m);
        if (i == 1)
            vm_page_unhold(m);
        vm_mutex_lock(&pair.back->lock);
        if (i == 0)
            vm_page_wakeup(m);
        else if (i == 2)
            vm_page_unwire(m, true);
        vm_mutex_unlock(&pair.back->lock);
    }
    vm_object_collapse(pair.front);
    cr_assert(pair.front->backing_object == NULL && pair.front->resident_count == 4);
    pair_fini(&pair);
}

Test(vm_shadow, a_page_being_freed_in_either_object_is_waited_out)
{
    struct pair pair;
    struct vm_page *m;

    pair_init(&pair, 8, 8, 0);
    put_page(pair.front, 2, 3);
    put_page(pair.back, 2, 2);
    m = rig_page(pair.front, 2);
    vm_mutex_lock(&pair.front->lock);
    vm_page_hold(m);
    vm_page_busy(m);
    vm_page_free(m);
    vm_mutex_unlock(&pair.front->lock);
    vm_object_collapse(pair.front);
    cr_assert(pair.front->backing_object == pair.back && rig_page(pair.back, 2) != NULL);
    vm_page_unhold(m);
    m = rig_page(pair.back, 2);
    vm_mutex_lock(&pair.back->lock);
    vm_page_hold(m);
    vm_page_busy(m);
    vm_page_free(m);
    vm_mutex_unlock(&pair.back->lock);
    vm_object_collapse(pair.front);
    cr_assert(pair.front->backing_object == pair.back);
    vm_page_unhold(m);
    vm_object_collapse(pair.front);
    cr_assert(pair.front->backing_object == NULL);
    pair_fini(&pair);
}

/* ---- Bypass. ---- */

Test(vm_shadow, an_object_of_which_nothing_shows_is_left_out)
{
    struct vm_object *other, *bottom;
    struct pair pair;

    pair_init(&pair, 8, 16, 4);
    cr_assert(zero(int, vm_object_create_default(&pair.rig.sys, 32, &bottom)));
    rig_shadow(pair.back, bottom, 1);
    cr_assert(zero(int, vm_object_create_default(&pair.rig.sys, 16, &other)));
    vm_object_ref(pair.back);
    rig_shadow(other, pair.back, 0);
    put_page(bottom, 1 + 4 + 6, 66);
    put_page(pair.back, 1, 1);  /* before what shows in front */
    put_page(pair.back, 13, 1); /* behind it */
    put_page(pair.back, 5, 5);
    put_page(pair.back, 6, 6);
    put_page(pair.front, 1, 11);
    vm_object_collapse(pair.front);
    cr_assert(pair.front->backing_object == pair.back);
    cr_assert(eq(u64, pair.front->showing, 2));
    put_page(pair.front, 2, 12);
    vm_object_collapse(pair.front);
    cr_assert(pair.front->backing_object == bottom && pair.front->backing_object_offset == 5);
    cr_assert(eq(u64, value_of(pair.front, 6), 66));
    cr_assert(other->backing_object == bottom); /* the only one left took the rest over */
    cr_assert(eq(u64, value_of(other, 5), 5));
    cr_assert(eq(u64, value_of(other, 1), 1));
    cr_assert(bottom->ref_count == 2 && bottom->shadow_count == 2);
    cr_assert(eq(u64, rig_meter(&pair.rig, v_bypasses), 1));
    cr_assert(eq(u64, rig_meter(&pair.rig, v_collapses), 1));
    vm_object_unref(other);
    cr_assert(pair.front->backing_object == NULL);
    pair_fini(&pair);
}

Test(vm_shadow, a_page_that_came_before_the_one_last_seen_shows_too)
{
    struct pair pair;

    pair_init(&pair, 8, 8, 0);
    vm_object_ref(pair.back);
    put_page(pair.back, 5, 5);
    vm_object_collapse(pair.front);
    put_page(pair.back, 1, 1);
    put_page(pair.front, 5, 55);
    vm_object_collapse(pair.front);
    cr_assert(pair.front->backing_object == pair.back);
    cr_assert(eq(u64, value_of(pair.front, 1), 1));
    vm_object_unref(pair.back);
    pair_fini(&pair);
}

Test(vm_shadow, a_page_that_is_still_being_made_hides_nothing)
{
    struct pair pair;
    struct vm_page *m;

    pair_init(&pair, 4, 4, 0);
    vm_object_ref(pair.back);
    put_page(pair.back, 1, 1);
    vm_mutex_lock(&pair.front->lock);
    m = vm_page_alloc(pair.front, 1);
    vm_mutex_unlock(&pair.front->lock);
    vm_object_collapse(pair.front);
    cr_assert(pair.front->backing_object == pair.back);
    vm_mutex_lock(&pair.front->lock);
    vm_page_free(m);
    vm_mutex_unlock(&pair.front->lock);
    vm_object_unref(pair.back);
    cr_assert(eq(u64, value_of(pair.front, 1), 1));
    pair_fini(&pair);
}

Test(vm_shadow, the_last_copy_of_a_page_lets_the_object_go)
{
    struct rig rig;

    ram_init(&rig, PAGES);
    ram_forget(&rig);
    copy_slot(&rig, 0, 1);
    for (unsigned p = 0; p < PAGES; p++) {
        cr_assert(eq(uint, depth(slot_object(&rig, 1)), p == 0 ? 1 : 2));
        rig_store(&rig, SLOT(1) + PAGE((p * 7) % PAGES), p);
    }
    cr_assert(eq(uint, depth(slot_object(&rig, 1)), 1));
    cr_assert(eq(uint, depth(slot_object(&rig, 0)), 1));
    rig_fini(&rig);
}

/* ---- Swap. ---- */

struct swap {
    char path[32];
    struct swap_device *device;
};

static void
swap_init(struct swap *swap, struct rig *rig)
{
    strcpy(swap->path, "/tmp/vm_shadow.XXXXXX");
    close(mkstemp(swap->path));
    cr_assert(zero(int, swap_device_open(swap->path, 4096, &swap->device)));
    swap_device_attach(swap->device, &rig->sys);
}

static void
swap_fini(struct swap *swap)
{
    cr_assert(zero(u64, swap_device_used(swap->device)));
    swap_device_close(swap->device);
    unlink(swap->path);
}

/* Write the page at pindex out and take it out of memory. */
static void
swap_out(struct vm_object *object, vm_pindex_t pindex)
{
    struct vm_page *m;
    bool done;

    vm_mutex_lock(&object->lock);
    cr_assert(zero(int, vm_pager_adopt_swap(object)));
    m = vm_page_lookup(object, pindex);
    vm_page_dirty(m);
    vm_page_busy(m);
    vm_mutex_unlock(&object->lock);
    pmap_page_protect(m, VM_PROT_NONE);
    cr_assert(eq(int, object->pager->putpages(object, &m, 1, &done), VM_PAGER_OK));
    vm_mutex_lock(&object->lock);
    vm_page_free(m);
    vm_mutex_unlock(&object->lock);
}

Test(vm_shadow, a_page_that_the_fault_itself_read_from_swap_is_moved)
{
    struct vm_page *other;
    struct swap swap;
    struct move move;

    move_init(&move);
    swap_init(&swap, &move.rig);
    swap_out(move.back, 5);
    cr_assert(eq(u64, swap_device_used(swap.device), 1));
    other = rig_page(move.back, 6); /* so that the object stays */
    vm_mutex_lock(&move.back->lock);
    vm_page_hold(other);
    vm_mutex_unlock(&move.back->lock);
    rig_store(&move.rig, PAGE(5) + 8, 5);
    cr_assert(eq(u64, rig_meter(&move.rig, v_majflt), 1));
    cr_assert(eq(u64, rig_meter(&move.rig, v_cow_optim), 1));
    cr_assert(eq(u64, rig_load(&move.rig, PAGE(5)), 1005));
    cr_assert(move.rig.ram->backing_object == move.back);
    cr_assert(zero(u64, swap_device_used(swap.device))); /* what was there is out of date */
    vm_page_unhold(other);
    rig_fini(&move.rig);
    swap_fini(&swap);
}

Test(vm_shadow, a_collapse_takes_what_is_in_swap_along)
{
    struct swap swap;
    struct pair pair;

    pair_init(&pair, 8, 16, 4);
    swap_init(&swap, &pair.rig);
    for (unsigned p = 0; p < 16; p++)
        put_page(pair.back, p, 100 + p);
    for (unsigned p = 0; p < 16; p += 2)
        swap_out(pair.back, p);
    put_page(pair.front, 2, 2);
    put_page(pair.front, 3, 3);
    put_page(pair.front, 4, 4);
    put_page(pair.front, 5, 5);
    swap_out(pair.front, 4);
    swap_out(pair.front, 5);
    vm_object_collapse(pair.front);
    cr_assert(pair.front->backing_object == NULL);
    for (unsigned p = 0; p < 8; p++)
        cr_assert(eq(u64, value_of(pair.front, p), p >= 2 && p <= 5 ? p : 104 + p));
    cr_assert(eq(u64, swap_device_used(swap.device), 4)); /* 0, 4, 5, 6 */
    pair_fini(&pair);
    swap_fini(&swap);
}

Test(vm_shadow, a_page_in_swap_shows_and_hides_as_a_resident_one)
{
    struct swap swap;
    struct pair pair;

    pair_init(&pair, 8, 8, 0);
    swap_init(&swap, &pair.rig);
    vm_object_ref(pair.back);
    put_page(pair.back, 3, 3);
    put_page(pair.back, 5, 5);
    swap_out(pair.back, 5);
    put_page(pair.front, 3, 33);
    swap_out(pair.front, 3);
    vm_object_collapse(pair.front);
    cr_assert(pair.front->backing_object == pair.back);
    cr_assert(eq(u64, pair.front->showing, 5));
    put_page(pair.front, 5, 55);
    vm_object_collapse(pair.front);
    cr_assert(pair.front->backing_object == NULL);
    cr_assert(eq(u64, value_of(pair.front, 3), 33));
    vm_object_unref(pair.back);
    pair_fini(&pair);
    swap_fini(&swap);
}

Test(vm_shadow, generations_that_are_paged_out_lose_no_swap_space)
{
    struct swap swap;
    struct rig rig;

    ram_init(&rig, PAGES);
    ram_forget(&rig);
    swap_init(&swap, &rig);
    for (unsigned g = 0; g < 200; g++) {
        unsigned from = g % 2, to = 1 - from;
        struct vm_object *object = slot_object(&rig, from);

        for (unsigned p = g % 3; p < PAGES; p += 3) {
            if (rig_page(object, p) != NULL)
                swap_out(object, p);
        }
        copy_slot(&rig, from, to);
        rig_store(&rig, SLOT(to), g);
        rig_store(&rig, SLOT(from) + PAGE(1), g);
        exit_slot(&rig, from);
        cr_assert(eq(uint, depth(slot_object(&rig, to)), 1));
        cr_assert(le(u64, swap_device_used(swap.device), PAGES));
        cr_assert(le(u64, resident(&rig), PAGES));
    }
    for (unsigned p = 1; p < PAGES; p++)
        cr_assert(eq(u64, rig_load(&rig, SLOT(0) + PAGE(p)), 1000 + p));
    cr_assert(eq(u64, rig_load(&rig, SLOT(0)), 199));
    rig_fini(&rig);
    swap_fini(&swap);
}

/* ---- Generations. ---- */

enum who {
    PARENT,
    CHILD
};

/* A thousand forks: one of the two writes a page, one exits; the other one goes on. */
static void
generations(enum who writes, enum who exits, bool write_after)
{
    unsigned self = 0, deepest = 0;
    uint64_t expected[PAGES];
    struct rig rig;

    ram_init(&rig, PAGES);
    ram_forget(&rig);
    for (unsigned p = 0; p < PAGES; p++)
        expected[p] = 1000 + p;
    for (unsigned g = 0; g < 1000; g++) {
        unsigned child = 1 - self, left = exits == PARENT ? child : self;
        unsigned writer = writes == PARENT ? self : child, p = (g * 5) % PAGES;

        copy_slot(&rig, self, child);
        rig_store(&rig, SLOT(writer) + PAGE(p), g);
        if (writer == left)
            expected[p] = g;
        cr_assert(le(u64, resident(&rig), PAGES + 1));
        exit_slot(&rig, exits == PARENT ? self : child);
        if (write_after) {
            p = (g * 3) % PAGES;
            rig_store(&rig, SLOT(left) + PAGE(p), g);
            expected[p] = g;
        }
        self = left;
        if (depth(slot_object(&rig, self)) > deepest)
            deepest = depth(slot_object(&rig, self));
        cr_assert(eq(u64, rig_load(&rig, SLOT(self) + PAGE(p)), expected[p]));
        cr_assert(eq(u64, resident(&rig), PAGES));
    }
    cr_assert(eq(uint, deepest, 1));
    for (unsigned p = 0; p < PAGES; p++)
        cr_assert(eq(u64, rig_load(&rig, SLOT(self) + PAGE(p)), expected[p]));
    rig_fini(&rig); /* no extent is left */
}

Test(vm_shadow, a_thousand_generations_leave_one_object)
{
    for (unsigned i = 0; i < 8; i++)
        generations(i & 1 ? CHILD : PARENT, i & 2 ? CHILD : PARENT, (i & 4) != 0);
}

Test(vm_shadow, a_chain_is_no_longer_than_there_are_entries)
{
    struct rig rig;

    ram_init(&rig, PAGES);
    ram_forget(&rig);
    for (unsigned i = 0; i < 40; i++) {
        copy_slot(&rig, i, i + 1);
        rig_store(&rig, SLOT(i + 1), i);
        rig_store(&rig, SLOT(i) + PAGE(1), i);
        cr_assert(le(uint, depth(slot_object(&rig, i + 1)), i + 2));
    }
    for (unsigned i = 0; i < 40; i++)
        exit_slot(&rig, (i * 7) % 40);
    cr_assert(eq(uint, depth(slot_object(&rig, 40)), 1));
    cr_assert(eq(u64, resident(&rig), PAGES));
    cr_assert(eq(u64, rig_load(&rig, SLOT(40)), 39));
    rig_fini(&rig);
}

/* ---- Anything against a plain model. ---- */

#define SLOTS 8u

struct model {
    struct rig rig;
    unsigned seed;
    bool mapped[SLOTS][PAGES];
    uint64_t value[SLOTS][PAGES];
};

static unsigned
model_random(struct model *model, unsigned below)
{
    return (unsigned)rand_r(&model->seed) % below;
}

/* Copy a part of one slot to the same place of another, replacing what is there. */
static void
model_copy(struct model *model, unsigned from, unsigned to)
{
    unsigned first = model_random(model, PAGES), n = 1 + model_random(model, PAGES - first);
    uint64_t source = SLOT(from) + PAGE(first), target = SLOT(to) + PAGE(first);
    int error;

    (void)!vm_map_remove(&model->rig.map, gpa_from_u64(target), gpa_from_u64(target + PAGE(n)));
    error = vm_map_copy(&model->rig.map, gpa_from_u64(source), gpa_from_u64(target), PAGE(n));
    cr_assert(error == 0 || error == -ENOENT);
    for (unsigned p = first; p < first + n; p++) {
        model->mapped[to][p] = model->mapped[from][p];
        model->value[to][p] = model->value[from][p];
    }
}

static void
model_access(struct model *model, unsigned slot, unsigned p)
{
    uint64_t gpa = SLOT(slot) + PAGE(p);

    if (!model->mapped[slot][p]) {
        cr_assert(eq(int, rig_touch(&model->rig, gpa, VM_PROT_WRITE), VM_INVALID_ADDRESS));
    } else if (model_random(model, 2) == 0) {
        cr_assert(eq(u64, rig_load(&model->rig, gpa), model->value[slot][p]));
    } else {
        model->value[slot][p] = (uint64_t)model_random(model, 1 << 30);
        rig_store(&model->rig, gpa, model->value[slot][p]);
    }
}

static void
model_step(struct model *model)
{
    unsigned slot = model_random(model, SLOTS), other = model_random(model, SLOTS);

    switch (model_random(model, 12)) {
    case 0:
        if (other != slot)
            model_copy(model, slot, other);
        break;
    case 1:
        vm_mutex_lock(&model->rig.map.edit_lock);
        vm_mutex_unlock(&model->rig.map.edit_lock);
        if (model->mapped[slot][other])
            vm_object_collapse(rig_entry(&model->rig, SLOT(slot) + PAGE(other))->object);
        break;
    default:
        model_access(model, slot, model_random(model, PAGES));
    }
}

Test(vm_shadow, random_copies_and_writes_agree_with_plain_memory, .timeout = 60)
{
    static struct model model;

    model.seed = 12345;
    ram_init(&model.rig, PAGES);
    model.rig.sys.tunables.prefault_pages = VM_PREFAULT_DEFAULT;
    ram_forget(&model.rig);
    for (unsigned p = 0; p < PAGES; p++) {
        model.mapped[0][p] = true;
        model.value[0][p] = 1000 + p;
    }
    for (unsigned i = 0; i < 40000; i++) {
        model_step(&model);
        if (i % 1000 == 0)
            rig_audit(&model.rig);
    }
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        for (unsigned p = 0; p < PAGES; p++) {
            if (model.mapped[slot][p])
                cr_assert(
                    eq(u64, rig_load(&model.rig, SLOT(slot) + PAGE(p)), model.value[slot][p]));
        }
    }
    cr_assert(le(u64, resident(&model.rig), SLOTS * PAGES));
    rig_fini(&model.rig);
}

/* ---- Threads. ---- */

#define HAMMER_THREADS 3u

struct hammer {
    struct rig *rig;
    unsigned slot; /* this thread's first of two; slot 0 is everybody's source */
    pthread_t thread;
};

/* Copy what all share, write, copy that, let go of the one or the other, read. */
static void *
hammer_thread(void *arg)
{
    struct hammer *hammer = arg;
    struct rig *rig = hammer->rig;
    unsigned a = hammer->slot, b = hammer->slot + 1;

    for (unsigned i = 0; i < 200; i++) {
        copy_slot(rig, 0, a);
        rig_store(rig, SLOT(a) + PAGE(i % PAGES), i);
        copy_slot(rig, a, b);
        rig_store(rig, SLOT(b) + PAGE((i + 1) % PAGES), i + 1);
        rig_store(rig, SLOT(a) + PAGE((i + 2) % PAGES), i + 2);
        exit_slot(rig, i % 2 != 0 ? a : b);
        cr_assert(eq(u64, rig_load(rig, SLOT(i % 2 != 0 ? b : a) + PAGE(i % PAGES)), i));
        cr_assert(eq(u64, rig_load(rig, SLOT(i % 2 != 0 ? b : a) + PAGE((i + 5) % PAGES)),
                     1000 + (i + 5) % PAGES));
        exit_slot(rig, i % 2 != 0 ? b : a);
    }
    return NULL;
}

Test(vm_shadow, threads_copy_write_and_exit_at_once, .timeout = 120)
{
    struct hammer hammers[HAMMER_THREADS];
    struct rig rig;

    ram_init(&rig, PAGES);
    ram_forget(&rig);
    for (unsigned i = 0; i < HAMMER_THREADS; i++) {
        hammers[i] = (struct hammer){ .rig = &rig, .slot = 1 + 2 * i };
        cr_assert(zero(int, pthread_create(&hammers[i].thread, NULL, hammer_thread, &hammers[i])));
    }
    for (unsigned i = 0; i < HAMMER_THREADS; i++)
        pthread_join(hammers[i].thread, NULL);
    vm_object_collapse(slot_object(&rig, 0));
    cr_assert(eq(uint, depth(slot_object(&rig, 0)), 1));
    cr_assert(eq(u64, resident(&rig), PAGES));
    rig_fini(&rig);
}
