/* SPDX-License-Identifier: BSD-2-Clause */
/* Shadow chains: shadowing, sharing, moving instead of copying, generations of copies. */
#include "vmm/vpagetable/vm_shadow.h"

#include "tests/unit/shadow_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

/* --- Shadow -------------------------------------------------------------- */

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
    vm_object_ref(old); /* or else it would be collapsed when its page is let go of */
    cr_assert(eq(u64, value_of(object, 2), 55));
    cr_assert(zero(u64, object->resident_count));
    vm_object_unref(old);
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

/* --- Sharing ------------------------------------------------------------- */

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

/* --- Move instead of copy ------------------------------------------------ */

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

/* --- Generations --------------------------------------------------------- */

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

/* --- Anything against a plain model -------------------------------------- */

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
            vm_object_collapse(rig_entry(&model->rig, SLOT(slot) + PAGE(other))->object, NULL);
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

/* --- Threads ------------------------------------------------------------- */

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
    vm_object_collapse(slot_object(&rig, 0), NULL);
    cr_assert(eq(uint, depth(slot_object(&rig, 0)), 1));
    cr_assert(eq(u64, resident(&rig), PAGES));
    rig_fini(&rig);
}
