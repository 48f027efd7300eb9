/* SPDX-License-Identifier: BSD-2-Clause */
/* Collapse and bypass of shadow chains, with and without swap. */
#include "tests/unit/shadow_rig.h"
#include "vmm/pager/swap_pager.h"
#include "vmm/vpagetable/vm_shadow.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- Collapse ------------------------------------------------------------ */

Test(vm_shadow, a_collapse_keeps_what_shows_and_frees_the_rest)
{
    struct pair pair;

    pair_init(&pair, 8, 16, 4);
    for (unsigned p = 0; p < 16; p += 2)
        put_page(pair.back, p, 100 + p); /* 4, 6, 8, 10 show at 0, 2, 4, 6 */
    put_page(pair.front, 2, 2);
    put_page(pair.front, 3, 3);
    vm_object_collapse(pair.front, NULL);
    cr_assert(pair.front->backing_object == NULL);
    cr_assert(zero(u64, pair.front->backing_object_offset));
    cr_assert(eq(u64, resident(&pair.rig), 5));
    cr_assert(eq(u64, value_of(pair.front, 0), 104));
    cr_assert(eq(u64, value_of(pair.front, 2), 2));
    cr_assert(eq(u64, value_of(pair.front, 3), 3));
    cr_assert(eq(u64, value_of(pair.front, 4), 108));
    cr_assert(eq(u64, value_of(pair.front, 6), 110));
    cr_assert(eq(u64, rig_system_meter(&pair.rig, v_collapses), 1));
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
    vm_object_collapse(pair.front, NULL);
    cr_assert(pair.front->backing_object == NULL && pair.front->resident_count == n);
    for (unsigned p = 0; p < n; p += 5)
        cr_assert(eq(u64, value_of(pair.front, p), p));
    pair_fini(&pair);
}

/* Somebody who wants to get at the object again and again while it is collapsed. */
struct other {
    struct vm_object *object;
    _Atomic bool ready;
    unsigned seen; /* how many different numbers of pages, before the end */
};

static void *
other_main(void *argument)
{
    struct other *other = argument;
    uint64_t last = 0;
    bool more = true;

    while (more) {
        vm_mutex_lock(&other->object->lock);
        more = other->object->backing_object != NULL;
        other->seen += more && other->object->resident_count != last;
        last = other->object->resident_count;
        vm_mutex_unlock(&other->object->lock);
        atomic_store(&other->ready, true);
        sched_yield();
    }
    return NULL;
}

#define OTHER_PORTIONS 24u

/* Collapse that many portions.  Returns how much the other one saw of it. */
static unsigned
collapse_seen(void)
{
    const unsigned n = OTHER_PORTIONS * VM_SHADOW_STEPS * VM_SHADOW_BATCH;
    struct other other;
    struct pair pair;
    pthread_t thread;

    rig_init_store(&pair.rig, 0, 4 * n);
    cr_assert(zero(int, vm_object_create_default(&pair.rig.sys, n, &pair.back)));
    cr_assert(zero(int, vm_object_create_default(&pair.rig.sys, n, &pair.front)));
    rig_shadow(pair.front, pair.back, 0);
    for (unsigned p = 0; p < n; p++)
        put_page(pair.back, p, p);
    other = (struct other){ .object = pair.front };
    cr_assert(zero(int, pthread_create(&thread, NULL, other_main, &other)));
    while (!atomic_load(&other.ready))
        sched_yield();
    vm_object_collapse(pair.front, NULL);
    pthread_join(thread, NULL);
    pair_fini(&pair);
    return other.seen;
}

/* A machine with other things to do may keep the other one off its processors: it is tried again. */
Test(vm_shadow, others_get_at_the_object_between_the_portions_of_a_collapse)
{
    unsigned seen = 0;

    for (unsigned i = 0; i < 16 && seen < OTHER_PORTIONS / 4; i++)
        seen = collapse_seen();
    cr_assert(ge(uint, seen, OTHER_PORTIONS / 4));
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
    vm_object_collapse(pair.front, NULL);
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
        vm_object_collapse(pair.front, NULL);
        cr_assert(pair.front->backing_object == pair.back && pair.back->resident_count == 1);
        vm_mutex_lock(&both[i]->lock);
        vm_object_pip_wakeup(both[i]);
        vm_mutex_unlock(&both[i]->lock);
    }
    vm_object_collapse(pair.front, NULL);
    cr_assert(pair.front->backing_object == NULL);
    pair_fini(&pair);
}

Test(vm_shadow, objects_with_a_handle_or_of_a_file_stay)
{
    struct pair pair;

    pair_init(&pair, 8, 8, 0);
    pair.back->handle = &pair;
    vm_object_collapse(pair.front, NULL);
    pair.back->handle = NULL;
    pair.back->type = OBJT_FILE;
    vm_object_collapse(pair.front, NULL);
    pair.back->type = OBJT_DEFAULT;
    cr_assert(pair.front->backing_object == pair.back);
    vm_object_collapse(pair.front, NULL);
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
        vm_object_collapse(pair.front, NULL);
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
    vm_object_collapse(pair.front, NULL);
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
    vm_object_collapse(pair.front, NULL);
    cr_assert(pair.front->backing_object == pair.back && rig_page(pair.back, 2) != NULL);
    vm_page_unhold(m);
    m = rig_page(pair.back, 2);
    vm_mutex_lock(&pair.back->lock);
    vm_page_hold(m);
    vm_page_busy(m);
    vm_page_free(m);
    vm_mutex_unlock(&pair.back->lock);
    vm_object_collapse(pair.front, NULL);
    cr_assert(pair.front->backing_object == pair.back);
    vm_page_unhold(m);
    vm_object_collapse(pair.front, NULL);
    cr_assert(pair.front->backing_object == NULL);
    pair_fini(&pair);
}

/* --- Bypass -------------------------------------------------------------- */

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
    vm_object_collapse(pair.front, NULL);
    cr_assert(pair.front->backing_object == pair.back);
    cr_assert(eq(u64, pair.front->showing, 2));
    put_page(pair.front, 2, 12);
    vm_object_collapse(pair.front, NULL);
    cr_assert(pair.front->backing_object == bottom && pair.front->backing_object_offset == 5);
    cr_assert(eq(u64, value_of(pair.front, 6), 66));
    cr_assert(other->backing_object == bottom); /* the only one left took the rest over */
    cr_assert(eq(u64, value_of(other, 5), 5));
    cr_assert(eq(u64, value_of(other, 1), 1));
    cr_assert(bottom->ref_count == 2 && bottom->shadow_count == 2);
    cr_assert(eq(u64, rig_system_meter(&pair.rig, v_bypasses), 1));
    cr_assert(eq(u64, rig_system_meter(&pair.rig, v_collapses), 1));
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
    vm_object_collapse(pair.front, NULL);
    put_page(pair.back, 1, 1);
    put_page(pair.front, 5, 55);
    vm_object_collapse(pair.front, NULL);
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
    vm_object_collapse(pair.front, NULL);
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

/* --- Swap ---------------------------------------------------------------- */

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
    vm_object_collapse(pair.front, NULL);
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
    vm_object_collapse(pair.front, NULL);
    cr_assert(pair.front->backing_object == pair.back);
    cr_assert(eq(u64, pair.front->showing, 5));
    put_page(pair.front, 5, 55);
    vm_object_collapse(pair.front, NULL);
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
