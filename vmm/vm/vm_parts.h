/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a VM consists of: host, swap, memory system, address space, RAM, windows, files, vCPUs.
 */
#ifndef VM_PARTS_H
#define VM_PARTS_H

#include "vmm/base/failure.h"

struct vm;

/*
 * Make all parts of a zeroed VM whose config is set and checked.
 * Returns 0, or -errno with *failure filled and no part left.
 */
int vm_parts_make(struct vm *vm, struct failure *failure) __attribute__((warn_unused_result));

/* The reverse.  No thread of the VM runs any more. */
void vm_parts_unmake(struct vm *vm);

#endif
