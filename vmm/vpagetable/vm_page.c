/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages: their states, queues and frames.
 *
 * A transition ends with vm_page_assert_state, which checks the invariants of
 * vm_page.h by number.  Waiting is by one bit in the page (VM_PAGE_WANTED, set
 * with O held by whoever is about to sleep) and one condition per object: the
 * end of a busy, held or FREEING state broadcasts only if the bit is set.
 *
 * Locks: O by the caller unless a function says otherwise; Q inside.
 */
#include "vmm/vpagetable/vm_page.h"

#include "vmm/vpagetable/pv.h"
#include "vmm/vpagetable/vm_budget.h"
#include "vmm/vpagetable/vm_pager.h"

#include <string.h>

static bool
resident_test(const struct vm_object *object, vm_pindex_t pindex)
{
    return (object->resident[pindex / 64] >> (pindex % 64) & 1) != 0;
}

static void
resident_set(struct vm_object *object, vm_pindex_t pindex)
{
    object->resident[pindex / 64] |= (uint64_t)1 << (pindex % 64);
    object->resident_count++;
}

static void
resident_clear(struct vm_object *object, vm_pindex_t pindex)
{
    object->resident[pindex / 64] &= ~((uint64_t)1 << (pindex % 64));
    object->resident_count--;
}

static struct vm_page *
slot_page(const struct vm_object *object, vm_pindex_t pindex)
{
    assert(pindex < object->size);
    return &object->sys->pages[object->extent + pindex];
}

uint64_t
vm_page_slot(const struct vm_page *m)
{
    return (uint64_t)(m - m->object->sys->pages);
}

vm_pindex_t
vm_page_pindex(const struct vm_page *m)
{
    return vm_page_slot(m) - m->object->extent;
}

vm_frame_t
vm_page_frame(const struct vm_page *m)
{
    return vm_page_slot(m) + (uint64_t)m->frame_delta;
}

void *
vm_page_address(const struct vm_page *m)
{
    return vm_frame_address(m->object->sys, vm_page_frame(m));
}

static void
assert_free(const struct vm_page *m)
{
    assert(atomic_load(&m->flags) == 0 && m->queue == PQ_NONE);
    assert(m->hold_count == 0 && m->hold_refs == 0 && m->wire_count == 0);
    assert(m->valid == 0 && atomic_load(&m->dirty) == 0);
}

static void
assert_freeing(const struct vm_page *m)
{
    assert(!resident_test(m->object, vm_page_pindex(m)));
    assert(!vm_page_flag_test(m, VM_PAGE_BUSY | VM_PAGE_ZERO));
    assert(m->hold_count != 0 && m->wire_count == 0 && m->queue == PQ_HOLD);
}

static void
assert_resident(const struct vm_page *m)
{
    assert(resident_test(m->object, vm_page_pindex(m)));
    assert(vm_page_flag_test(m, VM_PAGE_BUSY) || m->valid);
    assert(!vm_page_flag_test(m, VM_PAGE_DOUBT) ||
           atomic_load_explicit(&m->dirty, memory_order_relaxed) != 0);
    assert(!vm_page_flag_test(m, VM_PAGE_ZERO) || (m->hold_count == 0 && m->queue == PQ_NONE));
    assert(m->wire_count == 0 || m->queue == PQ_NONE);
    assert(m->hold_count != 0 || m->hold_refs == 0);
    assert(m->queue != PQ_HOLD && m->queue < PQ_COUNT);
    assert(m->queue != PQ_CACHE || vm_page_flag_test(m, VM_PAGE_BUSY) ||
           atomic_load_explicit(&m->dirty, memory_order_relaxed) == 0);
}

void
vm_page_assert_state(const struct vm_page *m)
{
    if (m->object == NULL) {
        assert_free(m);
        return;
    }
    assert(vm_page_pindex(m) < m->object->size);
    assert(vm_page_frame(m) < m->object->sys->store_pages);
    if (vm_page_flag_test(m, VM_PAGE_FREEING))
        assert_freeing(m);
    else
        assert_resident(m);
}

/* Move the page to the end of a queue, or to none. */
static void
queue_set(struct vm_page *m, enum vm_page_queue queue)
{
    struct vm_system *sys = m->object->sys;

    if (m->queue == queue)
        return;
    vm_mutex_lock(&sys->queue_lock);
    if (m->queue != PQ_NONE) {
        TAILQ_REMOVE(&sys->queues[m->queue], m, pageq);
        sys->queue_length[m->queue]--;
    }
    m->queue = (uint8_t)queue;
    if (queue != PQ_NONE) {
        TAILQ_INSERT_TAIL(&sys->queues[queue], m, pageq);
        sys->queue_length[queue]++;
    }
    vm_mutex_unlock(&sys->queue_lock);
}

/* Let `to` take over the place of `from` in its queue. */
static void
queue_replace(struct vm_page *from, struct vm_page *to)
{
    struct vm_system *sys = from->object->sys;

    if (from->queue == PQ_NONE)
        return;
    vm_mutex_lock(&sys->queue_lock);
    TAILQ_INSERT_AFTER(&sys->queues[from->queue], from, to, pageq);
    TAILQ_REMOVE(&sys->queues[from->queue], from, pageq);
    to->queue = from->queue;
    from->queue = PQ_NONE;
    vm_mutex_unlock(&sys->queue_lock);
}

static void
wake_waiters(struct vm_object *object, unsigned flags)
{
    if ((flags & VM_PAGE_WANTED) != 0)
        vm_cond_broadcast(&object->busy);
}

struct vm_page *
vm_page_lookup(struct vm_object *object, vm_pindex_t pindex)
{
    if (pindex >= object->size || !resident_test(object, pindex))
        return NULL;
    return slot_page(object, pindex);
}

/* Let the slots of two pages exchange their frames. */
static void
frames_exchange(struct vm_system *sys, struct vm_page *a, struct vm_page *b)
{
    uint64_t slot_a = (uint64_t)(a - sys->pages);
    uint64_t slot_b = (uint64_t)(b - sys->pages);
    int64_t frame_a = (int64_t)slot_a + a->frame_delta;
    int64_t frame_b = (int64_t)slot_b + b->frame_delta;

    a->frame_delta = frame_b - (int64_t)slot_a;
    b->frame_delta = frame_a - (int64_t)slot_b;
    vm_slot_set_moved(sys, slot_a, a->frame_delta != 0);
    vm_slot_set_moved(sys, slot_b, b->frame_delta != 0);
}

/*
 * A slot has become FREE: it gives a FREE slot's frame back for the one that has, and so on.
 * Each step brings one frame home, and the last of a ring of slots to become FREE all of them
 * (invariant 7).
 */
static void
frame_go_home(struct vm_system *sys, struct vm_page *m) VM_REQUIRES(sys->moved_lock)
{
    while (m->frame_delta != 0) {
        struct vm_page *home = m + m->frame_delta;

        if (home->object != NULL)
            break;
        frames_exchange(sys, m, home);
    }
}

/* A FREE slot becomes one of the object's pages, or its page goes.  See D in docs/locking.md. */
static void
slot_take(struct vm_page *m, struct vm_object *object)
{
    struct vm_system *sys = object->sys;

    if (!vm_slot_is_moved(sys, (uint64_t)(m - sys->pages))) {
        m->object = object;
        return;
    }
    vm_mutex_lock(&sys->moved_lock);
    m->object = object;
    vm_mutex_unlock(&sys->moved_lock);
}

static void
slot_give(struct vm_page *m)
{
    struct vm_system *sys = m->object->sys;

    if (!vm_slot_is_moved(sys, vm_page_slot(m))) {
        m->object = NULL;
        return;
    }
    vm_mutex_lock(&sys->moved_lock);
    m->object = NULL;
    frame_go_home(sys, m);
    vm_mutex_unlock(&sys->moved_lock);
}

struct vm_page *
vm_page_alloc(struct vm_object *object, vm_pindex_t pindex)
{
    struct vm_page *m = slot_page(object, pindex);

    assert(!resident_test(object, pindex));
    /* The array is sparse: a first access that reads would map the host's shared page of zeros,
     * and the write after it would interrupt every core to flush that mapping. */
    *(volatile uint8_t *)&m->act_count = 0;
    atomic_signal_fence(memory_order_seq_cst);
    if (m->object != NULL || !vm_budget_take(object->sys))
        return NULL;
    assert_free(m);
    slot_take(m, object);
    m->act_count = 0;
    atomic_store_explicit(&m->flags, VM_PAGE_BUSY | VM_PAGE_ZERO, memory_order_relaxed);
    resident_set(object, pindex);
    vm_page_assert_state(m);
    return m;
}

bool
vm_page_is_freeing(const struct vm_object *object, vm_pindex_t pindex)
{
    return pindex < object->size && object->freeing_count != 0 &&
           vm_page_flag_test(slot_page(object, pindex), VM_PAGE_FREEING);
}

/*
 * Make npages frames holes again.  Should the host refuse, the memory stays, but
 * no old byte may show up in the next page that lives there.
 */
static void
frames_give_back(struct vm_system *sys, vm_frame_t frame, uint64_t npages)
{
    if (vm_frame_punch_run(sys, frame, npages) != 0)
        memset(vm_frame_address(sys, frame), 0, npages << PAGE_SHIFT);
}

/*
 * End a page's residence: lookups do not find it any more, but it keeps its slot
 * and frame.  Returns the flags it had.
 */
static unsigned
page_remove(struct vm_page *m)
{
    struct vm_object *object = m->object;
    unsigned flags = atomic_exchange_explicit(&m->flags, 0, memory_order_relaxed);

    assert((flags & VM_PAGE_BUSY) != 0 && m->wire_count == 0);
    assert(pv_none(m));
    queue_set(m, PQ_NONE);
    resident_clear(object, vm_page_pindex(m));
    m->valid = 0;
    atomic_store_explicit(&m->dirty, 0, memory_order_relaxed);
    wake_waiters(object, flags);
    return flags;
}

/* The slot of a removed page, whose frame is a hole, becomes FREE. */
static void
page_finish(struct vm_page *m)
{
    slot_give(m);
    assert_free(m);
}

void
vm_page_free(struct vm_page *m)
{
    struct vm_object *object = m->object;
    unsigned flags;

    vm_page_assert_state(m);
    flags = page_remove(m);
    if (m->hold_count != 0) {
        vm_page_flag_set(m, VM_PAGE_FREEING);
        queue_set(m, PQ_HOLD);
        object->freeing_count++;
        vm_page_assert_state(m);
        return;
    }
    if ((flags & VM_PAGE_ZERO) == 0)
        frames_give_back(object->sys, vm_page_frame(m), 1);
    page_finish(m);
    vm_budget_give(object->sys, 1);
}

/* A run of frames that is to become one hole: [start, end), empty if both are equal. */
struct frame_run {
    vm_frame_t start;
    vm_frame_t end;
};

/*
 * Add a frame to the run, or start the next one with it.  While no frame of the
 * store was ever moved, what lies between two pages of an object is its own
 * slots' holes, and one call may cross them.
 */
static void
frame_run_add(struct vm_system *sys, struct frame_run *run, vm_frame_t frame)
{
    bool near = frame == run->end || atomic_load(&sys->moved_slots) == 0;

    if (run->start != run->end && !near) {
        frames_give_back(sys, run->start, run->end - run->start);
        run->start = run->end;
    }
    if (run->start == run->end)
        run->start = frame;
    run->end = frame + 1;
}

void
vm_page_free_run(struct vm_page *const *m, unsigned count)
{
    struct vm_system *sys = m[0]->object->sys;
    struct frame_run run = { 0, 0 };

    for (unsigned i = 0; i < count; i++) {
        assert(m[i]->hold_count == 0);
        assert(i == 0 || (m[i - 1] < m[i] && m[i - 1]->object == m[i]->object));
        if ((page_remove(m[i]) & VM_PAGE_ZERO) == 0)
            frame_run_add(sys, &run, vm_page_frame(m[i]));
    }
    if (run.start != run.end)
        frames_give_back(sys, run.start, run.end - run.start);
    for (unsigned i = 0; i < count; i++)
        page_finish(m[i]);
    vm_budget_give(sys, count);
}

void
vm_page_busy(struct vm_page *m)
{
    assert(!vm_page_flag_test(m, VM_PAGE_BUSY | VM_PAGE_FREEING));
    vm_page_flag_set(m, VM_PAGE_BUSY);
    vm_page_assert_state(m);
}

void
vm_page_wakeup(struct vm_page *m)
{
    const unsigned ended = VM_PAGE_BUSY | VM_PAGE_WANTED;
    unsigned flags = atomic_fetch_and_explicit(&m->flags, (uint16_t)~ended, memory_order_relaxed);

    assert((flags & VM_PAGE_BUSY) != 0);
    vm_page_assert_state(m);
    wake_waiters(m->object, flags);
}

void
vm_page_sleep_busy(struct vm_object *object, vm_pindex_t pindex, const _Atomic bool *stop)
{
    struct vm_page *m;

    if (pindex >= object->size)
        return;
    m = slot_page(object, pindex);
    while (vm_page_flag_test(m, VM_PAGE_BUSY | VM_PAGE_FREEING) && !vm_stopped(stop)) {
        vm_page_flag_set(m, VM_PAGE_WANTED);
        vm_cond_wait_until(&object->busy, &object->lock, stop);
    }
}

/* The last hold of a FREEING page is gone: it becomes FREE. */
static void
page_free_held(struct vm_page *m)
{
    struct vm_object *object = m->object;

    queue_set(m, PQ_NONE);
    atomic_store_explicit(&m->flags, 0, memory_order_relaxed);
    frames_give_back(object->sys, vm_page_frame(m), 1);
    page_finish(m);
    vm_budget_give(object->sys, 1);
    object->freeing_count--;
    vm_cond_broadcast(&object->busy);
}

void
vm_page_hold_ended(struct vm_page *m)
{
    unsigned flags;

    if (vm_page_flag_test(m, VM_PAGE_FREEING)) {
        page_free_held(m);
        return;
    }
    flags = atomic_fetch_and_explicit(&m->flags, (uint16_t)~VM_PAGE_WANTED, memory_order_relaxed);
    wake_waiters(m->object, flags);
}

void
vm_page_wire(struct vm_page *m)
{
    assert(!vm_page_flag_test(m, VM_PAGE_FREEING));
    assert(m->wire_count < UINT32_MAX);
    if (m->wire_count++ == 0)
        atomic_fetch_add_explicit(&m->object->sys->wired_pages, 1, memory_order_relaxed);
    queue_set(m, PQ_NONE);
    vm_page_assert_state(m);
}

void
vm_page_unwire(struct vm_page *m, bool activate)
{
    assert(m->wire_count > 0);
    if (--m->wire_count != 0)
        return;
    atomic_fetch_sub_explicit(&m->object->sys->wired_pages, 1, memory_order_relaxed);
    if (activate)
        vm_page_activate(m);
    else
        vm_page_deactivate(m);
}

static void
page_enqueue(struct vm_page *m, enum vm_page_queue queue)
{
    assert(!vm_page_flag_test(m, VM_PAGE_FREEING));
    if (m->wire_count == 0)
        queue_set(m, queue);
    vm_page_assert_state(m);
}

void
vm_page_activate(struct vm_page *m)
{
    if (m->act_count < ACT_INIT)
        m->act_count = ACT_INIT;
    page_enqueue(m, PQ_ACTIVE);
}

void
vm_page_deactivate(struct vm_page *m)
{
    page_enqueue(m, PQ_INACTIVE);
}

void
vm_page_unqueue(struct vm_page *m)
{
    page_enqueue(m, PQ_NONE);
}

void
vm_page_cache(struct vm_page *m)
{
    assert(atomic_load(&m->dirty) == 0 && pv_none(m));
    page_enqueue(m, PQ_CACHE);
}

void
vm_page_requeue(struct vm_page *m)
{
    struct vm_system *sys = m->object->sys;

    if (m->queue == PQ_NONE)
        return;
    vm_mutex_lock(&sys->queue_lock);
    TAILQ_REMOVE(&sys->queues[m->queue], m, pageq);
    TAILQ_INSERT_TAIL(&sys->queues[m->queue], m, pageq);
    vm_mutex_unlock(&sys->queue_lock);
}

/* Returns whether there was a doubt. */
static bool
doubt_clear(struct vm_page *m)
{
    bool doubt = vm_page_flag_test(m, VM_PAGE_DOUBT);

    if (doubt)
        vm_page_flag_clear(m, VM_PAGE_DOUBT);
    return doubt;
}

void
vm_page_dirty(struct vm_page *m)
{
    (void)doubt_clear(m);
    atomic_store_explicit(&m->dirty, 1, memory_order_relaxed);
}

void
vm_page_modified(struct vm_page *m) VM_NO_LOCK_ANALYSIS
{
    bool doubt = doubt_clear(m);

    if (atomic_exchange_explicit(&m->dirty, 1, memory_order_relaxed) == 0 || doubt)
        vm_pager_unswapped(m->object, vm_page_pindex(m));
}

void
vm_page_zero_fill(struct vm_page *m)
{
    void *page = vm_page_address(m);

    assert(vm_page_flag_test(m, VM_PAGE_BUSY));
    if (vm_page_flag_test(m, VM_PAGE_ZERO))
        *(volatile uint8_t *)page = 0;
    else
        memset(page, 0, PAGE_SIZE);
    vm_page_flag_clear(m, VM_PAGE_ZERO);
}

bool
vm_page_is_zero(const struct vm_page *m)
{
    const uint64_t *words = vm_page_address(m);

    assert(vm_page_flag_test(m, VM_PAGE_BUSY) && !vm_page_flag_test(m, VM_PAGE_ZERO));
    for (unsigned i = 0; i < PAGE_SIZE / sizeof(*words); i++) {
        if (words[i] != 0)
            return false;
    }
    return true;
}

void
vm_page_copy(const struct vm_page *src, struct vm_page *dst)
{
    assert(vm_page_flag_test(dst, VM_PAGE_BUSY));
    if (vm_page_flag_test(src, VM_PAGE_ZERO)) {
        vm_page_zero_fill(dst);
        return;
    }
    memcpy(vm_page_address(dst), vm_page_address(src), PAGE_SIZE);
    vm_page_flag_clear(dst, VM_PAGE_ZERO);
}

void
vm_page_exchange_frames(struct vm_page *a, struct vm_page *b)
{
    assert(vm_page_flag_test(a, VM_PAGE_BUSY) && !vm_page_flag_test(a, VM_PAGE_ZERO));
    assert(vm_page_flag_test(b, VM_PAGE_BUSY) && !vm_page_flag_test(b, VM_PAGE_ZERO));
    frames_exchange(a->object->sys, a, b);
}

/* Hand the state of a busy page over to that of another slot. */
static void
page_hand_over(struct vm_page *from, struct vm_page *to)
{
    const unsigned kept = ~(unsigned)(VM_PAGE_WANTED | VM_PAGE_WRITEABLE);
    unsigned flags = atomic_exchange_explicit(&from->flags, 0, memory_order_relaxed);

    to->valid = from->valid;
    to->act_count = from->act_count;
    atomic_store_explicit(&to->flags, (uint16_t)(flags & kept), memory_order_relaxed);
    queue_replace(from, to);
    from->valid = 0;
    atomic_store_explicit(&from->dirty, 0, memory_order_relaxed);
    wake_waiters(from->object, flags);
}

struct vm_page *
vm_page_rename(struct vm_page *m, struct vm_object *object, vm_pindex_t pindex)
{
    struct vm_page *to = slot_page(object, pindex);
    struct vm_system *sys = object->sys;

    vm_page_assert_state(m);
    assert(vm_page_flag_test(m, VM_PAGE_BUSY) && m->valid);
    assert(m->wire_count == 0 && m->hold_count == 0);
    assert(pv_none(m) && to->object == NULL);
    resident_clear(m->object, vm_page_pindex(m));
    resident_set(object, pindex);
    vm_mutex_lock(&sys->moved_lock);
    to->object = object;
    page_hand_over(m, to);
    frames_exchange(sys, m, to);
    m->object = NULL;
    frame_go_home(sys, m);
    vm_mutex_unlock(&sys->moved_lock);
    vm_page_dirty(to);
    if (to->queue == PQ_CACHE)
        vm_page_deactivate(to);
    vm_page_assert_state(m);
    vm_page_assert_state(to);
    return to;
}
