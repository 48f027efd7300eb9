/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The machine half of the pmap on Linux: windows are host address space behind
 * KVM memslots, registered with userfaultfd for MISSING, MINOR and WP.
 *
 * Natural frames are entered with UFFDIO_ZEROPAGE / UFFDIO_COPY (holes) or
 * UFFDIO_CONTINUE (filled), a run at a time, without splitting a VMA.  Foreign
 * frames are mapped with mmap(MAP_FIXED); they cost a VMA each, so when the
 * process comes near vm.max_map_count old foreign mappings are dropped.
 * Source: DESIGN section 5, facts 1 to 10, cited by number in the code.
 */
#ifndef KVM_PMAP_H
#define KVM_PMAP_H

#include "vmm/kvm/kvm_host.h"
#include "vmm/vpagetable/pmap.h"

struct kvm_pmap; /* kvm_pmap.c */

extern const struct pmap_ops kvm_pmap_ops; /* md is a struct kvm_pmap * */

/* Statistics of the machine half. */
struct kvm_pmap_statistics {
    uint64_t enter_calls;
    uint64_t natural_pages;
    uint64_t foreign_pages;
    uint64_t foreign_evictions; /* foreign mappings dropped to stay below max_map_count */
    uint64_t windows;
};

/* Borrows host and sys.  Returns 0 or -ENOMEM. */
int kvm_pmap_create(struct kvm_host *host, struct vm_system *sys, struct kvm_pmap **kpmap)
    __attribute__((warn_unused_result));
void kvm_pmap_destroy(struct kvm_pmap *kpmap);

/*
 * The guest address behind a window's host address, or false when no window has it.
 * Async-signal-unsafe; takes a lock of its own, never sleeps for I/O.
 */
bool kvm_pmap_gpa(struct kvm_pmap *kpmap, uint64_t host_address, gpa_t *gpa);

/*
 * Make the access of a blocked vCPU fail: page at gpa becomes inaccessible and
 * its waiters wake, so that their KVM_RUN returns EFAULT (DESIGN fact 6).
 * Counts; each call is undone by one kvm_pmap_unfail.
 * Returns 0 or -errno.
 */
int kvm_pmap_fail(struct kvm_pmap *kpmap, gpa_t gpa) __attribute__((warn_unused_result));
void kvm_pmap_unfail(struct kvm_pmap *kpmap, gpa_t gpa);

/* End of the VM: make every window inaccessible and wake everybody.  No way back. */
void kvm_pmap_abort(struct kvm_pmap *kpmap);

void kvm_pmap_statistics(struct kvm_pmap *kpmap, struct kvm_pmap_statistics *out);

#endif
