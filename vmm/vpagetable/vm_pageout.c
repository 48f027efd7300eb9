/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page-out; see vm_pageout.h.
 *
 *   vm_pageout_scan
 *     scan_pass                  pass 0, 1, ...
 *       scan_queue(PQ_CACHE)       batches of one object's pages:
 *       scan_queue(PQ_INACTIVE)      queue_head    Q: who is at the head; O
 *       scan_queue(PQ_ACTIVE)        batch_collect O: take what can leave, busy
 *                                    batch_unmap   no lock
 *                                    batch_write   no lock, inactive only
 *                                    batch_settle  O: free, cache, requeue; nothing busy
 *
 * A batch is the pages of one object from the head of a queue, and around a dirty one
 * its dirty neighbours, so that they are written together.  Every page that was looked
 * at leaves the head of its queue, so a pass ends after the queue's length.
 *
 * The order is O before Q, but a queue names pages before their object is known: the
 * object is pinned with Q held (scan_pins), Q dropped, O taken.  With O held the pages
 * of the object stay on their queues.
 */
#include "vmm/vpagetable/vm_pageout.h"

#include "vmm/vpagetable/pmap.h"
#include "vmm/vpagetable/vm_pager.h"
#include "vmm/vpagetable/vm_probe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_HEADS 64
#define BATCH_MAX (4 * BATCH_HEADS)

/*
 * Pass 0 deactivates pages whose act_count is used up and counts the others by
 * act_count; the next ones take as many of the lowest as are needed, the last but one any.
 */
#define SCAN_PASSES 6

/*
 * Sampling unmaps, and the guest pays for each page with a fault: so only the last two passes may
 * look at all active pages.  Those before them deactivate at most so many pages for each that is
 * to be freed, and pass 0 looks at so many for each of these, the next ones at twice as many.
 */
#define ACTIVE_WANTED 2
#define ACTIVE_LOOKS 4

struct scan {
    struct vm_system *sys;
    const _Atomic bool *stop; /* borrowed; NULL = none */
    uint64_t target;
    uint64_t freed;
    uint64_t wanted; /* ACTIVE: pages that are still to be deactivated */
    uint64_t unseen; /* ACTIVE: pages that this scan has not looked at, all at the head */
    unsigned pass;
    unsigned threshold; /* ACTIVE: pages with a lower act_count are deactivated */
    /* This pass only. */
    uint64_t kept[ACT_MAX + 1]; /* ACTIVE: pages that were not, by act_count */
    uint64_t hopeful;           /* pages that may leave in a later pass */
    uint64_t busy;              /* pages passed over because somebody has them busy */
    uint64_t held;              /* ... or held */
    uint64_t stuck;             /* INACTIVE: pages passed over, whatever for: no supply */
    const char *failed;         /* why a write failed; NULL = none did */
    int error;                  /* ... and its errno, or 0 */
    bool wrote;
};

/* What becomes of a page of a batch. */
enum verdict {
    VERDICT_STAY, /* back to the end of its queue */
    VERDICT_ACTIVATE,
    VERDICT_DEACTIVATE,
    VERDICT_WRITE,
    VERDICT_FREE
};

struct batch {
    struct vm_object *object;
    enum vm_page_queue queue;
    unsigned count;
    struct vm_page *m[BATCH_MAX]; /* busy; ascending once it is collected */
    bool mapped[BATCH_MAX];
    bool zero[BATCH_MAX]; /* it would be written, and is all zeros */
    bool written[BATCH_MAX];
    bool failed[BATCH_MAX]; /* ... in vain */
    enum verdict verdict[BATCH_MAX];
};

/* --- What may leave ------------------------------------------------------ */

/* Would somebody write the object's dirty pages? */
static bool
object_writes(const struct vm_object *object)
{
    switch (object->type) {
    case OBJT_DEFAULT:
        return object->sys->swap_pager != NULL;
    case OBJT_SWAP:
        return true;
    case OBJT_FILE:
        break;
    }
    return (object->flags & OBJ_WRITEBACK) != 0;
}

/* Is there a way out for the page at all? */
static bool
page_can_leave(const struct vm_page *m)
{
    return atomic_load(&m->dirty) == 0 || object_writes(m->object);
}

/*
 * Does a clean page come back as it is?  One of zero-fill memory that is not in swap
 * was never written to; but with a backing object behind it nobody knows what a
 * later look down the chain would find there.
 */
static bool
page_comes_back(struct vm_object *object, const struct vm_page *m) VM_REQUIRES(object->lock)
{
    if (object->type == OBJT_FILE || object->backing_object == NULL)
        return true;
    return object->pager->haspage(object, vm_page_pindex(m), NULL, NULL);
}

/*
 * Does a page of zeros come back although it is nowhere?  A guest that only reads makes many:
 * they are mapped writable, and so count as dirty.
 */
static bool
zeros_come_back(const struct vm_object *object)
{
    return object->type != OBJT_FILE && object->backing_object == NULL;
}

/* --- Collecting ---------------------------------------------------------- */

/* The object of the page at the head of the queue, pinned; NULL = the queue is empty. */
static struct vm_object *
queue_head(struct vm_system *sys, enum vm_page_queue queue)
{
    struct vm_object *object = NULL;
    struct vm_page *m;

    vm_mutex_lock(&sys->queue_lock);
    m = TAILQ_FIRST(&sys->queues[queue]);
    if (m != NULL) {
        object = m->object;
        object->scan_pins++;
    }
    vm_mutex_unlock(&sys->queue_lock);
    return object;
}

/* The object's pages at the head of a queue.  They stay there while O is held. */
static unsigned
queue_heads(struct vm_object *object, enum vm_page_queue queue, struct vm_page **heads,
            unsigned max) VM_REQUIRES(object->lock)
{
    struct vm_system *sys = object->sys;
    unsigned count = 0;
    struct vm_page *m;

    vm_mutex_lock(&sys->queue_lock);
    TAILQ_FOREACH (m, &sys->queues[queue], pageq) {
        if (m->object != object || count == max)
            break;
        heads[count++] = m;
    }
    vm_mutex_unlock(&sys->queue_lock);
    return count;
}

static void
batch_add(struct batch *batch, struct vm_page *m)
{
    vm_page_busy(m);
    batch->written[batch->count] = false;
    batch->failed[batch->count] = false;
    batch->m[batch->count++] = m;
}

/* Take the page into the batch, or pass it over. */
static void
batch_consider(struct scan *scan, struct batch *batch, struct vm_page *m)
    VM_REQUIRES(batch->object->lock)
{
    bool busy = vm_page_flag_test(m, VM_PAGE_BUSY);

    scan->busy += busy;
    scan->held += !busy && m->hold_count != 0;
    if (busy || m->hold_count != 0 || !page_can_leave(m) ||
        (batch->object->flags & OBJ_DEAD) != 0) {
        scan->stuck += batch->queue == PQ_INACTIVE;
        vm_page_requeue(m);
        return;
    }
    scan->hopeful++;
    batch_add(batch, m);
}

/* Could the page be written together with a neighbour that has to be? */
static bool
page_joins(struct vm_page *m)
{
    return m->queue == PQ_INACTIVE && m->hold_count == 0 && atomic_load(&m->dirty) != 0 &&
           !vm_page_flag_test(m, VM_PAGE_BUSY | VM_PAGE_REFERENCED);
}

/* Add the dirty neighbours of m, on both sides as far as they follow each other. */
static void
batch_add_cluster(struct batch *batch, vm_pindex_t pindex) VM_REQUIRES(batch->object->lock)
{
    vm_pindex_t first = pindex - pindex % VM_PAGEOUT_CLUSTER;
    struct vm_page *m;

    for (vm_pindex_t p = pindex; p > first && batch->count < BATCH_MAX; p--) {
        m = vm_page_lookup(batch->object, p - 1);
        if (m == NULL || !page_joins(m))
            break;
        batch_add(batch, m);
    }
    for (vm_pindex_t p = pindex + 1; p < first + VM_PAGEOUT_CLUSTER && batch->count < BATCH_MAX;
         p++) {
        m = vm_page_lookup(batch->object, p);
        if (m == NULL || !page_joins(m))
            break;
        batch_add(batch, m);
    }
}

static int
page_compare(const void *a, const void *b)
{
    const struct vm_page *const *pa = a;
    const struct vm_page *const *pb = b;

    return (*pa > *pb) - (*pa < *pb);
}

/* Fill the batch; returns how many pages were looked at. */
static unsigned
batch_collect(struct scan *scan, struct batch *batch, unsigned max) VM_REQUIRES(batch->object->lock)
{
    struct vm_page *heads[BATCH_HEADS];
    unsigned examined = queue_heads(batch->object, batch->queue, heads, max);
    unsigned taken;

    batch->count = 0;
    for (unsigned i = 0; i < examined; i++)
        batch_consider(scan, batch, heads[i]);
    taken = batch->count;
    for (unsigned i = 0; i < taken && batch->queue == PQ_INACTIVE; i++) {
        if (atomic_load(&batch->m[i]->dirty) != 0)
            batch_add_cluster(batch, vm_page_pindex(batch->m[i]));
    }
    qsort(batch->m, batch->count, sizeof(struct vm_page *), page_compare);
    return examined;
}

/* Might the page be written in this pass?  Then it is worth a look whether it must be. */
static bool
page_may_be_written(const struct scan *scan, const struct batch *batch, unsigned i)
{
    return batch->queue == PQ_INACTIVE && !(batch->mapped[i] && scan->pass == 0) &&
           atomic_load(&batch->m[i]->dirty) != 0;
}

/* Drop the pages' mappings, noting which had any; which must be written, and are not zeros? */
static void
batch_unmap(const struct scan *scan, struct batch *batch)
{
    for (unsigned i = 0; i < batch->count; i++)
        batch->mapped[i] = pmap_page_is_mapped(batch->m[i]);
    pmap_pages_unmap(batch->m, batch->count);
    for (unsigned i = 0; i < batch->count; i++)
        batch->zero[i] = page_may_be_written(scan, batch, i) && !vm_page_prove_clean(batch->m[i]) &&
                         vm_page_is_zero(batch->m[i]);
}

/* --- Verdicts, with O held and the pages unmapped ------------------------ */

/* A page on PQ_INACTIVE or PQ_CACHE. */
static enum verdict
judge_inactive(const struct scan *scan, const struct batch *batch, unsigned i)
    VM_REQUIRES(batch->object->lock)
{
    struct vm_page *m = batch->m[i];

    if (vm_page_flag_test(m, VM_PAGE_REFERENCED))
        return VERDICT_ACTIVATE;
    if (m->hold_count != 0)
        return VERDICT_STAY;
    if (batch->mapped[i] && scan->pass == 0)
        return VERDICT_STAY;
    if (atomic_load(&m->dirty) == 0 && page_comes_back(batch->object, m))
        return VERDICT_FREE;
    if (batch->queue == PQ_CACHE) /* to be written, which only inactive pages are */
        return VERDICT_DEACTIVATE;
    if (batch->zero[i] && zeros_come_back(batch->object)) {
        atomic_store(&m->dirty, 0);
        vm_pager_unswapped(batch->object, vm_page_pindex(m));
        vm_meter_add(&scan->sys->meter, v_dzero, 1);
        return VERDICT_FREE;
    }
    vm_page_dirty(m);
    return object_writes(batch->object) ? VERDICT_WRITE : VERDICT_ACTIVATE;
}

/*
 * A page on PQ_ACTIVE: its act_count tells.  It declines once in a scan, since between
 * the passes there is no time to touch anything; and not if the page was
 * mapped again as a neighbour, when a touch would not be seen.
 */
static enum verdict
judge_active(struct scan *scan, struct vm_page *m, bool mapped)
{
    if (vm_page_flag_test(m, VM_PAGE_REFERENCED)) {
        vm_page_flag_clear(m, VM_PAGE_REFERENCED);
        m->act_count = (uint8_t)vm_min(m->act_count + ACT_ADVANCE, ACT_MAX);
    } else if (scan->unseen != 0 && !mapped) {
        m->act_count = (uint8_t)(m->act_count > ACT_DECLINE ? m->act_count - ACT_DECLINE : 0);
    }
    if (m->hold_count == 0 && m->act_count < scan->threshold && scan->wanted != 0) {
        scan->wanted--;
        return VERDICT_DEACTIVATE;
    }
    scan->kept[m->act_count]++;
    return VERDICT_STAY;
}

static void
batch_judge(struct scan *scan, struct batch *batch) VM_REQUIRES(batch->object->lock)
{
    for (unsigned i = 0; i < batch->count; i++) {
        if (batch->queue == PQ_ACTIVE)
            batch->verdict[i] = judge_active(scan, batch->m[i], batch->mapped[i]);
        else
            batch->verdict[i] = judge_inactive(scan, batch, i);
    }
}

/* --- Writing ------------------------------------------------------------- */

/* How many pages from the i-th on have consecutive indexes and the same verdict. */
static unsigned
batch_run(const struct batch *batch, unsigned i, unsigned max)
{
    unsigned run = 1;

    while (run < max && i + run < batch->count && batch->m[i + run] == batch->m[i + run - 1] + 1 &&
           batch->verdict[i + run] == batch->verdict[i])
        run++;
    return run;
}

static void
swap_is_full(struct scan *scan, unsigned pages)
{
    vm_meter_add(&scan->sys->meter, v_pageout_failed, pages);
    vm_meter_add(&scan->sys->meter, v_swap_full, pages);
    scan->failed = "page-out: swap is full; modified pages stay in memory";
    scan->error = 0;
}

static void
write_failed(struct scan *scan, int error, unsigned pages)
{
    vm_meter_add(&scan->sys->meter, v_pageout_failed, pages);
    scan->failed = "page-out: writing pages failed; they stay in memory";
    scan->error = error;
}

/* Write a run; what was written may be freed, what was not is still dirty. */
static void
batch_write_run(struct scan *scan, struct batch *batch, unsigned first, unsigned count)
{
    const struct vm_pager_ops *pager = batch->object->pager;
    bool done[VM_PAGEOUT_CLUSTER] = { false };
    enum vm_pager_result result;
    unsigned written = 0;

    result = pager->putpages(batch->object, &batch->m[first], count, done);
    for (unsigned i = 0; i < count; i++) {
        batch->verdict[first + i] = done[i] ? VERDICT_FREE : VERDICT_ACTIVATE;
        batch->written[first + i] = done[i];
        batch->failed[first + i] = !done[i];
        written += done[i];
    }
    scan->wrote = scan->wrote || written != 0;
    vm_meter_add(&scan->sys->meter, v_pageout, written);
    if (written == count)
        return;
    if (result == VM_PAGER_FAIL && pager == scan->sys->swap_pager)
        swap_is_full(scan, count - written);
    else
        write_failed(scan, vm_pager_error(batch->object), count - written);
}

static void
batch_write(struct scan *scan, struct batch *batch)
{
    unsigned run;

    for (unsigned i = 0; i < batch->count; i += run) {
        run = batch_run(batch, i, VM_PAGEOUT_CLUSTER);
        if (batch->verdict[i] == VERDICT_WRITE && !vm_stopped(scan->stop))
            batch_write_run(scan, batch, i, run);
    }
}

/* The first dirty page of a zero-fill object: from now on it has a pager. */
static void
batch_adopt(struct scan *scan, struct batch *batch) VM_REQUIRES(batch->object->lock)
{
    unsigned failed = 0;
    int error = 0;

    if (batch->object->type != OBJT_DEFAULT)
        return;
    for (unsigned i = 0; i < batch->count; i++) {
        int adopted = batch->verdict[i] == VERDICT_WRITE ? vm_pager_adopt_swap(batch->object) : 0;
        if (adopted == 0)
            continue;
        batch->verdict[i] = VERDICT_ACTIVATE;
        batch->failed[i] = true;
        error = adopted;
        failed++;
    }
    if (failed != 0)
        write_failed(scan, error, failed);
}

/* --- Settling, with O held ----------------------------------------------- */

static void
page_settle(struct scan *scan, struct vm_page *m, enum verdict verdict)
{
    if (verdict == VERDICT_ACTIVATE) {
        if (vm_page_flag_test(m, VM_PAGE_REFERENCED))
            vm_meter_add(&scan->sys->meter, v_reactivated, 1);
        vm_page_activate(m);
    } else if (verdict == VERDICT_DEACTIVATE) {
        vm_page_deactivate(m);
    } else if (verdict == VERDICT_FREE) { /* more than was asked for */
        vm_page_cache(m);
    } else {
        vm_page_requeue(m);
    }
    vm_page_wakeup(m);
}

/* Tell of the i-th page, which still has its place. */
static void
trace_page(const struct scan *scan, const struct batch *batch, unsigned i, bool freed)
{
    const struct vm_pageout_trace *trace =
        atomic_load_explicit(&scan->sys->pageout_trace, memory_order_acquire);
    struct vm_page *m = batch->m[i];
    const struct vm_pageout_record record = {
        .object = batch->object->number,
        .pindex = vm_page_pindex(m),
        .slot = (uint64_t)(m - scan->sys->pages),
        .written = batch->written[i],
        .failed = batch->failed[i],
        .freed = freed,
    };

    if (!record.written && !record.failed && !freed)
        return;
    VM_PROBE3(pageout, record.object, record.pindex, record.written);
    if (trace != NULL)
        trace->page(trace->context, &record);
}

/* Free as much of a run as is still needed.  Returns how many pages. */
static unsigned
batch_free_run(struct scan *scan, struct batch *batch, unsigned first, unsigned count)
    VM_REQUIRES(batch->object->lock)
{
    uint64_t needed = scan->freed < scan->target ? scan->target - scan->freed : 0;

    if (batch->verdict[first] != VERDICT_FREE || needed == 0)
        return 0;
    count = (unsigned)vm_min(count, needed);
    for (unsigned i = first; i < first + count; i++)
        trace_page(scan, batch, i, true);
    vm_page_free_run(&batch->m[first], count);
    scan->freed += count;
    return count;
}

static void
batch_settle(struct scan *scan, struct batch *batch) VM_REQUIRES(batch->object->lock)
{
    unsigned run;

    for (unsigned i = 0; i < batch->count; i += run) {
        run = batch_run(batch, i, batch->count);
        for (unsigned j = i + batch_free_run(scan, batch, i, run); j < i + run; j++) {
            trace_page(scan, batch, j, false);
            page_settle(scan, batch->m[j], batch->verdict[j]);
        }
    }
}

/* --- One batch, one queue, one pass -------------------------------------- */

/* Look at no more than `max` pages of the pinned object; returns at how many. */
static unsigned
scan_object(struct scan *scan, struct vm_object *object, enum vm_page_queue queue, unsigned max)
{
    struct batch batch; /* batch_collect sets count, and what lies below it is set before use */
    unsigned examined;

    batch.object = object;
    batch.queue = queue;
    vm_mutex_lock(&batch.object->lock);
    examined = batch_collect(scan, &batch, max);
    if (batch.count != 0) {
        vm_object_pip_add(batch.object);
        vm_mutex_unlock(&batch.object->lock);
        batch_unmap(scan, &batch);
        vm_mutex_lock(&batch.object->lock);
        batch_judge(scan, &batch);
        batch_adopt(scan, &batch);
        if (queue == PQ_INACTIVE) {
            vm_mutex_unlock(&batch.object->lock);
            batch_write(scan, &batch);
            vm_mutex_lock(&batch.object->lock);
        }
        batch_settle(scan, &batch);
        vm_object_pip_wakeup(batch.object);
    }
    vm_mutex_unlock(&batch.object->lock);
    if (queue == PQ_ACTIVE)
        scan->unseen -= vm_min(scan->unseen, examined);
    vm_meter_add(&scan->sys->meter, v_pdpages, examined);
    return examined;
}

static uint64_t
queue_length(struct vm_system *sys, enum vm_page_queue queue)
{
    uint64_t length;

    vm_mutex_lock(&sys->queue_lock);
    length = sys->queue_length[queue];
    vm_mutex_unlock(&sys->queue_lock);
    return length;
}

/* Is there nothing left to do on this queue? */
static bool
scan_satisfied(const struct scan *scan, enum vm_page_queue queue)
{
    return queue == PQ_ACTIVE ? scan->wanted == 0 : scan->freed >= scan->target;
}

/* How many pages to look at next: no more pages leave than are needed. */
static unsigned
scan_batch(const struct scan *scan, enum vm_page_queue queue, uint64_t left)
{
    uint64_t most = queue == PQ_ACTIVE ? BATCH_HEADS : scan->target - scan->freed;

    return (unsigned)vm_min(vm_min(left, most), BATCH_HEADS);
}

/* Look at each page of the queue at most once, at `most` of them. */
static void
scan_queue(struct scan *scan, enum vm_page_queue queue, uint64_t most)
{
    struct vm_system *sys = scan->sys;
    uint64_t left = vm_min(queue_length(sys, queue), most);

    while (left != 0 && !scan_satisfied(scan, queue) && !vm_stopped(scan->stop)) {
        struct vm_object *object = queue_head(sys, queue);
        unsigned examined;

        if (object == NULL)
            break;
        examined = scan_object(scan, object, queue, scan_batch(scan, queue, left));
        vm_object_scan_unpin(object);
        left -= examined != 0 ? examined : 1;
    }
}

/* How many active pages to look at in this pass, with `needed` pages still to be freed. */
static uint64_t
active_looks(const struct scan *scan, uint64_t needed)
{
    if (needed == 0) /* sampling has its price: in proportion to what was freed */
        return vm_max(2 * scan->target, BATCH_HEADS);
    if (scan->pass >= SCAN_PASSES - 2)
        return UINT64_MAX;
    return vm_max((scan->wanted * ACTIVE_LOOKS) << scan->pass, BATCH_HEADS);
}

/* Let PQ_INACTIVE have its share, by and by, and what is still to be freed. */
static void
scan_active(struct scan *scan)
{
    uint64_t needed = scan->freed < scan->target ? scan->target - scan->freed : 0;
    uint64_t wanted = scan->sys->budget.inactive_target + needed;
    uint64_t supply = queue_length(scan->sys, PQ_INACTIVE);
    uint64_t active = queue_length(scan->sys, PQ_ACTIVE);
    uint64_t most;

    supply -= vm_min(supply, scan->stuck);
    scan->wanted = wanted > supply ? wanted - supply : 0;
    if (needed != 0 && scan->pass < SCAN_PASSES - 2)
        scan->wanted = vm_min(scan->wanted, ACTIVE_WANTED * needed);
    most = active_looks(scan, needed);
    scan_queue(scan, PQ_ACTIVE, most);
    scan->hopeful += active - vm_min(active, most);
}

static void
scan_pass(struct scan *scan)
{
    memset(scan->kept, 0, sizeof(scan->kept));
    scan->hopeful = 0;
    scan->busy = 0;
    scan->held = 0;
    scan->stuck = 0;
    scan_queue(scan, PQ_CACHE, UINT64_MAX);
    scan_queue(scan, PQ_INACTIVE, UINT64_MAX);
    scan_active(scan);
}

/* Tell when pages cannot be written any more; a scan that could write ends that. */
static void
scan_report(struct scan *scan)
{
    struct vm_system *sys = scan->sys;
    bool news;

    if (scan->failed == NULL && !scan->wrote)
        return;
    vm_mutex_lock(&sys->budget.lock);
    news = scan->failed != NULL && scan->failed != sys->budget.failing;
    sys->budget.failing = scan->failed;
    vm_mutex_unlock(&sys->budget.lock);
    if (news && sys->pageout_error != NULL)
        sys->pageout_error(sys->pageout_error_context, scan->failed, scan->error);
}

/* The threshold that deactivates what the pass before this one still wanted. */
static unsigned
scan_threshold(const struct scan *scan)
{
    uint64_t pages = 0;
    unsigned threshold = 0;

    if (scan->pass >= SCAN_PASSES - 2)
        return ACT_MAX + 1;
    while (threshold <= ACT_MAX && pages < scan->wanted)
        pages += scan->kept[threshold++];
    return threshold;
}

static void
scan_run(struct scan *scan)
{
    scan->unseen = queue_length(scan->sys, PQ_ACTIVE);
    for (scan->pass = 0; scan->pass < SCAN_PASSES && scan->freed < scan->target; scan->pass++) {
        scan->threshold = scan->pass == 0 ? 1 : scan_threshold(scan);
        scan_pass(scan);
        if (scan->hopeful == 0 || vm_stopped(scan->stop))
            break;
    }
    scan_report(scan);
    vm_meter_add(&scan->sys->meter, v_dfree, scan->freed);
    if (scan->freed == 0 && scan->target != 0 && !vm_stopped(scan->stop))
        atomic_store(&scan->sys->budget.futile, true);
}

void
vm_pageout_try(struct vm_system *sys, uint64_t target, const _Atomic bool *stop,
               struct vm_pageout_outcome *outcome)
{
    struct scan scan = { .sys = sys, .stop = stop, .target = target };

    scan_run(&scan);
    *outcome = (struct vm_pageout_outcome){
        .freed = scan.freed,
        .busy = scan.busy,
        .held = scan.held,
    };
}

uint64_t
vm_pageout_scan(struct vm_system *sys, uint64_t target)
{
    struct vm_pageout_outcome outcome;

    vm_pageout_try(sys, target, NULL, &outcome);
    return outcome.freed;
}
