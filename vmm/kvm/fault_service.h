/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fault threads: read userfaultfd messages, call vm_fault, tell the vCPU
 * when its access must fail.
 *
 * A violation arrives in one of three ways; all end here or in the vCPU's own
 * thread:
 *   - a userfaultfd message: a fault thread, or a worker where it has to wait for something,
 *     resolves it and the vCPU goes on, or records a failure for that vCPU and makes KVM_RUN
 *     return EFAULT;
 *   - KVM_RUN returns EFAULT: the vCPU thread asks fault_service_take_failure, and also after
 *     EINTR, because KVM tries some instructions again and again until a kick ends that;
 *   - KVM_EXIT_MMIO (an access that KVM emulates): the vCPU thread asks the same,
 *     and if there is nothing, makes the access itself (vm_map_read, vm_map_write).
 *
 * Threads are placed for speed; see docs/hosts.md for what was measured.
 */
#ifndef FAULT_SERVICE_H
#define FAULT_SERVICE_H

#include "vmm/kvm/fault_report.h"
#include "vmm/kvm/kvm_pmap.h"
#include "vmm/vpagetable/vm_fault.h"

struct fault_service; /* fault_service.c */

enum fault_placement {
    FAULT_PLACE_AUTO, /* chosen by measuring from those that this host has room for */
    FAULT_PLACE_SPIN, /* the others: one of fault_tuner.h's ways and no other */
    FAULT_PLACE_SPIN_SHORT,
    FAULT_PLACE_SPIN_BARE,
    FAULT_PLACE_BLOCK,
    FAULT_PLACE_SAME_CORE
};

#define FAULT_SUSPECT 1000u

struct fault_service_config {
    const struct kvm_vm *kvm; /* borrowed */
    struct vm_map *map;       /* borrowed */
    struct kvm_pmap *kpmap;   /* borrowed */
    unsigned nvcpus;
    unsigned nthreads; /* 0 = chosen */
    enum fault_placement placement;
    /*
     * KVM may hand a vCPU's fault to a thread of the kernel's, which is then the one that waits
     * (docs/hosts.md, Asynchronous page faults).
     */
    bool foreign;
    /*
     * The service cannot go on (a thread died, an ioctl failed in a way that
     * leaves a vCPU blocked, vm_fault reported VM_HOST_FAILURE): end the VM.
     * `message` is one line.  Called from a fault thread, a worker, or a vCPU thread in
     * fault_service_take_failure, at most once in the service's life.
     */
    void (*fatal)(void *context, const char *message);
    /* FAULT_SUSPECT times in a row a vCPU faulted on a page although it had, all the time, the
     * mapping that resolved it the time before: look whether it makes progress.  Called again
     * after as many more.  From a fault thread or a worker. */
    void (*suspect)(void *context, unsigned vcpu, gpa_t gpa);
    /* A vCPU has not come for its failure, or nobody will look whether it does: make it leave
     * KVM_RUN, it asks then.  From a fault thread or a worker. */
    void (*kick)(void *context, unsigned vcpu);
    /*
     * A vCPU's message was read, and what it wants is about to be resolved; it has its answer, and
     * `record` is what a trace calls it (UINT64_MAX: it does not).  Neither for foreign threads.
     * From a fault thread or a worker; NULL = nobody wants to know.
     */
    void (*asked)(void *context, unsigned vcpu, gpa_t gpa, vm_prot_t access);
    void (*answered)(void *context, unsigned vcpu, uint64_t record);
    /* The trace's lane of a fault thread, asked before it starts (vm_fault_origin); NULL = none. */
    void *(*lane)(void *context, unsigned thread);
    /* There are fewer threads than there should be, and `error` says why: faults may have to wait for
     * each other.  `message` lives for ever.  From fault_service_start or a fault thread. */
    void (*warn)(void *context, const char *message, int error);
    /* A fault thread begins.  From it; NULL = nobody is told. */
    void (*begins)(void *context);
    void *context;
};

/* Start the threads, as many of them as can be made.  Returns 0; -errno when not even one can. */
int fault_service_start(const struct fault_service_config *config, struct fault_service **service)
    __attribute__((warn_unused_result));

/*
 * Stop and join all threads; the vCPU threads must have ended.  Faults under way are finished: where
 * the VM ends, its map's stop flag has let them end early.  Recorded failures are undone.
 * *report, if not NULL: what the service did.
 */
void fault_service_stop(struct fault_service *service, struct fault_report *report);

/* The same while it runs: what was done up to now.  Any thread. */
void fault_service_report(struct fault_service *service, struct fault_report *report);

/* The calling thread is vCPU `index` from now on (its thread id is in the messages). */
void fault_service_attach(struct fault_service *service, unsigned index);

/*
 * KVM_RUN of vCPU `index` returned EFAULT or EINTR (or KVM_EXIT_MMIO): was a failure
 * recorded for it?  Called by that vCPU's thread.
 * true: *info says what to inject; the page's protection is restored.
 * false: nothing recorded (fact 2 of docs/hosts.md): run it again.  Failures of other vCPUs
 * that these have not asked for in a while are taken back, so that a page they
 * keep inaccessible cannot hold this one up: whoever still must fail faults again.
 */
bool fault_service_take_failure(struct fault_service *service, unsigned index,
                                struct vm_fault_info *info);

/*
 * KVM_RUN of a vCPU failed, or KVM emulates an access, and no failure is recorded for the vCPU.  Was
 * an access made to fail that a foreign thread made for some vCPU, nobody knows which and how?
 * true: the page's protection is restored; what the instruction at RIP needs tells whether that vCPU
 * was it, and what becomes of it.
 */
bool fault_service_take_foreign(struct fault_service *service);

/* For tests: make fault thread `index` end as if its read had failed. */
void fault_service_kill_thread(struct fault_service *service, unsigned index);

#endif
