/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The property test's (test_property.c) model of memory, its checks, and the making of entries.
 */
#ifndef PROPERTY_H
#define PROPERTY_H

#include "tests/unit/fake_pmap.h"
#include "vmm/vpagetable/vm_fault.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define MAPS 2u
#define ARENA UINT64_C(0x10000000)
#define CELLS 768u /* pages of an arena: more than a chunk of the pmap has */
#define MEMORY_MAX 64u

/* Tables of a window's memory: a tree of each format. */
#define TREE64 0u
#define TREE32 4u
#define TABLES 6u
#define PASS (VPTE_V | VPTE_R | VPTE_W | VPTE_X)
#define AM (VPTE_A | VPTE_M)

struct page {
    unsigned references;
    unsigned entry_size; /* of a table, else 0 */
    bool last;           /* a table whose entries end the walk */
    uint8_t bytes[PAGE_SIZE];
};

struct memory {
    unsigned references; /* cells */
    unsigned npages;
    bool sealed;              /* is not to be mapped again: the engine's object may be only part of
                                 the truth */
    int fd;                   /* a file's, else -1 */
    bool shared;              /* the file has what was written; else it stays what it was: */
    uint8_t fill[MEMORY_MAX]; /* a file's first bytes, the same all over a page */
    struct page *pages[MEMORY_MAX];
};

enum kind {
    NOTHING,
    GROWTH, /* an entry may grow down into it; the lowest is its guard */
    GUARD,
    NORMAL,
    WINDOW
};

/* A guest page. */
struct cell {
    enum kind kind;
    vm_prot_t prot;
    vm_prot_t max;
    unsigned wired;
    bool user_wired;
    struct memory *memory;
    struct page *page; /* NORMAL, GROWTH */
    uint64_t pindex;   /* WINDOW: what is translated */
    vpte_t root;
    const struct vpte_format *format;
};

struct property {
    struct vm_system sys;
    struct fake_pmap fake[MAPS];
    struct pmap pmap[MAPS];
    struct vm_map map[MAPS];
    struct cell cells[MAPS][CELLS];
    uint64_t seed;
    uint64_t random;
    uint64_t op;         /* accesses and calls so far */
    const char *op_name; /* the latest */
    struct {
        unsigned after;  /* I/O that still succeeds; 0 = all does */
        unsigned length; /* ... and how many fail then */
        bool hit;        /* some failed, and nobody was told yet */
    } breaking;
};

extern struct property prop;

#define CHECK(condition, ...)                                                          \
    do {                                                                               \
        if (!(condition)) {                                                            \
            fprintf(stderr,                                                            \
                    "property: VKVM_SEED=%" PRIu64 " operation %" PRIu64               \
                    " (%s): %s:%d: not true: %s: ",                                    \
                    prop.seed, prop.op, prop.op_name, __FILE__, __LINE__, #condition); \
            fprintf(stderr, __VA_ARGS__);                                              \
            fputc('\n', stderr);                                                       \
            abort();                                                                   \
        }                                                                              \
    } while (0)

/* A number below the limit. */
uint64_t property_chance(uint64_t limit);

static inline gpa_t
property_cell_gpa(uint64_t c)
{
    return gpa_from_u64(ARENA + (c << PAGE_SHIFT));
}

/* --- The model (property_model.c) ---------------------------------------- */

struct page *property_page_new(const struct page *from);
void property_page_unref(struct page *page);
struct memory *property_memory_new(unsigned npages, const struct memory *from);
void property_memory_unref(struct memory *memory);

/* Pages [first, end) of the file are what they must be. */
void property_file_check(const struct memory *memory, unsigned first, unsigned end);

void property_cell_clear(struct cell *cell);
void property_entry_set(struct page *table, unsigned index, vpte_t value);

/* Is it part of an entry? */
static inline bool
property_is_entry(const struct cell *cell)
{
    return cell->kind > GROWTH;
}

/*
 * What an access that is made now must come to; it grows a stack, and sets A and M.
 * VM_OK: *found is the page.
 */
enum vm_result property_resolve(unsigned m, uint64_t c, vm_prot_t access, struct page **found);

/* Is there a table, which only property_write_vpte may change? */
bool property_shows_table(const struct cell *cell);

/* --- Checks (property_check.c) ------------------------------------------- */

/* Did I/O fail since this was last asked?  Then the caller tries again. */
bool property_io_failed(void);

/* Does the next I/O fail?  For a host side of a pager; sets errno. */
bool property_io_breaks(void);

/* A call that fails for no other reason than `want`, or an I/O error. */
#define EXPECT(call, want)                                               \
    do {                                                                 \
        int expect_error;                                                \
        do                                                               \
            expect_error = (call);                                       \
        while (expect_error != (want) && property_io_failed());          \
        CHECK(expect_error == (want), "%d, not %d", expect_error, want); \
    } while (0)

/* A guest's accesses, and the monitor's. */
void property_read_cell(unsigned m, uint64_t c);
void property_write_cell(unsigned m, uint64_t c);
void property_copy_in(unsigned m, uint64_t c);
void property_copy_out(unsigned m, uint64_t c);

/* --- Entries (property_entries.c) ---------------------------------------- */

struct range {
    unsigned m;
    uint64_t first;
    uint64_t end;
};

#define START(r) property_cell_gpa((r)->first)
#define END(r) property_cell_gpa((r)->end)

/* Somewhere in what is mapped, mostly. */
struct range property_range_mapped(unsigned longest);
unsigned property_range_count(const struct range *r, enum kind kind);
bool property_range_covered(const struct range *r);
bool property_range_any(const struct range *r);

/* So many pages where nothing is; false: not found. */
bool property_range_free(unsigned m, unsigned npages, struct range *r);

vm_prot_t property_any_prot(void);
vpte_t property_any_root(const struct vpte_format *format);

/* The object of the entry at a cell, with a reference for the caller. */
struct vm_object *property_object_at(unsigned m, uint64_t c);

/* One more entry: zero-fill, a stack, a guard, a file; on memory that cell c shows. */
void property_map_new(unsigned m);
void property_map_stack(unsigned m);
void property_map_guard(unsigned m);
void property_map_file(unsigned m);
void property_map_again(unsigned m, uint64_t c);
void property_map_window(unsigned m);
void property_map_window_again(unsigned m, uint64_t c);

/* Change an entry of the table that the cell's memory has there, as a guest does. */
void property_write_vpte(unsigned m, uint64_t c);

#endif
