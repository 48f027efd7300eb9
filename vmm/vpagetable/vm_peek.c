/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Looking at memory without a trace; vm_peek.h has the contract, vm_copy.c vm_poke.
 *
 * The entry is read with M held; then only a reference of its object is kept, so that nobody
 * waits while a pager reads.  The chain is gone through hand over hand as in a fault, but what has
 * to be waited for (a busy page, I/O) is waited for with no lock, and the search starts over
 * where something may have changed.
 */
#include "vmm/vpagetable/vm_peek.h"

#include "vmm/vpagetable/vm_map_entry.h"
#include "vmm/vpagetable/vm_page.h"
#include "vmm/vpagetable/vm_pager.h"
#include "vmm/vpagetable/vm_stop.h"

#include <string.h>

/* What of the entry is needed once M is dropped. */
struct peek_view {
    struct vm_object *object; /* a reference of ours */
    const _Atomic bool *stop;
    const struct vpte_format *format; /* NULL: not a virtual page table */
    vpte_t root;
    vm_pindex_t pindex;
};

/* --- one page of an object --------------------------------------------------- */

/* The page is resident and not busy.  Locks: O of its object held. */
static void
copy_resident(const struct vm_page *m, void *page)
{
    if (vm_page_flag_test(m, VM_PAGE_ZERO))
        memset(page, 0, PAGE_SIZE);
    else
        memcpy(page, vm_page_address(m), PAGE_SIZE);
}

/* Somebody works on the page: wait, and let the search start over.  Releases O. */
static enum vm_result
wait_busy(struct vm_object *object, vm_pindex_t pindex, const _Atomic bool *stop)
    VM_RELEASES(object->lock)
{
    object->ref_count++;
    vm_page_sleep_busy(object, pindex, stop);
    vm_mutex_unlock(&object->lock);
    vm_object_unref(object);
    return VM_RETRY;
}

/* The pager has the page: read it into the buffer.  Releases O. */
static enum vm_result
read_pager(struct vm_object *object, vm_pindex_t pindex, void *page) VM_RELEASES(object->lock)
{
    enum vm_pager_result result;

    object->ref_count++;
    vm_object_pip_add(object);
    vm_mutex_unlock(&object->lock);
    result = object->pager->peek(object, pindex, page);
    vm_mutex_lock(&object->lock);
    vm_object_pip_wakeup(object);
    vm_mutex_unlock(&object->lock);
    vm_object_unref(object);
    return result == VM_PAGER_OK ? VM_OK : result == VM_PAGER_FAIL ? VM_RETRY : VM_IO_ERROR;
}

/*
 * Look for the page in one object of the chain.  Returns VM_RETRY with *next the backing object
 * to go on with, O of this one still held; with *next NULL everything else is over, O released.
 */
static enum vm_result
look_in(struct vm_object *object, vm_pindex_t pindex, const struct peek_view *view, void *page,
        struct vm_peek_info *info, struct vm_object **next) VM_NO_LOCK_ANALYSIS
{
    struct vm_page *m = pindex < object->size ? vm_page_lookup(object, pindex) : NULL;

    *next = NULL;
    if (m != NULL && vm_page_flag_test(m, VM_PAGE_BUSY))
        return wait_busy(object, pindex, view->stop);
    if (m == NULL && pindex < object->size && object->type != OBJT_DEFAULT &&
        object->pager->haspage(object, pindex, NULL, NULL)) {
        info->place = VM_PEEK_PAGER;
        return read_pager(object, pindex, page);
    }
    if (m == NULL && object->backing_object != NULL) {
        *next = object->backing_object;
        return VM_RETRY;
    }
    info->place = m != NULL ? VM_PEEK_RESIDENT : VM_PEEK_NOWHERE;
    if (m != NULL)
        copy_resident(m, page);
    else
        memset(page, 0, PAGE_SIZE);
    vm_mutex_unlock(&object->lock);
    return VM_OK;
}

/* One search through the chain; VM_RETRY: something was waited for. */
static enum vm_result
search_chain(const struct peek_view *view, vm_pindex_t pindex, void *page,
             struct vm_peek_info *info) VM_NO_LOCK_ANALYSIS
{
    struct vm_object *object = view->object;
    struct vm_object *next;
    enum vm_result result;

    info->depth = 0;
    vm_mutex_lock(&object->lock);
    info->writeback = (object->flags & OBJ_WRITEBACK) != 0;
    if ((object->flags & OBJ_DEAD) != 0 || pindex >= object->size) {
        result = (object->flags & OBJ_DEAD) != 0 ? VM_OBJECT_DEAD : VM_BEYOND_OBJECT;
        vm_mutex_unlock(&object->lock);
        return result;
    }
    while ((result = look_in(object, pindex, view, page, info, &next)) == VM_RETRY &&
           next != NULL) {
        pindex += object->backing_object_offset;
        info->depth++;
        vm_mutex_lock(&next->lock);
        vm_mutex_unlock(&object->lock);
        object = next;
    }
    return result;
}

/* The bytes of page pindex, as a read of the entry would find them. */
static enum vm_result
peek_page(const struct peek_view *view, vm_pindex_t pindex, void *page, struct vm_peek_info *info)
{
    enum vm_result result;

    do {
        if (vm_stopped(view->stop))
            return VM_HOST_FAILURE;
        result = search_chain(view, pindex, page, info);
    } while (result == VM_RETRY);
    return result;
}

/* --- the walk ----------------------------------------------------------------- */

static vpte_t
read_vpte(const struct vpte_format *format, const uint8_t *table, uint64_t index)
{
    uint32_t small;
    vpte_t vpte;

    if (format->entry_size == sizeof(small)) {
        memcpy(&small, table + index * sizeof(small), sizeof(small));
        return small;
    }
    memcpy(&vpte, table + index * sizeof(vpte), sizeof(vpte));
    return vpte;
}

/* From the entry's page index to the object's, through tables that are only read. */
static enum vm_result
walk(const struct peek_view *view, vm_pindex_t *pindex, uint8_t *page, struct vm_peek_info *info)
{
    const struct vpte_format *format = view->format;
    unsigned shift = format->frame_end - PAGE_SHIFT;
    enum vm_result result;
    vpte_t vpte = view->root;

    info->vptes[0] = vpte;
    if ((view->pindex >> shift) != 0)
        return VM_BAD_FRAME;
    for (;;) {
        vm_pindex_t frame = (vpte & format->frame_mask) >> PAGE_SHIFT;

        if ((vpte & VPTE_V) == 0)
            return VM_VPTE_INVALID;
        if ((vpte & VPTE_PS) != 0)
            frame += view->pindex & (((uint64_t)1 << shift) - 1); /* W3 */
        if (shift == 0 || (vpte & VPTE_PS) != 0) {
            *pindex = frame;
            return VM_OK;
        }
        result = peek_page(view, frame, page, info);
        if (result != VM_OK)
            return result == VM_BEYOND_OBJECT ? VM_BAD_FRAME : result; /* W9 */
        shift -= format->page_bits;
        vpte = read_vpte(format, page,
                         view->pindex >> shift & (((uint64_t)1 << format->page_bits) - 1));
        info->tables[info->level++] = frame;
        info->vptes[info->level] = vpte;
    }
}

/* --- an address ------------------------------------------------------------------ */

/* What the address shows, with a reference of the object. */
static enum vm_result
open_view(struct vm_map *map, gpa_t gpa, struct peek_view *view, struct vm_peek_info *info)
{
    const struct vm_map_entry *entry;
    enum vm_result result = VM_OK;

    vm_rwlock_read_lock(&map->lock);
    entry = vm_map_entry_search(map, gpa);
    if (entry == NULL || gpa.value < entry->start.value)
        result = VM_INVALID_ADDRESS;
    else if ((entry->eflags & MAP_ENTRY_NOFAULT) != 0)
        result = VM_NOFAULT;
    if (result == VM_OK) {
        info->protection = entry->protection;
        info->window = entry->maptype == VM_MAPTYPE_VPAGETABLE;
        *view = (struct peek_view){
            .object = entry->object,
            .stop = map->stop,
            .format = info->window ? entry->format : NULL,
            .root = atomic_load(&entry->root),
            .pindex = entry->offset + vm_map_range_pages(entry->start, gpa),
        };
        vm_object_ref(view->object);
    }
    vm_rwlock_read_unlock(&map->lock);
    return result;
}

static enum vm_result
peek_at(struct vm_map *map, gpa_t gpa, uint8_t *page, struct vm_peek_info *info)
{
    struct peek_view view;
    vm_pindex_t pindex;

    *info = (struct vm_peek_info){ .place = VM_PEEK_NOWHERE };
    info->result = open_view(map, gpa, &view, info);
    if (info->result != VM_OK)
        return info->result;
    pindex = view.pindex;
    if (view.format != NULL)
        info->result = walk(&view, &pindex, page, info);
    info->pindex = pindex;
    if (info->result == VM_OK)
        info->result = peek_page(&view, pindex, page, info);
    if (info->window && info->result == VM_BEYOND_OBJECT)
        info->result = VM_BAD_FRAME;
    vm_object_unref(view.object);
    return info->result;
}

enum vm_result
vm_peek(struct vm_map *map, gpa_t gpa, void *to, size_t size, struct vm_peek_info *info)
{
    uint8_t page[PAGE_SIZE], *bytes = to;
    enum vm_result result = VM_OK;

    *info = (struct vm_peek_info){ .result = VM_OK };
    if (size != 0 && size - 1 > UINT64_MAX - gpa.value) {
        info->result = VM_INVALID_ADDRESS;
        return info->result;
    }
    while (size != 0 && result == VM_OK) {
        uint64_t offset = gpa.value & PAGE_MASK;
        size_t part = vm_min(PAGE_SIZE - offset, size);

        result = peek_at(map, gpa_trunc_page(gpa), page, info);
        if (result == VM_OK)
            memcpy(bytes, page + offset, part);
        gpa = gpa_add(gpa, part);
        bytes += part;
        size -= part;
    }
    return result;
}
