/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a fault may do to a page where it lies: a backing object's, one in the cache, one
 * that several addresses of a window show.
 */
#include "tests/unit/shadow_rig.h"
#include "vmm/pager/swap_pager.h"
#include "vmm/vpagetable/vm_pageout.h"
#include "vmm/vpagetable/vm_pager.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

/* --- A swap pager that wants O held -------------------------------------- */

static struct vm_object *freed_in;
static vm_pindex_t freed_page;
static bool freed_locked;

static bool
strict_haspage(struct vm_object *object, vm_pindex_t pindex, unsigned *before, unsigned *after)
{
    (void)object;
    (void)pindex;
    (void)before;
    (void)after;
    return false;
}

static void
strict_freespace(struct vm_object *object, vm_pindex_t pindex, uint64_t npages)
{
    cr_assert(eq(u64, npages, 1));
    freed_in = object;
    freed_page = pindex;
    freed_locked = pthread_mutex_trylock(&object->lock.mutex) == EBUSY;
    if (!freed_locked)
        pthread_mutex_unlock(&object->lock.mutex);
}

static const struct vm_pager_ops strict_pager = {
    .name = "strict",
    .haspage = strict_haspage,
    .freespace = strict_freespace,
};

Test(vm_fault_chain, a_backing_page_is_made_dirty_with_its_own_objects_lock_held)
{
    struct move move;
    struct vm_page *m;

    move_init(&move);
    move.back->type = OBJT_SWAP;
    move.back->pager = &strict_pager;
    cr_assert(eq(int,
                 vm_fault_page(&move.rig.map, gpa_from_u64(PAGE(5)), VM_PROT_READ, VM_FAULT_DIRTY,
                               &m, &rig_info),
                 VM_OK));
    cr_assert(m == move.page && m->dirty != 0);
    cr_assert(freed_in == move.back && freed_page == 5);
    cr_assert(freed_locked);
    vm_page_unhold(m);
    move.back->type = OBJT_DEFAULT;
    move.back->pager = &vm_default_pager;
    rig_fini(&move.rig);
}

/* --- The cache ----------------------------------------------------------- */

static void
cache_page(struct vm_page *m)
{
    struct vm_object *object = m->object;

    pmap_page_protect(m, VM_PROT_NONE);
    vm_mutex_lock(&object->lock);
    atomic_store(&m->dirty, 0);
    vm_page_flag_clear(m, VM_PAGE_REFERENCED);
    vm_page_cache(m);
    vm_mutex_unlock(&object->lock);
}

Test(vm_fault_chain, a_table_that_a_walk_marks_leaves_the_cache)
{
    struct vm_page *table;
    struct rig rig;

    rig_window_init(&rig, 1, RIG_PASS);
    table = rig_page(rig.ram, 4);
    cache_page(table);
    cr_assert(eq(int, rig_touch(&rig, RIG_WINDOW, VM_PROT_WRITE), VM_OK));
    cr_assert(ne(uint, rig_window_flags(&rig, 0) & VPTE_M, 0));
    cr_assert(table->dirty != 0);
    cr_assert(eq(uint, table->queue, PQ_INACTIVE));
    rig_fini(&rig);
}

Test(vm_fault_chain, a_page_that_a_collapse_moves_leaves_the_cache)
{
    struct pair pair;

    pair_init(&pair, 8, 8, 0);
    put_page(pair.back, 3, 33);
    cache_page(rig_page(pair.back, 3));
    vm_object_collapse(pair.front, NULL);
    cr_assert(pair.front->backing_object == NULL);
    cr_assert(rig_page(pair.front, 3)->dirty != 0);
    cr_assert(eq(uint, rig_page(pair.front, 3)->queue, PQ_INACTIVE));
    pair_fini(&pair);
}

/* Behind a backing object nobody knows what would show instead: it has to be written. */
Test(vm_fault_chain, a_cached_page_that_would_not_come_back_leaves_the_cache_before_it_is_dirty)
{
    int fd = memfd_create("swap", MFD_CLOEXEC);
    struct swap_device *device;
    struct vm_page *m;
    struct pair pair;
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    pair_init(&pair, 8, 8, 0);
    cr_assert(zero(int, swap_device_open(path, 16, &device)));
    swap_device_attach(device, &pair.rig.sys);
    put_page(pair.front, 3, 33);
    m = rig_page(pair.front, 3);
    cache_page(m);
    cr_assert(eq(u64, vm_pageout_scan(&pair.rig.sys, 1), 1));
    cr_assert(eq(u64, rig_system_meter(&pair.rig, v_pageout), 1));
    cr_assert(rig_page(pair.front, 3) == NULL);
    cr_assert(eq(u64, value_of(pair.front, 3), 33));
    pair_fini(&pair);
    swap_device_close(device);
    close(fd);
}

/* --- Who gets the frame of a page that is copied ------------------------- */

#define COPY UINT64_C(0x20000000)
#define COPIED 16u

/* RAM's first pages with values, mapped, and a copy of them, mapped too. */
static void
copied_init(struct rig *rig)
{
    rig_init(rig, 0);
    for (unsigned p = 0; p < COPIED; p++)
        rig_store(rig, PAGE(p), 100 + p);
    cr_assert(zero(int, vm_map_copy(&rig->map, gpa_from_u64(0), gpa_from_u64(COPY), PAGE(COPIED))));
    for (unsigned p = 0; p < COPIED; p++)
        cr_assert(eq(u64, rig_load(rig, COPY + PAGE(p)), 100 + p));
}

/* Write to page 5 at `start`: the page that is there afterwards, in the entry's own object. */
static struct vm_page *
write_copied(struct rig *rig, uint64_t start)
{
    struct vm_page *m;

    rig_store(rig, start + PAGE(5), 7);
    m = rig_page(rig_entry(rig, start)->object, 5);
    cr_assert(m != NULL && m->object != rig->ram);
    cr_assert(eq(u64, rig_load(rig, start + PAGE(5)), 7));
    return m;
}

static void
copied_fini(struct rig *rig, uint64_t other)
{
    cr_assert(eq(u64, rig_load(rig, other + PAGE(5)), 105));
    rig_audit(rig);
    rig_fini(rig);
}

/* Whoever writes first. */
Test(vm_fault_chain, who_writes_to_a_copied_page_keeps_its_frame_and_mapping)
{
    for (uint64_t start = 0; start <= COPY; start += COPY) {
        struct vm_page *source, *m;
        struct rig rig;
        vm_frame_t frame;
        unsigned removed;

        copied_init(&rig);
        source = rig_page(rig.ram, 5);
        frame = vm_page_frame(source);
        removed = rig.fake.removed_pages;
        m = write_copied(&rig, start);
        cr_assert(vm_page_frame(m) == frame && vm_page_frame(source) != frame);
        cr_assert(eq(uint, rig_mapped(&rig, start + PAGE(5)), VM_PROT_RW));
        cr_assert(eq(uint, rig.fake.removed_pages, removed + 1), "only the other side's");
        cr_assert(eq(uint, rig_mapped(&rig, COPY - start + PAGE(5)), VM_PROT_NONE));
        copied_fini(&rig, COPY - start);
    }
}

Test(vm_fault_chain, a_copied_page_that_is_not_mapped_is_entered_with_its_old_frame)
{
    struct rig rig;
    vm_frame_t frame;

    copied_init(&rig);
    frame = vm_page_frame(rig_page(rig.ram, 5));
    pmap_remove(&rig.pmap, gpa_from_u64(0), gpa_from_u64(PAGE(COPIED)));
    cr_assert(vm_page_frame(write_copied(&rig, 0)) == frame);
    copied_fini(&rig, COPY);
}

/* Somebody reads or writes the source's bytes by its frame. */
Test(vm_fault_chain, the_frame_of_a_held_page_stays_its_own_when_it_is_copied)
{
    struct vm_page *source;
    struct rig rig;
    vm_frame_t frame;

    copied_init(&rig);
    cr_assert(eq(int,
                 vm_fault_page(&rig.map, gpa_from_u64(COPY + PAGE(5)), VM_PROT_READ,
                               VM_FAULT_NORMAL, &source, &rig_info),
                 VM_OK));
    frame = vm_page_frame(source);
    cr_assert(vm_page_frame(write_copied(&rig, 0)) != frame);
    cr_assert(vm_page_frame(source) == frame);
    cr_assert(eq(u64, *(uint64_t *)vm_page_address(source), 105));
    vm_page_unhold(source);
    copied_fini(&rig, COPY);
}

Test(vm_fault_chain, the_frame_of_a_wired_page_stays_its_own_when_it_is_copied)
{
    struct vm_page *source;
    struct rig rig;
    vm_frame_t frame;

    copied_init(&rig);
    source = rig_page(rig.ram, 5);
    vm_mutex_lock(&rig.ram->lock);
    vm_page_wire(source);
    vm_mutex_unlock(&rig.ram->lock);
    frame = vm_page_frame(source);
    cr_assert(vm_page_frame(write_copied(&rig, 0)) != frame);
    cr_assert(vm_page_frame(source) == frame);
    vm_mutex_lock(&rig.ram->lock);
    vm_page_unwire(source, true);
    vm_mutex_unlock(&rig.ram->lock);
    copied_fini(&rig, COPY);
}

#define SHARER UINT64_C(0x50000000)

/* The last moment a guest can write there. */
static void
write_before_remove(struct fake_pmap *fake, gpa_t gpa)
{
    if (gpa.value == SHARER + PAGE(5))
        cr_assert(fake_guest_store(fake, gpa, 55));
}

/* RAM itself shows somewhere else too, and a vCPU writes there while the page is copied. */
Test(vm_fault_chain, what_others_write_to_the_source_until_the_end_stays_theirs)
{
    struct rig rig;

    copied_init(&rig);
    vm_object_ref(rig.ram);
    cr_assert(zero(int, vm_map_insert(&rig.map, &(struct vm_map_insert){
                                                    .start = gpa_from_u64(SHARER),
                                                    .end = gpa_from_u64(SHARER + PAGE(COPIED)),
                                                    .object = rig.ram,
                                                    .maptype = VM_MAPTYPE_NORMAL,
                                                    .protection = VM_PROT_ALL,
                                                    .max_protection = VM_PROT_ALL,
                                                })));
    rig_store(&rig, SHARER + PAGE(5), 105);
    rig.fake.before_remove = write_before_remove;
    (void)write_copied(&rig, 0);
    rig.fake.before_remove = NULL;
    cr_assert(eq(u64, rig_load(&rig, SHARER + PAGE(5)), 55));
    rig_store(&rig, SHARER + PAGE(5), 105);
    copied_fini(&rig, COPY);
}

/* The page lies elsewhere: nothing is gained by its frame. */
Test(vm_fault_chain, a_copied_page_that_is_not_in_its_natural_frame_keeps_it)
{
    struct vm_page *source;
    struct rig rig;
    vm_frame_t frame;

    copied_init(&rig);
    (void)write_copied(&rig, 0);
    source = rig_page(rig.ram, 5);
    frame = vm_page_frame(source);
    cr_assert(
        zero(int, vm_map_copy(&rig.map, gpa_from_u64(COPY), gpa_from_u64(2 * COPY), PAGE(COPIED))));
    cr_assert(vm_page_frame(write_copied(&rig, COPY)) != frame);
    cr_assert(vm_page_frame(source) == frame);
    copied_fini(&rig, 2 * COPY);
}

/* --- One page at several addresses --------------------------------------- */

/*
 * Two addresses of a window that is a copy show one page of the backing object.  A write
 * to one of them gives the window's object a page of its own, which the other must show
 * too; nobody but the mappings of the old page knows where it is mapped.
 */
Test(vm_fault_chain, a_copy_on_write_shows_at_every_address_of_a_window)
{
    const uint64_t copy = RIG_WINDOW + PAGE(64);
    struct vm_object *ram;
    struct rig rig;

    rig_init_empty(&rig, 0);
    cr_assert(zero(int, vm_object_create_default(&rig.sys, 128, &ram)));
    rig_map_ram(&rig, ram, VM_PROT_ALL);
    (void)rig_tables(&rig, 4, 100, 0, RIG_PASS);
    rig_store(&rig, PAGE(100), 7);
    cr_assert(zero(int, vm_map_remove(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(128)))));
    rig_window(&rig, RIG_WINDOW, 4, VM_PROT_ALL, &vpte64_format, rig_pte(1, RIG_PASS));
    cr_assert(
        zero(int, vm_map_copy(&rig.map, gpa_from_u64(RIG_WINDOW), gpa_from_u64(copy), PAGE(4))));
    for (unsigned i = 0; i < 4; i++) {
        cr_assert(eq(u64, rig_load(&rig, copy + PAGE(i)), 7));
        cr_assert(eq(u64, rig_load(&rig, RIG_WINDOW + PAGE(i)), 7));
    }
    rig_store(&rig, copy + PAGE(2), 8);
    for (unsigned i = 0; i < 4; i++) {
        cr_expect(eq(u64, rig_load(&rig, copy + PAGE(i)), 8));
        cr_expect(eq(u64, rig_load(&rig, RIG_WINDOW + PAGE(i)), 7));
    }
    rig_fini(&rig);
}

/* --- Who waits for a collapse -------------------------------------------- */

/* More pages than a portion of a collapse, some of them hidden. */
#define MANY ((VM_SHADOW_STEPS + 2) * VM_SHADOW_BATCH)

Test(vm_fault_chain, a_shadow_is_made_after_a_portion_of_a_collapse_and_the_rest_comes_later)
{
    struct vm_object *object;
    vm_pindex_t offset = 0;
    struct pair pair;

    pair_init(&pair, MANY, MANY, 0);
    for (unsigned p = 0; p < MANY; p++) {
        put_page(pair.back, p, p);
        if (p % 8 == 0)
            put_page(pair.front, p, 2 * p);
    }
    object = pair.front;
    cr_assert(zero(int, vm_object_shadow(&object, &offset, MANY)));
    cr_assert(pair.front->backing_object == pair.back);
    cr_assert(eq(u64, pair.back->resident_count, 2 * VM_SHADOW_BATCH));
    vm_object_collapse(pair.front, NULL);
    cr_assert(pair.front->backing_object == NULL && pair.front->resident_count == MANY);
    for (unsigned p = 0; p < MANY; p += 5)
        cr_assert(eq(u64, value_of(object, p), p % 8 == 0 ? 2 * p : p));
    pair.front = object;
    pair_fini(&pair);
}

Test(vm_fault_chain, a_copy_is_mapped_and_the_map_let_go_of_before_the_chain_collapses,
     .timeout = 30)
{
    struct rig_fault fault;
    struct move move;

    move_init(&move);
    vm_mutex_lock(&move.rig.sys.shadow_lock);
    rig_fault_start(&fault, &move.rig, PAGE(7), VM_PROT_WRITE);
    rig_until(rig_mapped(&move.rig, PAGE(7)) == VM_PROT_RW);
    vm_rwlock_write_lock(&move.rig.map.lock);
    cr_assert(move.rig.ram->backing_object == move.back);
    vm_rwlock_write_unlock(&move.rig.map.lock);
    cr_assert(not(atomic_load(&fault.done)));
    vm_mutex_unlock(&move.rig.sys.shadow_lock);
    cr_assert(eq(int, rig_fault_join(&fault), VM_OK));
    cr_assert(move.rig.ram->backing_object == NULL);
    rig_fini(&move.rig);
}

static struct vm_object *behind;
static bool ended_early;

/* The object next to it still has pages, and nobody has S. */
static void
note_end(struct vm_object *object)
{
    pthread_mutex_t *lock = &object->sys->shadow_lock.mutex;

    ended_early = behind->resident_count != 0 && pthread_mutex_trylock(lock) == 0;
    if (ended_early)
        pthread_mutex_unlock(lock);
}

Test(vm_fault_chain, a_long_collapse_lets_others_to_the_chains_in_between)
{
    static const struct vm_pager_ops noting_pager = { .name = "noting", .dealloc = note_end };
    struct pair pair;

    pair_init(&pair, MANY, MANY, 0);
    cr_assert(zero(int, vm_object_create_default(&pair.rig.sys, MANY, &behind)));
    rig_shadow(pair.back, behind, 0);
    for (unsigned p = 0; p < MANY; p++) {
        put_page(pair.back, p, p);
        put_page(behind, p, 1);
    }
    pair.back->pager = &noting_pager;
    vm_object_collapse(pair.front, NULL);
    cr_assert(ended_early);
    cr_assert(pair.front->backing_object == NULL && pair.front->resident_count == MANY);
    pair_fini(&pair);
}

/* --- Who keeps a held page's object -------------------------------------- */

static void *
hold_page_5(void *argument)
{
    struct rig *rig = argument;
    struct vm_page *m;

    cr_assert(
        eq(int, vm_fault_page_quick(&rig->map, gpa_from_u64(PAGE(5)), VM_PROT_READ, &m), VM_OK));
    cr_assert(eq(u64, *(uint64_t *)vm_page_address(m), 5 * 512));
    vm_page_unhold(m);
    return NULL;
}

/*
 * Else the fault, which reads ahead after it found page 5, would drop the last reference and
 * wait for a page that is held for its own caller.
 */
Test(vm_fault_chain, an_object_whose_entry_went_lives_until_its_page_is_not_held, .timeout = 30)
{
    struct rig_pager pager;
    pthread_t thread;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    cr_assert(eq(int, rig_burst(&rig, 0, VM_PROT_READ), VM_OK)); /* marks page 5 */
    pager.wait = true;
    cr_assert(zero(int, pthread_create(&thread, NULL, hold_page_5, &rig)));
    rig_pager_wait_for(&pager, 1);
    cr_assert(zero(int, vm_map_remove(&rig.map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)))));
    vm_object_unref(rig.ram);
    rig.ram = NULL;
    rig_pager_release(&pager);
    pthread_join(thread, NULL);
    cr_assert(zero(u64, resident(&rig)));
    rig_fini(&rig);
}
