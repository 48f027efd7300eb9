/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the threads of test_hammer.c have in common: one map, places in it, a guest's and the
 * monitor's accesses.
 */
#ifndef HAMMER_H
#define HAMMER_H

#include "tests/unit/fake_pmap.h"
#include "vmm/vpagetable/vm_fault.h"
#include "vmm/vpagetable/vm_page.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define WORDS 512u
#define PASS (VPTE_V | VPTE_R | VPTE_W | VPTE_X)

enum {
    VCPUS = 3,
    WRITERS = 2,
    COPIERS = 2,
    REMAPPERS = 2,
    WORKERS = VCPUS + WRITERS + COPIERS + REMAPPERS + 2
};

#define BUDGET 128u
#define SWAP_PAGES 8192u
#define STORE_PAGES (1u << 15)

#define RAM_GPA UINT64_C(0x10000000)
#define RAM_PAGES 40u
#define RAM_TABLES 8u /* two trees of 4 levels behind the data */
#define FILE_GPA UINT64_C(0x20000000)
#define FILE_PAGES 16u
#define WINDOW_GPA UINT64_C(0x40000000)
#define LOG_GPA UINT64_C(0x60000000) /* what the writers write to */
#define LOG_PAGES 16u
#define COPY_GPA(copier, i) (UINT64_C(0x70000000) + (copier)*0x2000000u + (i)*0x1000000u)
#define OWN_GPA(remapper) (UINT64_C(0x80000000) + (remapper)*0x1000000u)
#define OWN_WINDOW_GPA(remapper) (UINT64_C(0xA0000000) + (remapper)*0x1000000u)
#define OWN_PAGES 24u
#define CHURN_GPA UINT64_C(0xC0000000)
#define CHURN_PAGES 32u

/* Parts of RAM and its window that the disturber has its way with. */
#define PROTECTED_FIRST 8u
#define PROTECTED_END 16u
#define WIRED_FIRST 16u
#define WIRED_END 24u
#define UNMAPPED_FIRST 20u
#define UNMAPPED_END 28u

struct hammer {
    struct vm_system sys;
    struct fake_pmap fake;
    struct pmap pmap;
    struct vm_map map;
    struct vm_object *ram;  /* a reference of its own */
    struct vm_object *file; /* the same */
    int file_fd;
    uint64_t seed;
};

extern struct hammer hammer;

#define CHECK(condition, ...)                                                                   \
    do {                                                                                        \
        if (!(condition)) {                                                                     \
            fprintf(stderr, "hammer: VKVM_SEED=%" PRIu64 " %s:%d: not true: %s: ", hammer.seed, \
                    __FILE__, __LINE__, #condition);                                            \
            fprintf(stderr, __VA_ARGS__);                                                       \
            fputc('\n', stderr);                                                                \
            abort();                                                                            \
        }                                                                                       \
    } while (0)

struct worker {
    pthread_t thread;
    unsigned id; /* among its kind */
    uint64_t random;
    uint64_t operations;
    void (*operation)(struct worker *worker);
    void *own;
};

/* A number below the limit. */
uint64_t hammer_chance(struct worker *w, uint64_t limit);

static inline gpa_t
page_at(uint64_t base, uint64_t page)
{
    return gpa_from_u64(base + (page << PAGE_SHIFT));
}

static inline gpa_t
word_at(uint64_t base, uint64_t word)
{
    return gpa_from_u64(base + word * sizeof(uint64_t));
}

void hammer_expect(int error, int want, const char *name, int line);
#define EXPECT(error, want) hammer_expect(error, want, __FILE__, __LINE__)

/* Is that what a guest may come across where the disturber is at work? */
bool hammer_refused(enum vm_result result);

/* A guest's accesses, with as many faults as they take. */
enum vm_result hammer_fault(struct worker *w, gpa_t gpa, vm_prot_t access);
enum vm_result hammer_try_load(struct worker *w, gpa_t gpa, uint64_t *value);
enum vm_result hammer_try_store(struct worker *w, gpa_t gpa, uint64_t value);

/* The same where none may be refused. */
uint64_t hammer_load(struct worker *w, gpa_t gpa);
void hammer_store(struct worker *w, gpa_t gpa, uint64_t value);

/* The monitor's way to a word, whose page stays held; NULL: refused. */
_Atomic uint64_t *hammer_hold_word(gpa_t gpa, vm_prot_t access, struct vm_page **m);
void hammer_read_page(gpa_t gpa, uint64_t *words);

/* Map an object, as a window if there is a root; the reference becomes the map's. */
void hammer_insert(uint64_t gpa, uint64_t npages, struct vm_object *object, uint64_t offset,
                   vpte_t root);
struct vm_object *hammer_object_new(uint64_t npages);

/* One operation of a kind of thread; what its memory must have when all wait. */
void hammer_vcpu(struct worker *w);
void hammer_shared_compare(void);
void hammer_file_compare(void);

void hammer_disturber(struct worker *w);
extern const size_t hammer_disturber_size; /* of w->own */

void hammer_writer(struct worker *w);
void hammer_copier(struct worker *w);
extern const size_t hammer_copier_size;
void hammer_log_compare(void);

/* A version of a word of RAM that a copy has, if it can be one. */
void hammer_word_check(unsigned word, uint64_t value);

/* Page of RAM that the window's page shows, and the root of one of its two trees. */
unsigned hammer_window_target(unsigned i);
vpte_t hammer_tree_root(unsigned tree);

#endif
