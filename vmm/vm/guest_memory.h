/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How loaders put bytes into guest memory: vm_map_write in a VM, an array in the unit tests.
 */
#ifndef GUEST_MEMORY_H
#define GUEST_MEMORY_H

#include "vmm/base/failure.h"
#include "vmm/vpagetable/vm_fault.h"

struct guest_memory {
    enum vm_result (*write)(void *context, gpa_t gpa, const void *from, size_t size,
                            struct vm_fault_info *info);
    void *context; /* borrowed */
};

/*
 * Write to guest memory; `what` names the bytes.
 * Returns 0; -EFAULT, or what the host failed with, with *failure filled.
 */
int guest_memory_write(const struct guest_memory *memory, gpa_t gpa, const void *from, size_t size,
                       const char *what, struct failure *failure)
    __attribute__((warn_unused_result));

#endif
