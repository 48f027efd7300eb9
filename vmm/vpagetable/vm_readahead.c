/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Read-ahead; see vm_readahead.h.
 *
 * The pages of a read are made busy with O held, read without it, and settled with
 * it again.  Nobody else reads them meanwhile; who needs one waits for it.
 */
#include "vmm/vpagetable/vm_readahead.h"

#include "vmm/vpagetable/vm_prefault.h"

static unsigned
readahead_min(unsigned pages, uint64_t limit)
{
    return pages < limit ? pages : (unsigned)limit;
}

/* A new busy page to read along, if there is none at pindex. */
static struct vm_page *
readahead_page(struct vm_object *object, vm_pindex_t pindex) VM_REQUIRES(object->lock)
{
    if (vm_page_lookup(object, pindex) != NULL)
        return NULL;
    return vm_page_alloc(object, pindex);
}

/*
 * How many pages a stream reads at once from pindex on: to a border of clusters, so that
 * reads come to be aligned, and end where the 2 MiB end that limit what is mapped along.
 */
static unsigned
readahead_cluster(vm_pindex_t pindex, enum vm_map_advice advice)
{
    unsigned cluster =
        advice == VM_ADVICE_SEQUENTIAL ? VM_READAHEAD_SEQUENTIAL : VM_READAHEAD_NORMAL;
    unsigned pages = cluster - (unsigned)(pindex % cluster);

    return pages < cluster / 2 ? pages + cluster : pages;
}

/* Is a page that must be read the next one of a stream?  Then those before it are there. */
static bool
readahead_is_stream(struct vm_object *object, vm_pindex_t pindex, enum vm_map_advice advice)
    VM_REQUIRES(object->lock)
{
    return advice == VM_ADVICE_SEQUENTIAL ||
           vm_object_resident_run_behind(object, pindex, VM_READAHEAD_AHEAD) == VM_READAHEAD_AHEAD;
}

/*
 * How far around the needed page one I/O may reach: advice, the pager and the memory
 * left say.  A stream reads nothing before the page.
 */
static void
readahead_limits(struct vm_object *object, vm_pindex_t pindex, enum vm_map_advice advice,
                 bool stream, unsigned *behind, unsigned *ahead) VM_REQUIRES(object->lock)
{
    uint64_t room = vm_prefault_room(object->sys);

    *behind = 0;
    *ahead = 0;
    if (advice == VM_ADVICE_RANDOM || room == 0)
        return;
    (void)object->pager->haspage(object, pindex, behind, ahead);
    *behind = readahead_min(*behind, stream ? 0 : VM_READAHEAD_BEHIND);
    *ahead =
        readahead_min(*ahead, stream ? readahead_cluster(pindex, advice) - 1 : VM_READAHEAD_AHEAD);
    *behind = readahead_min(*behind, room);
    *ahead = readahead_min(*ahead, room - *behind);
}

/* Pages that directly follow the collected ones join, at most `ahead`. */
static void
readahead_collect_ahead(struct vm_readahead *ra, struct vm_object *object, vm_pindex_t next,
                        unsigned ahead) VM_REQUIRES(object->lock)
{
    struct vm_page *m;

    for (unsigned i = 0; i < ahead && (m = readahead_page(object, next + i)) != NULL; i++)
        ra->m[ra->count++] = m;
}

/* Pages directly before pindex become the first ones, in ascending order, at most `behind`. */
static void
readahead_collect_behind(struct vm_readahead *ra, struct vm_object *object, vm_pindex_t pindex,
                         unsigned behind) VM_REQUIRES(object->lock)
{
    struct vm_page *back[VM_READAHEAD_BEHIND];
    struct vm_page *m;
    unsigned n = 0;

    while (n < behind && (m = readahead_page(object, pindex - n - 1)) != NULL)
        back[n++] = m;
    while (n != 0)
        ra->m[ra->count++] = back[--n];
}

void
vm_fault_additional_pages(struct vm_readahead *ra, struct vm_object *object, struct vm_page *m,
                          enum vm_map_advice advice)
{
    vm_pindex_t pindex = vm_page_pindex(m);
    bool stream = readahead_is_stream(object, pindex, advice);
    unsigned behind, ahead;

    ra->object = object;
    ra->count = 0;
    readahead_limits(object, pindex, advice, stream, &behind, &ahead);
    readahead_collect_behind(ra, object, pindex, behind);
    ra->reqpage = ra->count;
    ra->m[ra->count++] = m;
    readahead_collect_ahead(ra, object, pindex + 1, ahead);
    if (ra->count == 1)
        ra->mark = ra->count;
    else
        ra->mark = stream ? ra->reqpage : ra->reqpage + 1 + VM_PREFAULT_AHEAD;
}

/* The first page after pindex that is not resident, not more than a read further on. */
static vm_pindex_t
readahead_start(struct vm_object *object, vm_pindex_t pindex) VM_REQUIRES(object->lock)
{
    vm_pindex_t start = pindex + 1;

    while (start - pindex <= VM_READAHEAD_MAX && vm_page_lookup(object, start) != NULL)
        start++;
    return start;
}

bool
vm_readahead_next(struct vm_readahead *ra, struct vm_object *object, vm_pindex_t pindex,
                  enum vm_map_advice advice)
{
    vm_pindex_t start = readahead_start(object, pindex);
    uint64_t room = vm_prefault_room(object->sys);
    unsigned after;

    if ((object->flags & OBJ_DEAD) != 0 || start >= object->size ||
        start - pindex > VM_READAHEAD_MAX || !object->pager->haspage(object, start, NULL, &after))
        return false;
    ra->object = object;
    ra->count = 0;
    ra->reqpage = 0;
    ra->mark = 0;
    after = readahead_min(after, readahead_cluster(start, advice) - 1);
    readahead_collect_ahead(ra, object, start, readahead_min(after + 1, room));
    if (ra->count == 0)
        return false;
    vm_object_pip_add(object);
    return true;
}

/* Pages that were read become valid, the others go.  Returns how many were read. */
static unsigned
readahead_settle(struct vm_readahead *ra, const bool *done, bool hold) VM_REQUIRES(ra->object->lock)
{
    unsigned read = 0;

    for (unsigned i = 0; i < ra->count; i++) {
        struct vm_page *m = ra->m[i];

        if (!done[i]) {
            vm_page_free(m);
            continue;
        }
        read++;
        vm_page_flag_clear(m, VM_PAGE_ZERO);
        if (i == ra->mark)
            vm_page_flag_set(m, VM_PAGE_RAM);
        m->valid = 1;
        if (hold && i == ra->reqpage)
            vm_page_hold(m);
        vm_page_deactivate(m);
        vm_page_wakeup(m);
    }
    return read;
}

/* A page that the pager said it has, and then has not, is lost unless it stops saying so. */
static enum vm_result
readahead_result(enum vm_pager_result result, bool done)
{
    if (result == VM_PAGER_BAD)
        return VM_BEYOND_OBJECT;
    return result == VM_PAGER_OK && done ? VM_OK : VM_IO_ERROR;
}

static void
readahead_count_failure(const struct vm_object *object, struct vm_map_meter *meter)
{
    vm_meter_add(meter, v_pagein_failed, 1);
    if (object->pager == object->sys->swap_pager)
        vm_meter_add(meter, v_swap_lost, 1);
}

enum vm_result
vm_readahead_read(struct vm_readahead *ra, struct vm_map_meter *meter, bool hold)
{
    struct vm_object *object = ra->object;
    bool done[VM_READAHEAD_MAX] = { false };
    enum vm_pager_result rv;
    enum vm_result result;
    unsigned read;

    rv = object->pager->getpages(object, ra->m, ra->count, ra->reqpage, done);
    result = readahead_result(rv, done[ra->reqpage]);
    done[ra->reqpage] = result == VM_OK;

    vm_mutex_lock(&ra->object->lock);
    read = readahead_settle(ra, done, hold);
    vm_object_pip_wakeup(ra->object);
    vm_mutex_unlock(&ra->object->lock);
    vm_meter_add(meter, v_pagein, read);
    if (hold && result == VM_IO_ERROR)
        readahead_count_failure(object, meter);
    return result;
}

/* --- What a stream left behind ------------------------------------------- */

/*
 * Busy the pages to let go of, ascending.  A page that is not busy is valid, so that the seed's
 * end at the first page that is not valid is one at the first that is not resident.
 */
static unsigned
behind_collect(struct vm_object *object, vm_pindex_t pindex, struct vm_page **run)
    VM_REQUIRES(object->lock)
{
    vm_pindex_t newest = pindex - VM_DEACTIVATE_BEHIND;
    unsigned npages = 0;
    unsigned count = 0;

    /* Before page 0 the index wraps around, to where no object has a page. */
    while (npages < VM_DEACTIVATE_BEHIND && vm_page_lookup(object, newest - npages) != NULL)
        npages++;
    while (npages-- > 0) {
        struct vm_page *m = vm_page_lookup(object, newest - npages);

        if (vm_page_flag_test(m, VM_PAGE_BUSY) || m->hold_count != 0 || m->wire_count != 0)
            continue;
        vm_page_busy(m);
        run[count++] = m;
    }
    return count;
}

/*
 * An unmapped page goes where page-out finds it first: nobody is to come back for it.
 * The cache is for what a pager can bring back; whether the clean page of an object
 * without one may go, page-out decides.
 */
static void
behind_settle(struct vm_page *m)
{
    vm_page_flag_clear(m, VM_PAGE_REFERENCED);
    if (atomic_load_explicit(&m->dirty, memory_order_relaxed) != 0 ||
        m->object->type == OBJT_DEFAULT)
        vm_page_deactivate(m);
    else
        vm_page_cache(m);
    vm_page_wakeup(m);
}

void
vm_deactivate_behind(struct vm_object *object, vm_pindex_t pindex)
{
    struct vm_page *run[VM_DEACTIVATE_BEHIND];
    unsigned count;

    vm_mutex_lock(&object->lock);
    count = behind_collect(object, pindex, run);
    vm_mutex_unlock(&object->lock);
    if (count == 0)
        return;
    pmap_pages_unmap(run, count);
    for (unsigned i = 0; i < count; i++)
        (void)vm_page_prove_clean(run[i]);
    vm_mutex_lock(&object->lock);
    for (unsigned i = 0; i < count; i++)
        behind_settle(run[i]);
    vm_mutex_unlock(&object->lock);
}
