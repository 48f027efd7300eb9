/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A whole engine with swap, a file and a plain model of what its memory holds, for tests that
 * make its calls fail: an operation that fails leaves the model what it was.
 *
 * A page of the model has one value: its first word; the last one is made of that.
 */
#ifndef WORLD_H
#define WORLD_H

#include "tests/unit/fault_rig.h"
#include "vmm/pager/file_pager.h"
#include "vmm/pager/swap_pager.h"

#include <stdio.h>
#include <stdlib.h>

#define WORLD_PAGES 512u  /* guest pages that the model knows */
#define WORLD_STORE 2048u /* slots of the frame store */
#define WORLD_BUDGET 256u /* pages */
#define WORLD_SWAP 64u    /* slots */
#define WORLD_FILE 24u    /* pages */
#define WORLD_SHARED 0x1u /* world_map_file */
#define WORLD_PRIVATE 0x2u

/* One page of content, shared by the guest pages that show the same memory. */
struct content {
    uint64_t value;
    uint64_t other; /* of a write that failed half-way: it may have this one; else as value */
};

/* Calls of the world's that the test answers. */
struct world_host {
    struct file_pager_io file;
    struct swap_device_io swap;
    int (*refuse)(enum fake_operation operation, unsigned npages, unsigned *entered);
};

struct world {
    struct rig rig;
    const struct world_host *host; /* borrowed */
    struct swap_device *swap;
    int swap_fd;
    int file;
    int error;                    /* of a step that failed: negative errno */
    unsigned progress;            /* within a step of several operations; the step's own */
    unsigned cell[WORLD_PAGES];   /* index in contents; 0 = not known */
    bool unreadable[WORLD_PAGES]; /* its entry forbids reads */
    struct content contents[WORLD_PAGES * 2];
    unsigned ncontents;
    uint64_t file_value[WORLD_FILE]; /* the file's pages when all is written back ... */
    uint64_t file_other[WORLD_FILE]; /* ... or this: a write-back that failed was the last */
    unsigned shared;                 /* where the file is mapped shared; 0 = nowhere */
    unsigned messages;               /* of pageout_error */
};

#define WORLD_CHECK(condition, ...)                                                   \
    do {                                                                              \
        if (!(condition)) {                                                           \
            fprintf(stderr, "%s:%d: not true: %s: ", __func__, __LINE__, #condition); \
            fprintf(stderr, __VA_ARGS__);                                             \
            fputc('\n', stderr);                                                      \
            abort();                                                                  \
        }                                                                             \
    } while (0)

/* Make it; `host` is borrowed.  The file's pages have values, swap is empty. */
void world_init(struct world *w, const struct world_host *host);

/* Take it down; the file then has what memory had. */
void world_fini(struct world *w);

/* The engine audit; `frames` as in struct audit; `slots` of swap are the test's. */
void world_audit(struct world *w, uint64_t slots, bool frames);

/* Memory has what the model says. */
void world_look(struct world *w);

/*
 * Operations.  Each returns whether it succeeded; if not, world.error says why
 * and the model is what it was.  Pages are guest pages.
 */
bool world_map(struct world *w, unsigned page, unsigned npages, vm_prot_t prot, unsigned eflags);
bool world_map_file(struct world *w, unsigned page, unsigned npages, unsigned kind,
                    enum vm_map_advice advice);
bool world_map_growing(struct world *w, unsigned page, unsigned npages, unsigned growth);
bool world_store(struct world *w, unsigned page, uint64_t value);
bool world_load(struct world *w, unsigned page);
bool world_store_run(struct world *w, unsigned page, unsigned npages, uint64_t value);
bool world_load_run(struct world *w, unsigned page, unsigned npages);
bool world_copy_in(struct world *w, unsigned page, unsigned npages, uint64_t value);
bool world_copy_out(struct world *w, unsigned page, unsigned npages);
bool world_copy(struct world *w, unsigned from, unsigned to, unsigned npages);
bool world_remove(struct world *w, unsigned page, unsigned npages);
bool world_protect(struct world *w, unsigned page, unsigned npages, vm_prot_t prot);
bool world_advise(struct world *w, unsigned page, unsigned npages, enum vm_map_advice advice);
bool world_wire(struct world *w, unsigned page, unsigned npages, bool user);
bool world_unwire(struct world *w, unsigned page, unsigned npages, bool user);
bool world_inval(struct world *w, unsigned page, unsigned npages);
bool world_setmap(struct world *w, unsigned page, unsigned npages, vpte_t root);
bool world_pageout(struct world *w, unsigned npages);
bool world_flush(struct world *w, unsigned page);
/* For operations that call the engine themselves: what became of it. */
bool world_did(struct world *w, int error);
bool world_faulted(struct world *w, enum vm_result result, const struct vm_fault_info *info);

/* Guest page `to` shows from now on what `from` shows. */
void world_alias(struct world *w, unsigned to, unsigned from);
/* The pages hold zeros that nobody has seen. */
void world_fresh(struct world *w, unsigned page, unsigned npages);

#endif
