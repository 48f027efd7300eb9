/* SPDX-License-Identifier: BSD-2-Clause */
/* See fault_vcpu.h. */
#include "vmm/kvm/fault_vcpu.h"

#include "vmm/base/clock.h"
#include "vmm/kvm/fault_service.h"

#include <errno.h>

void
fault_vcpu_init(struct fault_vcpu *vcpu)
{
    vm_mutex_init(&vcpu->lock);
    vcpu->page = UINT64_MAX;
}

bool
fault_vcpu_repeats(struct fault_vcpu *vcpu, gpa_t gpa, unsigned generation)
{
    uint64_t page = gpa_to_u64(gpa) >> PAGE_SHIFT;
    bool again;

    vm_mutex_lock(&vcpu->lock);
    again = vcpu->page == page && vcpu->generation == generation;
    vcpu->page = page;
    vcpu->generation = generation;
    vcpu->repeats = again ? vcpu->repeats + 1 : 0;
    again = again && vcpu->repeats % FAULT_SUSPECT == 0;
    vm_mutex_unlock(&vcpu->lock);
    return again;
}

/* The lock is held across kvm_pmap_fail, so that the vCPU, woken by it, finds the record. */
int
fault_vcpu_fail(struct fault_vcpu *vcpu, struct kvm_pmap *kpmap, unsigned number,
                const struct vm_fault_info *info, uint64_t wakeups)
{
    int error = -ESTALE;

    vm_mutex_lock(&vcpu->lock);
    if (atomic_load(&vcpu->messages) == number) {
        error = kvm_pmap_fail(kpmap, info->gpa, wakeups);
        vcpu->failing = error == 0 || error == -ENOENT;
        vcpu->failure = *info;
        vcpu->failed_at = clock_now_ns();
        vcpu->kick_at = vcpu->failed_at + FAULT_KICK_NS;
    }
    vm_mutex_unlock(&vcpu->lock);
    return error == -ENOENT ? 0 : error;
}

bool
fault_vcpu_take(struct fault_vcpu *vcpu, uint64_t min_age_ns, struct vm_fault_info *info)
{
    bool taken;

    vm_mutex_lock(&vcpu->lock);
    taken = vcpu->failing && (min_age_ns == 0 || clock_now_ns() - vcpu->failed_at >= min_age_ns);
    if (taken) {
        *info = vcpu->failure;
        vcpu->failing = false;
    }
    vm_mutex_unlock(&vcpu->lock);
    return taken;
}

bool
fault_vcpu_overdue(struct fault_vcpu *vcpu)
{
    uint64_t now = clock_now_ns();
    bool overdue;

    vm_mutex_lock(&vcpu->lock);
    overdue = vcpu->failing && now >= vcpu->kick_at;
    if (overdue)
        vcpu->kick_at = now + (now - vcpu->failed_at);
    vm_mutex_unlock(&vcpu->lock);
    return overdue;
}
