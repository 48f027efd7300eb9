/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A VM of vkvm that runs touch.S: what a guest sees of each kind of fault.
 */
#ifndef BENCH_GUEST_H
#define BENCH_GUEST_H

#include "tests/bench/touch.h"

#include "vmm/vm/vm.h"
#include "vmm/vm/vm_host.h"

struct bench_guest {
    struct vm_host_config host;                /* bench_guest_init's, then the caller's */
    struct vm_config config;                   /* likewise */
    struct touch_params touch[TOUCH_MAX_CPUS]; /* of each vCPU; with results after the run */
    /* Brings memory into the state to be measured; NULL = it is fresh. */
    void (*prepare)(struct bench_guest *guest, struct vm_map *map);
    /* Takes back what `prepare` holds, after the run; may be NULL. */
    void (*finish)(struct bench_guest *guest, struct vm_map *map);
    struct vm_page *pinned; /* prepare's */
};

/* One vCPU, `memory` bytes of RAM, the defaults of `vkvm run`. */
void bench_guest_init(struct bench_guest *guest, uint64_t memory);

/* Make the VM, run it, destroy it.  Returns ns from the first vCPU's begin to the last one's end. */
double bench_guest_run(struct bench_guest *guest);

/* The same for one touched page, in microseconds. */
double bench_guest_us_per_page(struct bench_guest *guest);

/* Write guest memory before the run. */
void bench_guest_poke(struct vm_map *map, uint64_t gpa, const void *data, size_t size);

/* Make the pages of a touch resident and map them writable. */
void bench_guest_populate(struct vm_map *map, const struct touch_params *touch);

/*
 * Wire the page at gpa, so that the object it is in cannot be collapsed; and let it go again.
 * (A hold would do that too, but it also counts as a use of the object.)
 */
struct vm_page *bench_pin(struct vm_map *map, uint64_t gpa);
void bench_unpin(struct vm_page *m);

/* Map npages of fresh zero-fill memory at gpa. */
void bench_guest_add_region(struct vm_map *map, uint64_t gpa, uint64_t npages);

#endif
