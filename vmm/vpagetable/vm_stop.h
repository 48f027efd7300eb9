/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The stop flag: how a VM that has ended gets its threads back from the engine.
 *
 * A flag is set once and for good, by any thread, with no lock and no wake-up.  The map of the VM
 * knows it (vm_map.stop); functions that know no map take it as `stop`, and NULL is a flag that
 * nobody ever sets.
 *
 * Contract: whatever can take longer than some 10 ms looks at the flag between pages, portions
 * and waits.  Once it is set, a call ends with -ECANCELED, a fault that would have to wait with
 * VM_HOST_FAILURE and that errno.  Such a call is neither done nor undone: nobody runs any more
 * who could tell.  But every invariant holds and nothing leaks: pages count as wired as far as they are,
 * and what was still to be unmapped or destroyed waits for vm_map_fini, which nothing stops.
 *
 * Who sleeps looks at the flag every VM_STOP_POLL microseconds.  So who sets it need not know
 * where anybody sleeps.
 */
#ifndef VM_STOP_H
#define VM_STOP_H

#include "vmm/vpagetable/vm_lock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define VM_STOP_POLL 10000

static inline bool
vm_stopped(const _Atomic bool *stop)
{
    return stop != NULL && atomic_load_explicit(stop, memory_order_relaxed);
}

/* Wait for the condition, or for at most VM_STOP_POLL when there is a flag. */
static inline void
vm_cond_wait_until(struct vm_cond *c, struct vm_mutex *m, const _Atomic bool *stop) VM_REQUIRES(m)
{
    if (stop == NULL)
        vm_cond_wait(c, m);
    else
        vm_cond_wait_for(c, m, VM_STOP_POLL);
}

#endif
