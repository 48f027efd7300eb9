/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A whole engine for the tests of faults: RAM once at GPA 0, windows on demand,
 * a fake machine, and a pager that can be told to fail or to wait.
 */
#ifndef FAULT_RIG_H
#define FAULT_RIG_H

#include "tests/unit/fake_pmap.h"
#include "vmm/vpagetable/vm_fault.h"
#include "vmm/vpagetable/vm_page.h"
#include "vmm/vpagetable/vm_pager.h"

#include <pthread.h>
#include <stdatomic.h>

#define RIG_PAGES 4096u                 /* of RAM */
#define RIG_WINDOW UINT64_C(0x40000000) /* where windows go */
#define RIG_PASS (VPTE_V | VPTE_R | VPTE_W | VPTE_X)

struct rig {
    struct vm_system sys;
    struct fake_pmap fake;
    struct pmap pmap;
    struct vm_map map;
    struct vm_object *ram; /* a reference of the rig's */
};

/* What the pager does with page p: its 64-bit words are p * 512 + index. */
struct rig_pager {
    struct vm_mutex lock; /* guards what follows */
    struct vm_cond cond;
    uint64_t have_first, have_end; /* the pages it has */
    enum vm_pager_result result;   /* of getpages */
    bool gone;                     /* with FAIL: from then on it has no page */
    uint64_t skip;                 /* this page is not done, though others are */
    uint64_t wait_page;            /* reads of this page wait ... */
    bool wait;                     /* ... or of all, until rig_pager_release ... */
    unsigned waiting;              /* ... and counts itself here */
    unsigned calls;                /* of getpages */
    unsigned pages;                /* asked for */
    uint64_t last_first, last_end; /* the latest call's */
};

/* RAM of RIG_PAGES zero-fill pages, in one NORMAL entry at GPA 0.  budget 0 = none. */
void rig_init(struct rig *rig, uint64_t budget);

/* The same in two steps: nothing mapped; then `ram`, whose reference passes to the rig. */
void rig_init_empty(struct rig *rig, uint64_t budget);
void rig_init_store(struct rig *rig, uint64_t budget, uint64_t store_pages);
void rig_map_ram(struct rig *rig, struct vm_object *ram, vm_prot_t prot);

/* Let `object` show `backing`, a reference of which passes to it, from `offset` on. */
void rig_shadow(struct vm_object *object, struct vm_object *backing, vm_pindex_t offset);

/* The engine audit (audit.h), and the machine's.  Nothing may be under way. */
void rig_audit(struct rig *rig);
void rig_fini(struct rig *rig);

/* An object of npages behind a new test pager; free the pager after the rig. */
struct vm_object *rig_pager_object(struct rig *rig, uint64_t npages, struct rig_pager *pager);

/* rig_init on such an object instead of a zero-fill one. */
void rig_init_pager(struct rig *rig, struct rig_pager *pager);

/* Wait until so many reads wait; let them go on. */
void rig_pager_wait_for(struct rig_pager *pager, unsigned waiting);
void rig_pager_release(struct rig_pager *pager);

/* A VPAGETABLE entry of npages at `start` on RAM. */
void rig_window(struct rig *rig, uint64_t start, uint64_t npages, vm_prot_t prot,
                const struct vpte_format *format, vpte_t root);

/* The entry around gpa, looked up by nothing that could change it. */
struct vm_map_entry *rig_entry(struct rig *rig, uint64_t gpa);

/* Faults.  `rig_info` of the calling thread has the details. */
extern _Thread_local struct vm_fault_info rig_info;
enum vm_result rig_touch(struct rig *rig, uint64_t gpa, vm_prot_t access);
enum vm_result rig_burst(struct rig *rig, uint64_t gpa, vm_prot_t access);

/* A guest's accesses: fault until they go through. */
uint64_t rig_load(struct rig *rig, uint64_t gpa);
void rig_store(struct rig *rig, uint64_t gpa, uint64_t value);

/* Entry `index` of the vpte64 table in RAM page `page`; made resident by writing. */
void rig_vpte_set(struct rig *rig, uint64_t page, unsigned index, vpte_t vpte);
_Atomic uint64_t *rig_vpte(struct rig *rig, uint64_t page, unsigned index);

/* vpte of a RAM page. */
vpte_t rig_pte(uint64_t page, vpte_t flags);

/* Tables in pages 1 to 4 so that window page i maps RAM page first + i * stride, with flags. */
vpte_t rig_tables(struct rig *rig, unsigned npages, uint64_t first, uint64_t stride, vpte_t flags);

/*
 * rig_init, and tables for a window whose page i is RAM page 100 + 3 * i, for the first npages;
 * of these the first ones are resident, with value i.  Returns the root.
 */
vpte_t rig_window_tables(struct rig *rig, unsigned npages, unsigned resident, vpte_t flags);

/* The same, all npages resident, and a window of 512 pages at RIG_WINDOW. */
void rig_window_init(struct rig *rig, unsigned npages, vpte_t flags);

/* The flags of the window's entry `index`. */
vpte_t rig_window_flags(struct rig *rig, unsigned index);

/*
 * The access fails so, by vm_fault and by vm_fault_page, counts as one failure each
 * and leaves nothing behind.
 */
void rig_expect_failure(struct rig *rig, uint64_t gpa, vm_prot_t access, enum vm_result result);

/* What is mapped: the protection, or NONE. */
vm_prot_t rig_mapped(struct rig *rig, uint64_t gpa);

/* The resident page of RAM, or NULL; no lock is kept. */
struct vm_page *rig_page(struct vm_object *object, uint64_t pindex);

void rig_busy(struct vm_page *m);
void rig_wakeup(struct vm_page *m);

/* The counters of the rig's map, and of its memory. */
#define rig_meter(rig, name) vm_meter_get(&(rig)->map.meter, name)
#define rig_system_meter(rig, name) vm_meter_get(&(rig)->sys.meter, name)

/* A fault in a thread of its own. */
struct rig_fault {
    struct rig *rig;
    uint64_t gpa;
    vm_prot_t access;
    pthread_t thread;
    enum vm_result result;
    struct vm_fault_info info;
    _Atomic bool done;
};
void rig_fault_start(struct rig_fault *fault, struct rig *rig, uint64_t gpa, vm_prot_t access);
enum vm_result rig_fault_join(struct rig_fault *fault);

/* Wait until the expression holds; the test's timeout is the end. */
#define rig_until(expression) \
    while (!(expression))     \
    sched_yield()

#endif
