/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine without vCPUs: a memory system and a map, over a machine half of the pmap
 * that does nothing, so that what is measured is vmm/vpagetable and not the host; or
 * over the real one.
 *
 * The one that does nothing leaves a hole a hole; it reads as zeros all the same, and a
 * million pages cost no memory.
 */
#ifndef BENCH_ENGINE_H
#define BENCH_ENGINE_H

#include "vmm/kvm/kvm_pmap.h"
#include "vmm/vpagetable/vm_fault.h"

struct bench_engine {
    struct vm_system sys;
    struct pmap pmap;
    struct vm_map map;
    struct kvm_host host;
    struct kvm_vm kvm;
    struct kvm_pmap *kpmap; /* NULL = the machine half that does nothing */
};

/* `kvm`: over the real machine half. */
void bench_engine_init(struct bench_engine *engine, bool kvm);
void bench_engine_fini(struct bench_engine *engine);

/* Map npages of the object from `offset` on at gpa; takes over a reference.  NULL: of a new one. */
void bench_engine_map(struct bench_engine *engine, uint64_t gpa, uint64_t npages,
                      struct vm_object *object, vm_pindex_t offset);

/*
 * A window of vpte64 at gpa, below 1 GiB in size, whose page i is page i * step modulo npages of the
 * object, which is mapped at 0 too; A and M are set.  Its tables are the object's pages from `tables`
 * on.  Takes over a reference.
 */
void bench_engine_map_window(struct bench_engine *engine, uint64_t gpa, uint64_t npages,
                             struct vm_object *object, vm_pindex_t tables, uint64_t step);

void bench_engine_unmap(struct bench_engine *engine, uint64_t gpa, uint64_t npages);

/* One fault, which must succeed. */
void bench_engine_fault(struct bench_engine *engine, uint64_t gpa, vm_prot_t access,
                        unsigned flags);

/* Make all pages of a range resident, in runs. */
void bench_engine_populate(struct bench_engine *engine, uint64_t gpa, uint64_t npages);

/* Drop what is mapped there; data stays. */
void bench_engine_drop(struct bench_engine *engine, uint64_t gpa, uint64_t npages);

/*
 * Nanoseconds per fault on `count` pages, page i at gpa(i, context), one by one.
 */
double bench_engine_ns_per_fault(struct bench_engine *engine, uint64_t count,
                                 uint64_t (*gpa)(uint64_t i, const void *context),
                                 const void *context, vm_prot_t access);

#endif
