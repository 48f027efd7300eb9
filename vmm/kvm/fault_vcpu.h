/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the fault service knows of a vCPU: its thread, the failure that waits for it, and whether
 * it makes progress.  Internal to fault_service.c.
 *
 * A vCPU waits for one answer at a time.  A signal can end that wait early; then it faults
 * again, and two of its messages are under way.  Only the latest one may make it fail: the page of
 * an earlier one is just woken, in case that somebody waits there after all.
 *
 * Locks: each vCPU has a mutex (`failure`), before the pmap's `foreign`.
 */
#ifndef FAULT_VCPU_H
#define FAULT_VCPU_H

#include "vmm/kvm/kvm_pmap.h"
#include "vmm/vpagetable/vm_fault.h"

#include <stdatomic.h>
#include <sys/types.h>

struct fault_vcpu {
    struct vm_mutex lock;         /* failure */
    _Atomic pid_t tid;            /* (a) 0 = not attached */
    _Atomic unsigned messages;    /* (a) how many came: the number of the latest one */
    _Atomic uint64_t asked_at;    /* (a) ns, when that was read; 0 = none came */
    bool failing;                 /* failure: a failure waits to be taken */
    uint64_t failed_at;           /* failure */
    uint64_t kick_at;             /* failure: when the failure should have been taken */
    struct vm_fault_info failure; /* failure */
    uint64_t page;                /* failure: progress watch: what was resolved last, ... */
    unsigned generation;          /* failure: ... by which mapping, */
    unsigned repeats;             /* failure: and how often in a row it was there already */
};

#define FAULT_KICK_NS 4000000u
#define FAULT_NO_MAPPING ~0u /* no generation */

void fault_vcpu_init(struct fault_vcpu *vcpu);

/*
 * The vCPU's fault was resolved by the mapping of that generation, or with FAULT_NO_MAPPING it is
 * to fault again.  Does it come back without end for a mapping that it has had all the time?
 * A mapping that was dropped, replaced or write-protected in between, by whomever, is another
 * one: a vCPU that waits for a word in such a page is well.
 * Returns true after FAULT_SUSPECT times, and each time after as many more.
 */
bool fault_vcpu_repeats(struct fault_vcpu *vcpu, gpa_t gpa, unsigned generation);

/*
 * Record a failure of the vCPU's message `number` and make the access fail.  None is recorded.
 * Returns 0; -ESTALE: a later message came, nothing was done; or as kvm_pmap_fail.
 */
int fault_vcpu_fail(struct fault_vcpu *vcpu, struct kvm_pmap *kpmap, unsigned number,
                    const struct vm_fault_info *info, uint64_t wakeups)
    __attribute__((warn_unused_result));

/*
 * Take the recorded failure, if there is one that is at least min_age_ns old, into *info.
 * When it returns true the caller makes the page accessible again (kvm_pmap_unfail).
 */
bool fault_vcpu_take(struct fault_vcpu *vcpu, uint64_t min_age_ns, struct vm_fault_info *info)
    __attribute__((warn_unused_result));

/*
 * Should the vCPU have come for its failure by now?  KVM may be trying the instruction again and
 * again by itself (docs/hosts.md); a kick ends that.
 * Returns true after FAULT_KICK_NS, and again each time as long as it has taken by then.
 */
bool fault_vcpu_overdue(struct fault_vcpu *vcpu);

#endif
