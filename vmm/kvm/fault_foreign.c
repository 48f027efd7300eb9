/* SPDX-License-Identifier: BSD-2-Clause */
/* See fault_foreign.h. */
#include "vmm/kvm/fault_foreign.h"

#include "vmm/kvm/thread_ids.h"

void
fault_foreign_init(struct fault_foreign *foreign, bool expected)
{
    foreign->expected = expected;
    foreign->ids_tell = !expected || thread_ids_are_unique(THREAD_IDS_NAMESPACE);
    fault_vcpu_init(&foreign->record);
    for (size_t i = 0; i < FAULT_FOREIGN_REFUSED; i++)
        atomic_init(&foreign->refused[i], 0);
}

bool
fault_foreign_is_unknown(const struct fault_foreign *foreign, bool from_vcpu)
{
    return foreign->expected && (!from_vcpu || !foreign->ids_tell);
}

bool
fault_foreign_refuses_write(struct fault_foreign *foreign, gpa_t gpa)
{
    uint64_t page = gpa_to_u64(gpa) >> PAGE_SHIFT;
    _Atomic uint64_t *refused = &foreign->refused[page % FAULT_FOREIGN_REFUSED];

    if (atomic_exchange(refused, page + 1) != page + 1)
        return true;
    atomic_store(refused, 0);
    return false;
}
