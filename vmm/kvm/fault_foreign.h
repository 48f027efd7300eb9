/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Faults of threads that are no vCPU's.  Internal to fault_service.c.
 *
 * Where KVM hands a vCPU's fault to a thread of the kernel's, that thread asks for write access
 * whatever the vCPU wants, and its id is no vCPU's, or is one by accident, as it is of another PID
 * namespace.  So nothing is done on its word.  A page that is not mapped is mapped for reading,
 * which may do.  When the thread comes again because it wants to write, it is made to fail: the
 * page becomes inaccessible, the thread gives up, the vCPU makes its access itself, fails, and
 * its instruction tells what it needs (fault_service_take_foreign).  What no instruction tells of,
 * as the processor's own use of tables and stacks, comes a third time, and then it is a write.
 *
 * Locks: `failure` of the record (fault_vcpu.h).
 */
#ifndef FAULT_FOREIGN_H
#define FAULT_FOREIGN_H

#include "vmm/kvm/fault_vcpu.h"

/* How many pages are remembered that a write was refused for. */
#define FAULT_FOREIGN_REFUSED 256u

struct fault_foreign {
    bool expected;            /* (c) KVM hands faults over */
    bool ids_tell;            /* (c) a message with a vCPU's thread id is that vCPU's */
    struct fault_vcpu record; /* of all such threads: one failure at a time waits to be taken */
    _Atomic uint64_t refused[FAULT_FOREIGN_REFUSED]; /* (a) pages, + 1; 0 = none */
};

/* `expected`: KVM hands faults over; else who is no vCPU is an error, to be told by its failure. */
void fault_foreign_init(struct fault_foreign *foreign, bool expected);

/*
 * Is it unknown which vCPU wants what by a message?  from_vcpu: the sender's id is a vCPU's.
 * Any thread, without a lock.
 */
bool fault_foreign_is_unknown(const struct fault_foreign *foreign, bool from_vcpu);

/*
 * A message asks for writing, and it is unknown who wants that: is it to be refused?
 * The first time it is; when it comes again, and no other page took its place meanwhile, it is
 * not, and that is forgotten.  Any thread, without a lock.
 */
bool fault_foreign_refuses_write(struct fault_foreign *foreign, gpa_t gpa);

#endif
