/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * WAIT and WAKE: vCPUs that sleep until another one says that a word of memory changed.
 *
 * The word is the one that the guest would reach through the address: its object, its page in
 * the object, its place in the page.  For an address in a window that is the word of RAM that the
 * window shows there when the call is made.  Any other address is its own name: what object is
 * behind it may change while a vCPU waits (a copy that is written, a page that goes to swap), and
 * the word is still the one at that address.  Two such addresses name one word if they show one
 * page of one object that neither of them is going to replace by a copy of its own.
 *
 * Comparing and queueing are one step to the guest.  A waiter is queued first and reads the word
 * then: whoever stores another value and calls WAKE after that either finds the waiter queued, or
 * had stored before the waiter read.  A waiter that has not compared yet is woken by any WAKE of its
 * word, and not counted against the number that the WAKE is for, since it may have been about to
 * refuse.
 *
 * Locks: `words`, the queue's.  It comes after a device's and before those of the engine; no page is
 * waited for with it.
 */
#ifndef WAIT_H
#define WAIT_H

#include "vmm/doorbell/call.h"
#include "vmm/vpagetable/vm_fault.h"
#include "vmm/vpagetable/vm_lock.h"

#include <bsd/sys/queue.h>

/* Why a vCPU's sleep ended. */
enum wait_sleep {
    WAIT_WOKEN,
    WAIT_TIMED_OUT,
    WAIT_INTERRUPTED /* it has something else to do: back to the guest */
};

/* How the queue's vCPUs sleep. */
struct wait_ops {
    /*
     * By the vCPU's own thread.  A wake-up after `prepare` ends the sleep that follows, or lets it
     * not begin.  `deadline` in ns of clock_now_ns, or WAIT_FOREVER.
     */
    void (*prepare)(void *context, unsigned cpu);
    enum wait_sleep (*sleep)(void *context, unsigned cpu, uint64_t deadline);
    /* From any thread; `words` held. */
    void (*wake)(void *context, unsigned cpu);
    /* The vCPU is about to sleep without a time-out, `words` held; true = no vCPU is left that could
     * ever wake another.  Undone by `unpark` when it is woken, `words` held. */
    bool (*park)(void *context);
    void (*unpark)(void *context);
    /* `park` said true to this vCPU.  No lock held. */
    void (*all_parked)(void *context, unsigned cpu);
};

#define WAIT_FOREVER UINT64_MAX

TAILQ_HEAD(wait_list, waiter); /* wait.c */

struct wait_queue {
    struct vm_map *map;         /* (c) borrowed */
    uint64_t ram_slot;          /* (c) slot of the first page of RAM's object: */
    uint64_t ram_pages;         /* (c) page index = GPA >> PAGE_SHIFT */
    const struct wait_ops *ops; /* (c) borrowed */
    void *context;              /* (c) borrowed */
    struct vm_mutex lock;       /* words */
    struct wait_list waiters;   /* words: oldest first; each vCPU is there once at most */
};

/* RAM's object has `ram_pages` pages. */
void wait_queue_init(struct wait_queue *queue, struct vm_map *map, const struct vm_object *ram,
                     uint64_t ram_pages, const struct wait_ops *ops, void *context);

/* Nobody waits. */
void wait_queue_fini(struct wait_queue *queue);

/*
 * WAIT of vCPU `cpu`, by its thread: sleep if the word is what is expected.
 * Locks: none held; takes `words` and the engine's; sleeps.
 * Returns VM_OK with *error 0 (woken, or for no reason), -EBUSY (the word is something else),
 * -ETIMEDOUT; or why the word cannot be read, with *info.
 */
enum vm_result wait_queue_wait(struct wait_queue *queue, unsigned cpu, const struct call_wait *call,
                               int *error, struct vm_fault_info *info)
    __attribute__((warn_unused_result));

/*
 * WAKE: end the waits for the word, the oldest first, `call->count` at most.
 * Locks: as above.
 * Returns VM_OK with how many there were in *woken; or why there is no such word, with *info.
 */
enum vm_result wait_queue_wake(struct wait_queue *queue, const struct call_wake *call,
                               unsigned *woken, struct vm_fault_info *info)
    __attribute__((warn_unused_result));

#endif
