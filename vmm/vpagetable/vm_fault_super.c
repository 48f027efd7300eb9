/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A stream of first touches makes a superpage (pmap_super.h) of the hole before it: all pages of an
 * aligned chunk at once, which the machine fills by one call.
 *
 * As FreeBSD's reservations and the prefault do, it reads off the state who streams: so many pages right
 * behind the chunk are resident.  The pages are the budget's like any others, and where memory may become
 * short none is made: giving one page back breaks the whole.
 *
 * The machine may have to know that nothing is mapped behind the chunk meanwhile (pmap_ops.promote).  A page
 * that is there but busy keeps everybody away: the *guard*, which goes when the superpage is mapped.
 *
 * None is made where somebody wants to see each page's first touch: with a trace, or with injection.
 */
#include "vmm/vpagetable/vm_fault_state.h"

#include "vmm/vpagetable/pmap_super.h"
#include "vmm/vpagetable/vm_budget.h"

#include <errno.h>

/* Resident pages behind a chunk that make a stream: as many as the longest prefault run has. */
#define SUPER_STREAM VM_PREFAULT_MAX

/* Does nothing forbid it here? */
static bool
super_is_allowed(const struct faultstate *fs)
{
    struct vm_system *sys = fs->map->sys;

    return sys->tunables.superpages && sys->tunables.fast_fault &&
           sys->tunables.prefault_pages != 0 &&
           !atomic_load_explicit(&sys->superpages_refused, memory_order_relaxed) &&
           fs->trace == NULL && fs->map->inject == NULL &&
           vm_page_free_count(sys) >= sys->budget.free_target + PMAP_CHUNK_PAGES;
}

/* May the entry's guest write to all of the chunk, and is it worth guessing? */
static bool
super_entry_has(const struct vm_map_entry *entry, uint64_t page)
{
    return entry->advice != VM_ADVICE_RANDOM && (vm_map_entry_prot(entry) & VM_PROT_WRITE) != 0 &&
           entry->start.value >> PAGE_SHIFT <= page &&
           entry->end.value >> PAGE_SHIFT >= page + PMAP_CHUNK_PAGES;
}

/* Has the object the demanded page alone of the chunk that begins at pindex, and no pager or object behind it? */
static bool
super_object_lacks(const struct vm_object *object, vm_pindex_t pindex) VM_REQUIRES(object->lock)
{
    uint64_t *words = &object->resident[pindex / 64];
    unsigned resident = 0;

    if (object->type != OBJT_DEFAULT || object->backing_object != NULL ||
        object->freeing_count != 0 || pindex % PMAP_CHUNK_PAGES != 0 ||
        object->size < pindex + PMAP_CHUNK_PAGES)
        return false;
    for (unsigned i = 0; i < PMAP_CHUNK_PAGES / 64; i++)
        resident += (unsigned)__builtin_popcountll(words[i]);
    return resident == 1;
}

/* Free the pages [0, end) of the chunk but for the demanded one; nothing maps them, their frames are holes. */
static void
super_free(struct vm_page *first, unsigned end, const struct vm_page *demanded)
{
    for (unsigned i = 0; i < end; i++) {
        if (&first[i] != demanded)
            vm_page_free(&first[i]);
    }
}

/*
 * Guard the page behind the chunk that begins at pindex and is mapped at a guest page.  No need to where the
 * window ends or the next superpage begins.
 */
static bool
super_guard(struct faultstate *fs, uint64_t page, vm_pindex_t pindex)
    VM_REQUIRES(fs->first_object->lock)
{
    fs->guard = NULL;
    page += PMAP_CHUNK_PAGES;
    pindex += PMAP_CHUNK_PAGES;
    if (!pmap_window_has(fs->window, page) || pmap_super_is_promoted(fs->window, page))
        return true;
    if (fs->lookup.entry->end.value >> PAGE_SHIFT <= page || pindex >= fs->first_object->size ||
        vm_page_lookup(fs->first_object, pindex) != NULL)
        return false;
    fs->guard = vm_page_alloc(fs->first_object, pindex);
    return fs->guard != NULL;
}

/* Make the chunk's other pages, busy and of zeros. */
static bool
super_make(const struct faultstate *fs, struct vm_page *first, vm_pindex_t pindex)
    VM_REQUIRES(fs->first_object->lock)
{
    for (unsigned i = 0; i < PMAP_CHUNK_PAGES; i++) {
        if (&first[i] == fs->m)
            continue;
        if (vm_page_alloc(fs->first_object, pindex + i) == NULL) {
            super_free(first, i, fs->m);
            return false;
        }
        first[i].valid = 1;
        vm_prefault_writeable(fs->lookup.entry, &first[i]);
    }
    return true;
}

bool
vm_fault_super_choose(struct faultstate *fs)
{
    uint64_t page = fs->gpa.value >> PAGE_SHIFT;
    unsigned index = (unsigned)(page % PMAP_CHUNK_PAGES);
    uint64_t slot;

    if (fs->pindex < index || !super_is_allowed(fs) ||
        !super_entry_has(fs->lookup.entry, page - index) ||
        !super_object_lacks(fs->first_object, fs->pindex - index) ||
        vm_object_resident_run_behind(fs->first_object, fs->pindex - index, SUPER_STREAM) <
            SUPER_STREAM)
        return false;
    slot = fs->first_object->extent + fs->pindex - index;
    if (!pmap_super_fits(vm_fault_window(fs), page - index, slot) ||
        vm_slots_are_moved(fs->map->sys, slot, PMAP_CHUNK_PAGES) ||
        !super_guard(fs, page - index, fs->pindex - index))
        return false;
    if (super_make(fs, fs->m - index, fs->pindex - index))
        return true;
    if (fs->guard != NULL)
        vm_page_free(fs->guard);
    return false;
}

/* The chunk's other pages are mapped: they are like neighbours of a prefault now. */
static void
super_settle(struct vm_page *first, const struct vm_page *demanded)
{
    for (unsigned i = 0; i < PMAP_CHUNK_PAGES; i++) {
        if (&first[i] == demanded)
            continue;
        vm_page_deactivate(&first[i]);
        vm_page_wakeup(&first[i]);
    }
}

int
vm_fault_super_enter(struct faultstate *fs)
{
    uint64_t page = fs->gpa.value >> PAGE_SHIFT;
    unsigned index = (unsigned)(page % PMAP_CHUNK_PAGES);
    struct vm_page *first = fs->m - index;
    int error = pmap_super_enter(fs->map->pmap, vm_fault_window(fs), page - index, first,
                                 fs->guard != NULL);

    if (error == -EOPNOTSUPP)
        atomic_store_explicit(&fs->map->sys->superpages_refused, true, memory_order_relaxed);
    vm_mutex_lock(&fs->first_object->lock);
    if (fs->guard != NULL)
        vm_page_free(fs->guard);
    if (error == 0)
        super_settle(first, fs->m);
    else
        super_free(first, PMAP_CHUNK_PAGES, fs->m);
    vm_mutex_unlock(&fs->first_object->lock);
    if (error != 0)
        return error;
    vm_meter_add(fs->meter, v_super_made, 1);
    vm_meter_add(fs->meter, v_zfod, PMAP_CHUNK_PAGES - 1);
    vm_meter_add(fs->meter, v_ozfod, PMAP_CHUNK_PAGES - 1);
    return 0;
}
