/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The machine half of the pmap on Linux: windows are host address space behind
 * KVM memslots, registered with userfaultfd for MISSING, MINOR and WP.
 *
 * Natural frames are entered with UFFDIO_ZEROPAGE / UFFDIO_COPY (holes) or
 * UFFDIO_CONTINUE (filled), a run at a time, without splitting a VMA.  Foreign
 * frames are mapped with mmap(MAP_FIXED); they cost a VMA each, so when the
 * process comes near vm.max_map_count the oldest foreign mappings are dropped,
 * a chunk at a time, without telling the engine: the next touch faults, and
 * pmap_enter of the page that it believes mapped puts it back.  Windows themselves never run
 * out of VMAs (kvm_window.h) nor of memslots (memslot.h).
 *
 * The engine takes for granted that a mapping can be removed and a window destroyed.  Where the
 * host refuses even that, the VM ends: `fatal`.
 * Source: the facts of docs/hosts.md, cited by number in the code.
 */
#ifndef KVM_PMAP_H
#define KVM_PMAP_H

#include "vmm/kvm/kvm_vm.h"
#include "vmm/vpagetable/pmap.h"

struct kvm_pmap; /* kvm_window.h */

extern const struct pmap_ops kvm_pmap_ops; /* md is a struct kvm_pmap * */

/* Windows live below this guest-physical address; window_create says -EINVAL beyond. */
#define KVM_PMAP_SPACE ((uint64_t)1 << 41)

/* Statistics of the machine half. */
struct kvm_pmap_statistics {
    uint64_t enter_calls;
    uint64_t natural_pages;
    uint64_t foreign_pages;
    uint64_t continued_pages;   /* filled ones entered write-protected in one call (Linux 6.4) */
    uint64_t foreign_evictions; /* foreign mappings dropped to stay below max_map_count */
    uint64_t windows;
    uint64_t superpages;         /* the kernel made a huge page */
    uint64_t superpages_refused; /* ... or did not: small ones are mapped as they are touched */
};

struct kvm_pmap_config {
    const struct kvm_vm *kvm; /* borrowed, until kvm_pmap_create returns */
    struct vm_system *sys;    /* borrowed */
    /*
     * The host refused what the engine relies on: one line, cause and remedy.  It has called
     * kvm_pmap_abort when it returns.  Locks: W and P may be held, or E; not `foreign`.
     */
    void (*fatal)(void *context, const char *message);
    void *context; /* borrowed */
};

/* Returns 0, -ENOMEM, or the -errno of memfd_create, ftruncate, or the userfaultfd. */
int kvm_pmap_create(const struct kvm_pmap_config *config, struct kvm_pmap **kpmap)
    __attribute__((warn_unused_result));
void kvm_pmap_destroy(struct kvm_pmap *kpmap);

/* For tests, before the first window: how many VMAs windows may use (at least
 * 2 * PMAP_CHUNK_PAGES; 0 = as is), and what to call instead of ioctl on the userfaultfd and
 * for memslots (NULL = as is). */
void kvm_pmap_configure(struct kvm_pmap *kpmap, uint64_t vma_limit,
                        int (*ioctl)(int fd, unsigned long request, void *argument));

/*
 * The guest address behind a host address, or false when it lies outside the
 * address space that windows are made in.  No lock: host address and guest
 * address differ by a constant.
 */
bool kvm_pmap_gpa(const struct kvm_pmap *kpmap, uint64_t host_address, gpa_t *gpa);

/* The inverse, for tests: where a window shows gpa.  The monitor never touches it (fact 7). */
void *kvm_pmap_host_address(const struct kvm_pmap *kpmap, gpa_t gpa);

/*
 * A number that changes whenever somebody who waits near gpa may have been
 * woken.  Taken when a fault is reported, it lets kvm_pmap_fail see whether the
 * vCPU can still be waiting.
 */
uint64_t kvm_pmap_wakeups(const struct kvm_pmap *kpmap, gpa_t gpa);

/*
 * Make the access of a blocked vCPU fail: page at gpa becomes inaccessible and
 * its waiters wake, so that their KVM_RUN returns EFAULT (fact 6).
 * Counts; each success is undone by one kvm_pmap_unfail.
 * Returns 0; -EAGAIN when a wake-up came in between: the vCPU may have gone on,
 * nothing is changed, waiters were woken and report again if they still must;
 * -ENOENT when the window is being destroyed: its waiters were woken and get
 * EFAULT; -ENOMEM, or -errno of mprotect.
 */
int kvm_pmap_fail(struct kvm_pmap *kpmap, gpa_t gpa, uint64_t wakeups)
    __attribute__((warn_unused_result));

/* Undo one.  Returns 0, or -errno of mprotect: the page stays inaccessible. */
int kvm_pmap_unfail(struct kvm_pmap *kpmap, gpa_t gpa) __attribute__((warn_unused_result));

/*
 * End of the VM: make everything inaccessible and wake everybody.  No way back.
 * KVM_RUN returns EFAULT from then on, or says what a guest does that loses its
 * memory: KVM_EXIT_MMIO, KVM_EXIT_SHUTDOWN.
 */
void kvm_pmap_abort(struct kvm_pmap *kpmap);

void kvm_pmap_statistics(struct kvm_pmap *kpmap, struct kvm_pmap_statistics *out);

#endif
