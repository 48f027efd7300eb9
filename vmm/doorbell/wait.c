/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The queue of waiting vCPUs.  It is a plain list: there are no more waiters than vCPUs.
 */
#include "vmm/doorbell/wait.h"

#include "vmm/base/clock.h"
#include "vmm/vpagetable/vm_object.h"
#include "vmm/vpagetable/vm_page.h"

#include <errno.h>

/* One vCPU that waits; on its thread's stack. */
struct waiter {
    TAILQ_ENTRY(waiter) link; /* words, while `queued` */
    unsigned cpu;             /* (c) */
    gpa_t word;               /* (c) as word_find gave it */
    bool queued;              /* words: neither woken nor gone */
    bool compared;            /* words: the word was what is expected */
    bool parked;              /* words: told to ops->park */
};

/* --- Words --------------------------------------------------------------- */

/* The name of the word at gpa; see wait.h.  The guest is not to find the look among its faults. */
static enum vm_result
word_find(const struct wait_queue *queue, gpa_t gpa, gpa_t *word, struct vm_fault_info *info)
{
    enum vm_result result;
    struct vm_page *m;
    uint64_t pindex;

    result = vm_fault_page(queue->map, gpa, VM_PROT_READ, VM_FAULT_QUIET, &m, info);
    if (result != VM_OK)
        return result;
    /* Whose page it is, its slot tells; what m says of its object may change. */
    pindex = vm_page_slot(m) - queue->ram_slot;
    *word = pindex < queue->ram_pages
                ? gpa_from_u64(pindex << PAGE_SHIFT | (gpa_to_u64(gpa) & PAGE_MASK))
                : gpa;
    vm_page_unhold(m);
    return VM_OK;
}

static bool
word_is(const struct wait_queue *queue, gpa_t a, gpa_t b)
{
    if (gpa_to_u64(a) == gpa_to_u64(b))
        return true;
    return (gpa_to_u64(a) & PAGE_MASK) == (gpa_to_u64(b) & PAGE_MASK) &&
           vm_map_shows_same(queue->map, a, b);
}

/* --- Waiting ------------------------------------------------------------- */

static void
enqueue(struct wait_queue *queue, struct waiter *waiter)
{
    queue->ops->prepare(queue->context, waiter->cpu);
    vm_mutex_lock(&queue->lock);
    TAILQ_INSERT_TAIL(&queue->waiters, waiter, link);
    waiter->queued = true;
    vm_mutex_unlock(&queue->lock);
}

static void
dequeue(struct wait_queue *queue, struct waiter *waiter) VM_REQUIRES(queue->lock)
{
    if (!waiter->queued)
        return;
    TAILQ_REMOVE(&queue->waiters, waiter, link);
    waiter->queued = false;
    if (waiter->parked)
        queue->ops->unpark(queue->context);
    waiter->parked = false;
}

/* The waiter has compared.  Sleep, unless it was woken meanwhile, and take it off the queue. */
static int
sleep_queued(struct wait_queue *queue, struct waiter *waiter, uint64_t deadline)
{
    enum wait_sleep why = WAIT_WOKEN;
    bool last = false, queued;

    vm_mutex_lock(&queue->lock);
    waiter->compared = true;
    queued = waiter->queued;
    if (queued && deadline == WAIT_FOREVER) {
        waiter->parked = true;
        last = queue->ops->park(queue->context);
    }
    vm_mutex_unlock(&queue->lock);
    if (last)
        queue->ops->all_parked(queue->context, waiter->cpu);
    if (queued)
        why = queue->ops->sleep(queue->context, waiter->cpu, deadline);
    vm_mutex_lock(&queue->lock);
    queued = waiter->queued;
    dequeue(queue, waiter);
    vm_mutex_unlock(&queue->lock);
    return why == WAIT_TIMED_OUT && queued ? -ETIMEDOUT : 0;
}

/* When a time-out that begins now has passed. */
static uint64_t
deadline_of(uint64_t timeout_ns)
{
    uint64_t now = clock_now_ns();

    return timeout_ns >= WAIT_FOREVER - now ? WAIT_FOREVER : now + timeout_ns;
}

enum vm_result
wait_queue_wait(struct wait_queue *queue, unsigned cpu, const struct call_wait *call, int *error,
                struct vm_fault_info *info)
{
    struct waiter waiter = { .cpu = cpu };
    uint64_t deadline = deadline_of(call->timeout_ns);
    uint32_t value;
    enum vm_result result;

    result = word_find(queue, call->word, &waiter.word, info);
    if (result != VM_OK)
        return result;
    enqueue(queue, &waiter);
    result = vm_map_peek(queue->map, waiter.word, &value, sizeof(value), info);
    if (result == VM_OK && value == call->expected) {
        *error = sleep_queued(queue, &waiter, deadline);
        return VM_OK;
    }
    vm_mutex_lock(&queue->lock);
    dequeue(queue, &waiter);
    vm_mutex_unlock(&queue->lock);
    *error = -EBUSY;
    return result;
}

/* --- Waking -------------------------------------------------------------- */

enum vm_result
wait_queue_wake(struct wait_queue *queue, const struct call_wake *call, unsigned *woken,
                struct vm_fault_info *info)
{
    struct waiter *waiter, *next;
    uint64_t left = call->count;
    unsigned n = 0;
    gpa_t word;
    enum vm_result result;

    result = word_find(queue, call->word, &word, info);
    if (result != VM_OK)
        return result;
    vm_mutex_lock(&queue->lock);
    TAILQ_FOREACH_SAFE (waiter, &queue->waiters, link, next) {
        if ((waiter->compared && left == 0) || !word_is(queue, waiter->word, word))
            continue;
        left -= waiter->compared;
        n++;
        dequeue(queue, waiter);
        queue->ops->wake(queue->context, waiter->cpu);
    }
    vm_mutex_unlock(&queue->lock);
    *woken = n;
    return VM_OK;
}

void
wait_queue_init(struct wait_queue *queue, struct vm_map *map, const struct vm_object *ram,
                uint64_t ram_pages, const struct wait_ops *ops, void *context)
{
    *queue = (struct wait_queue){
        .map = map,
        .ram_slot = ram->extent,
        .ram_pages = ram_pages,
        .ops = ops,
        .context = context,
    };
    vm_mutex_init(&queue->lock);
    TAILQ_INIT(&queue->waiters);
}

void
wait_queue_fini(struct wait_queue *queue)
{
    assert(TAILQ_EMPTY(&queue->waiters));
    vm_mutex_fini(&queue->lock);
}
