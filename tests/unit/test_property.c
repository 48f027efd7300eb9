/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random operations on a whole engine against a plain model of memory.
 *
 * The model knows nothing of objects, chains, frames or queues.  Each guest page of a
 * NORMAL entry has a pointer to 4096 bytes, which it shares with the pages that map the
 * same memory; a virtual copy gives the copy bytes of its own.  A window (VPAGETABLE)
 * has an array of such pages, in which the model walks.  Memory is short, and pages go
 * to swap and come back all the time; nobody may be able to tell.
 *
 * Compared are: every result; each byte of a page that was read; what a forbidden access
 * finds mapped (nothing).  Entries of tables are compared without A and M: M of a last
 * entry is set exactly if it was written through; everything else that must be set is.
 *
 * VKVM_SEED chooses the operations, VKVM_PROPERTY_OPS how many there are.
 */
#include "tests/unit/audit.h"
#include "tests/unit/fake_pmap.h"
#include "vmm/pager/file_pager.h"
#include "vmm/pager/swap_pager.h"
#include "vmm/vpagetable/vm_fault.h"
#include "vmm/vpagetable/vm_map_entry.h"
#include "vmm/vpagetable/vm_pageout.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAPS 2u
#define ARENA UINT64_C(0x10000000)
#define CELLS 768u /* pages of an arena: more than a chunk of the pmap has */
#define MEMORY_MAX 64u
#define BUDGET 96u
#define WIRED_MAX 24u
#define SWAP_PAGES 16384u
#define OPS_DEFAULT 20000u
#define AUDIT_EVERY 256u

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
    bool sealed; /* was copied: what the engine's object holds may be only part of the truth */
    int fd;      /* a shared file's, else -1 */
    struct page *pages[MEMORY_MAX];
};

enum kind {
    NOTHING,
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
    struct page *page; /* NORMAL */
    uint64_t pindex;   /* WINDOW: what is translated */
    vpte_t root;
    const struct vpte_format *format;
};

static struct vm_system sys;
static struct fake_pmap fake[MAPS];
static struct pmap pmap[MAPS];
static struct vm_map map[MAPS];
static struct cell cells[MAPS][CELLS];
static uint64_t seed;
static uint64_t op;
static const char *op_name = "begin";

/* ---- Chance and failure. ---- */

static uint64_t random_state;

static uint64_t
chance(uint64_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 11) % limit;
}

#define CHECK(condition, ...)                                            \
    do {                                                                 \
        if (!(condition)) {                                              \
            fprintf(stderr,                                              \
                    "property: VKVM_SEED=%" PRIu64 " operation %" PRIu64 \
                    " (%s): line %d: not true: %s: ",                    \
                    seed, op, op_name, __LINE__, #condition);            \
            fprintf(stderr, __VA_ARGS__);                                \
            fputc('\n', stderr);                                         \
            abort();                                                     \
        }                                                                \
    } while (0)

static gpa_t
cell_gpa(uint64_t c)
{
    return gpa_from_u64(ARENA + (c << PAGE_SHIFT));
}

/* ---- The model's memory. ---- */

static struct page *
page_new(const struct page *from)
{
    struct page *page = malloc(sizeof(*page));

    if (from != NULL)
        *page = *from;
    else
        memset(page, 0, sizeof(*page));
    page->references = 1;
    return page;
}

static void
page_unref(struct page *page)
{
    if (--page->references == 0)
        free(page);
}

static struct memory *
memory_new(unsigned npages, const struct memory *from)
{
    struct memory *memory = calloc(1, sizeof(*memory));

    memory->npages = npages;
    memory->fd = -1;
    for (unsigned i = 0; i < npages; i++)
        memory->pages[i] = page_new(from != NULL ? from->pages[i] : NULL);
    return memory;
}

static void
file_check(const struct memory *memory)
{
    uint8_t bytes[PAGE_SIZE];

    for (unsigned i = 0; i < memory->npages; i++) {
        CHECK(pread(memory->fd, bytes, sizeof bytes, (off_t)(i * PAGE_SIZE)) == PAGE_SIZE, "short");
        CHECK(memcmp(bytes, memory->pages[i]->bytes, PAGE_SIZE) == 0, "page %u of the file", i);
    }
}

static void
memory_unref(struct memory *memory)
{
    if (memory == NULL || --memory->references != 0)
        return;
    if (memory->fd >= 0) {
        file_check(memory);
        close(memory->fd);
    }
    for (unsigned i = 0; i < memory->npages; i++)
        page_unref(memory->pages[i]);
    free(memory);
}

static void
cell_clear(struct cell *cell)
{
    if (cell->page != NULL)
        page_unref(cell->page);
    memory_unref(cell->memory);
    *cell = (struct cell){ 0 };
}

/* ---- The model's walk. ---- */

static vpte_t
entry_get(const struct page *table, unsigned index)
{
    vpte_t value = 0;

    memcpy(&value, table->bytes + index * table->entry_size, table->entry_size);
    return value;
}

static void
entry_set(struct page *table, unsigned index, vpte_t value)
{
    memcpy(table->bytes + index * table->entry_size, &value, table->entry_size);
}

static enum vm_result
entry_check(vpte_t value, vm_prot_t access)
{
    vpte_t need = access == VM_PROT_WRITE ? VPTE_W : access == VM_PROT_EXECUTE ? VPTE_X : VPTE_R;

    if ((value & VPTE_V) == 0)
        return VM_VPTE_INVALID;
    return (value & need) == 0 ? VM_VPTE_PROTECTION : VM_OK;
}

/*
 * Returns the result; VM_OK: *found, and the entries have `bits` set too.  They also have
 * them when only the result lies beyond the object: as on hardware, the translation as such
 * was used.
 */
static enum vm_result
walk(const struct cell *cell, vm_prot_t access, vpte_t bits, struct page **found)
{
    const struct vpte_format *format = cell->format;
    unsigned shift = format->frame_end - PAGE_SHIFT, depth = 0;
    struct page *tables[VPTE_MAX_LEVELS];
    unsigned indexes[VPTE_MAX_LEVELS];
    vpte_t value = cell->root;
    enum vm_result result = entry_check(value, access);
    uint64_t frame;

    while (result == VM_OK && (value & VPTE_PS) == 0 && shift != 0) {
        frame = (value & format->frame_mask) >> PAGE_SHIFT;
        if (frame >= cell->memory->npages)
            return VM_BAD_FRAME;
        shift -= format->page_bits;
        tables[depth] = cell->memory->pages[frame];
        indexes[depth] = (cell->pindex >> shift) & ((1u << format->page_bits) - 1);
        CHECK(tables[depth]->entry_size == format->entry_size, "the test lost its tables");
        value = entry_get(tables[depth], indexes[depth]);
        depth++;
        result = entry_check(value, access);
    }
    if (result != VM_OK)
        return result;
    frame = ((value & format->frame_mask) >> PAGE_SHIFT) +
            (cell->pindex & (((uint64_t)1 << shift) - 1));
    for (unsigned i = 0; i < depth; i++)
        entry_set(tables[i], indexes[i], entry_get(tables[i], indexes[i]) | bits);
    if (frame >= cell->memory->npages)
        return VM_BAD_FRAME;
    *found = cell->memory->pages[frame];
    return VM_OK;
}

/* What an access would come to, with those bits set. */
static enum vm_result
resolve_with(const struct cell *cell, vm_prot_t access, vpte_t bits, struct page **found)
{
    if (cell->kind == NOTHING)
        return VM_INVALID_ADDRESS;
    if (cell->kind == GUARD)
        return VM_NOFAULT;
    if ((access & ~cell->prot) != 0)
        return VM_PROTECTION;
    *found = cell->page;
    return cell->kind == WINDOW ? walk(cell, access, bits, found) : VM_OK;
}

/* What an access that is made now must come to. */
static enum vm_result
resolve(const struct cell *cell, vm_prot_t access, struct page **found)
{
    return resolve_with(cell, access, access == VM_PROT_WRITE ? AM : VPTE_A, found);
}

/* Is there a table, which only write_vpte may change? */
static bool
shows_table(const struct cell *cell)
{
    struct page *page;

    return resolve_with(cell, VM_PROT_READ, 0, &page) == VM_OK && page->entry_size != 0;
}

/* ---- Accesses. ---- */

static void
table_compare(const struct page *page, const uint8_t *bytes, uint64_t gpa)
{
    for (unsigned i = 0; i < PAGE_SIZE / page->entry_size; i++) {
        vpte_t want = entry_get(page, i), have = 0;

        memcpy(&have, bytes + i * page->entry_size, page->entry_size);
        CHECK(((want ^ have) & ~(vpte_t)AM) == 0,
              "entry %u of the table at %#" PRIx64 ": %#" PRIx64 ", not %#" PRIx64, i, gpa, have,
              want);
        CHECK((want & AM & ~have) == 0, "entry %u at %#" PRIx64 " lost a bit: %#" PRIx64, i, gpa,
              have);
        CHECK(!page->last || ((want ^ have) & VPTE_M) == 0,
              "entry %u at %#" PRIx64 " has M: nobody wrote", i, gpa);
    }
}

static void
page_compare(const struct page *page, const uint8_t *bytes, uint64_t gpa)
{
    if (page->entry_size != 0) {
        table_compare(page, bytes, gpa);
        return;
    }
    for (unsigned i = 0; i < PAGE_SIZE && memcmp(page->bytes, bytes, PAGE_SIZE) != 0; i++)
        CHECK(page->bytes[i] == bytes[i], "byte %u of %#" PRIx64 ": %#x, not %#x", i, gpa, bytes[i],
              page->bytes[i]);
}

static void
fault_expect(unsigned m, gpa_t gpa, vm_prot_t access, enum vm_result want)
{
    struct vm_fault_info info;
    enum vm_result result =
        vm_fault(&map[m], gpa, access, chance(4) != 0 ? VM_FAULT_BURST : VM_FAULT_NORMAL, &info);

    CHECK(result == want, "access %u of %#" PRIx64 ": %s, not %s (error %d, %s)", access, gpa.value,
          vm_result_name(result), vm_result_name(want), info.error,
          info.cause != NULL ? info.cause : "");
}

/* The guest touches the page; on VM_OK it is mapped for that. */
static enum vm_result
touch(unsigned m, uint64_t c, vm_prot_t access, struct page **page)
{
    enum vm_result want = resolve(&cells[m][c], access, page);
    gpa_t gpa = cell_gpa(c);
    vm_prot_t needs = access == VM_PROT_EXECUTE ? VM_PROT_READ : access;

    if (want == VM_OK) {
        for (unsigned tries = 0; !fake_guest_access(&fake[m], gpa, needs); tries++) {
            CHECK(tries < 3, "%#" PRIx64 " stays unmapped", gpa.value);
            fault_expect(m, gpa, access, VM_OK);
        }
    } else {
        CHECK(access == VM_PROT_EXECUTE || !fake_guest_access(&fake[m], gpa, needs),
              "%#" PRIx64 " is mapped: %s", gpa.value, vm_result_name(want));
        fault_expect(m, gpa, access, want);
    }
    return want;
}

static void
read_cell(unsigned m, uint64_t c)
{
    vm_prot_t access = chance(8) == 0 ? VM_PROT_EXECUTE : VM_PROT_READ;
    struct page *page;
    vm_frame_t frame;

    if (touch(m, c, access, &page) != VM_OK)
        return;
    CHECK(fake_pmap_lookup(&fake[m], cell_gpa(c), &frame, NULL), "not mapped");
    page_compare(page, vm_frame_address(&sys, frame), cell_gpa(c).value);
}

static void
write_cell(unsigned m, uint64_t c)
{
    uint64_t offset = chance(512) * 8, value = chance(UINT64_C(1) << 50) + 1;
    struct page *page;

    if (shows_table(&cells[m][c]))
        return;
    if (touch(m, c, VM_PROT_WRITE, &page) != VM_OK)
        return;
    CHECK(fake_guest_store(&fake[m], gpa_add(cell_gpa(c), offset), value), "not writable");
    memcpy(page->bytes + offset, &value, sizeof value);
}

/* The monitor's way: held pages. */
static void
copy_in(unsigned m, uint64_t c)
{
    uint64_t offset = chance(512) * 8, value = chance(UINT64_C(1) << 50) + 1;
    struct vm_fault_info info;
    struct page *page;
    enum vm_result want, result;

    if (shows_table(&cells[m][c]))
        return;
    want = resolve(&cells[m][c], VM_PROT_WRITE, &page);
    result = vm_map_write(&map[m], gpa_add(cell_gpa(c), offset), &value, sizeof value, &info);
    CHECK(result == want, "%s, not %s", vm_result_name(result), vm_result_name(want));
    if (result == VM_OK)
        memcpy(page->bytes + offset, &value, sizeof value);
}

static void
copy_out(unsigned m, uint64_t c)
{
    uint8_t bytes[PAGE_SIZE];
    struct vm_fault_info info;
    struct page *page;
    enum vm_result want = resolve(&cells[m][c], VM_PROT_READ, &page);
    enum vm_result result = vm_map_read(&map[m], cell_gpa(c), bytes, sizeof bytes, &info);

    CHECK(result == want, "%s, not %s", vm_result_name(result), vm_result_name(want));
    if (result == VM_OK)
        page_compare(page, bytes, cell_gpa(c).value);
}

/* ---- Ranges. ---- */

struct range {
    unsigned m;
    uint64_t first;
    uint64_t end;
};

static struct range
range_any(unsigned longest)
{
    struct range r = { .m = (unsigned)chance(MAPS), .first = chance(CELLS) };

    r.end = r.first + 1 + chance(longest);
    if (r.end > CELLS)
        r.end = CELLS;
    return r;
}

/* Somewhere in what is mapped, mostly. */
static struct range
range_mapped(unsigned longest)
{
    struct range r = range_any(longest);

    for (unsigned i = 0; i < CELLS && cells[r.m][r.first].kind == NOTHING; i++)
        r.first = (r.first + 1) % CELLS;
    r.end = r.first + 1 + chance(longest);
    if (chance(4) != 0) {
        uint64_t end = r.first;

        while (end < r.end && end < CELLS && cells[r.m][end].kind != NOTHING)
            end++;
        if (end > r.first)
            r.end = end;
    }
    if (r.end > CELLS)
        r.end = CELLS;
    return r;
}

static unsigned
range_count(const struct range *r, enum kind kind)
{
    unsigned count = 0;

    for (uint64_t c = r->first; c < r->end; c++)
        count += cells[r->m][c].kind == kind;
    return count;
}

static bool
range_covered(const struct range *r)
{
    return range_count(r, NOTHING) == 0;
}

static bool
range_free(unsigned m, unsigned npages, struct range *r)
{
    for (unsigned tries = 0; tries < 8; tries++) {
        *r = (struct range){ .m = m, .first = chance(CELLS - npages + 1) };
        r->end = r->first + npages;
        if (range_count(r, NOTHING) == npages)
            return true;
    }
    return false;
}

#define START(r) cell_gpa((r)->first)
#define END(r) cell_gpa((r)->end)

static void
expect(int error, int want)
{
    CHECK(error == want, "%d, not %d", error, want);
}

/* ---- Entries come and go. ---- */

static vm_prot_t
any_prot(void)
{
    switch (chance(16)) {
    case 0:
        return VM_PROT_NONE;
    case 1:
        return VM_PROT_READ;
    case 2:
        return VM_PROT_READ | VM_PROT_EXECUTE;
    case 3:
    case 4:
        return VM_PROT_RW;
    default:
        return VM_PROT_ALL;
    }
}

static struct vm_map_insert
insert_args(const struct range *r, struct vm_object *object)
{
    struct vm_map_insert args = {
        .start = START(r),
        .end = END(r),
        .object = object,
        .max_protection = chance(8) == 0 ? VM_PROT_READ : VM_PROT_ALL,
        .advice = (enum vm_map_advice)chance(3),
        .eflags = chance(8) == 0 ? MAP_ENTRY_NOSYNC : 0,
    };

    args.protection = any_prot() & args.max_protection;
    return args;
}

static void
insert(const struct range *r, const struct vm_map_insert *args, enum kind kind,
       struct memory *memory, bool own)
{
    expect(vm_map_insert(&map[r->m], args), 0);
    for (uint64_t c = r->first; c < r->end; c++) {
        struct cell *cell = &cells[r->m][c];

        *cell = (struct cell){
            .kind = kind,
            .prot = args->protection,
            .max = args->max_protection,
            .memory = memory,
            .pindex = args->offset + c - r->first,
            .root = args->root,
            .format = args->format,
        };
        if (memory != NULL)
            memory->references++;
        if (kind != NORMAL)
            continue;
        cell->page = memory->pages[cell->pindex];
        if (own)
            cell->page = page_new(cell->page);
        else
            cell->page->references++;
    }
}

static void
map_new(unsigned m)
{
    unsigned npages = 1 + (unsigned)chance(MEMORY_MAX);
    struct vm_map_insert args;
    struct vm_object *object;
    struct range r;

    if (!range_free(m, npages, &r))
        return;
    expect(vm_object_create_default(&sys, npages, &object), 0);
    args = insert_args(&r, object);
    insert(&r, &args, NORMAL, memory_new(npages, NULL), false);
}

static void
map_guard(unsigned m)
{
    struct vm_map_insert args;
    struct range r;

    if (!range_free(m, 1 + (unsigned)chance(4), &r))
        return;
    args = insert_args(&r, NULL);
    args.protection = args.max_protection = VM_PROT_NONE;
    args.eflags = MAP_ENTRY_NOFAULT;
    insert(&r, &args, GUARD, NULL, false);
}

static void
map_file(unsigned m)
{
    unsigned npages = 1 + (unsigned)chance(MEMORY_MAX);
    bool shared = chance(2) != 0;
    struct vm_map_insert args;
    struct vm_object *object;
    struct memory *memory;
    struct range r;
    int fd;

    if (!range_free(m, npages, &r))
        return;
    memory = memory_new(npages, NULL);
    fd = memfd_create("property", MFD_CLOEXEC);
    for (unsigned i = 0; i < npages; i++) {
        memset(memory->pages[i]->bytes, (int)chance(256), PAGE_SIZE);
        CHECK(pwrite(fd, memory->pages[i]->bytes, PAGE_SIZE, (off_t)(i * PAGE_SIZE)) == PAGE_SIZE,
              "pwrite");
    }
    expect(file_pager_create(&sys, fd, 0, npages, shared ? FILE_PAGER_SHARED : 0, &object), 0);
    args = insert_args(&r, object);
    if (!shared)
        args.eflags |= MAP_ENTRY_NEEDS_COPY;
    memory->sealed = !shared;
    if (shared)
        memory->fd = fd;
    else
        close(fd);
    insert(&r, &args, NORMAL, memory, !shared);
}

/* The object of an entry, with a reference for the caller. */
static struct vm_object *
object_at(unsigned m, uint64_t c)
{
    struct vm_map_entry *entry = vm_map_entry_search(&map[m], cell_gpa(c));

    vm_object_ref(entry->object);
    return entry->object;
}

/* One more entry on memory that is mapped already. */
static void
map_again(unsigned m, uint64_t c)
{
    struct memory *memory = cells[m][c].memory;
    struct vm_map_insert args;
    struct range r;

    if (memory == NULL || memory->sealed)
        return;
    if (!range_free(m, 1 + (unsigned)chance(memory->npages), &r))
        return;
    args = insert_args(&r, object_at(m, c));
    args.offset = chance(memory->npages - (r.end - r.first) + 1);
    insert(&r, &args, NORMAL, memory, false);
}

/* ---- Windows. ---- */

static vpte_t
any_flags(void)
{
    switch (chance(8)) {
    case 0:
        return 0;
    case 1:
        return VPTE_V;
    case 2:
        return VPTE_V | VPTE_R;
    case 3:
        return PASS | VPTE_A;
    case 4:
        return PASS | AM;
    default:
        return PASS;
    }
}

static vpte_t
any_root(const struct vpte_format *format)
{
    unsigned tree = format == &vpte64_format ? TREE64 : TREE32;

    switch (chance(8)) {
    case 0:
        return PASS | VPTE_PS | chance(MEMORY_MAX) << PAGE_SHIFT;
    case 1:
        return any_flags() | (vpte_t)tree << PAGE_SHIFT;
    default:
        return PASS | (vpte_t)tree << PAGE_SHIFT;
    }
}

static void
table_init(struct page *table, unsigned entry_size, bool last, unsigned npages, unsigned next)
{
    table->entry_size = entry_size;
    table->last = last;
    for (unsigned i = 0; last && i < MEMORY_MAX; i++)
        entry_set(table, i, (chance(npages + 1) << PAGE_SHIFT) | any_flags());
    if (!last)
        entry_set(table, 0, (vpte_t)next << PAGE_SHIFT | PASS);
}

/* Write the model's tables to the object. */
static void
tables_write(struct vm_object *object, const struct memory *memory)
{
    struct vm_fault_info info;
    struct vm_page *m;

    for (unsigned i = 0; i < TABLES; i++) {
        CHECK(vm_fault_object_page(object, NULL, i, VM_PROT_WRITE, VM_FAULT_NORMAL, &m, &info) ==
                  VM_OK,
              "table %u", i);
        memcpy(vm_page_address(m), memory->pages[i]->bytes, PAGE_SIZE);
        vm_page_unhold(m);
    }
}

static struct memory *
window_memory(unsigned npages)
{
    struct memory *memory = memory_new(npages, NULL);

    for (unsigned i = 0; i < 4; i++)
        table_init(memory->pages[TREE64 + i], 8, i == 3, npages, TREE64 + i + 1);
    for (unsigned i = 0; i < 2; i++)
        table_init(memory->pages[TREE32 + i], 4, i == 1, npages, TREE32 + i + 1);
    return memory;
}

static void
map_window(unsigned m)
{
    unsigned npages = TABLES + 1 + (unsigned)chance(MEMORY_MAX - TABLES);
    const struct vpte_format *format = chance(2) != 0 ? &vpte64_format : &vpte32_format;
    struct vm_map_insert args;
    struct vm_object *object;
    struct memory *memory;
    struct range r;

    if (!range_free(m, TABLES + (unsigned)chance(MEMORY_MAX - TABLES), &r))
        return;
    memory = window_memory(npages);
    expect(vm_object_create_default(&sys, npages, &object), 0);
    tables_write(object, memory);
    args = insert_args(&r, object);
    args.maptype = VM_MAPTYPE_VPAGETABLE;
    args.format = format;
    args.root = any_root(format);
    insert(&r, &args, WINDOW, memory, false);
}

/* Another window, or a NORMAL entry, on a window's memory. */
static void
map_window_again(unsigned m, uint64_t c)
{
    const struct cell *cell = &cells[m][c];
    struct vm_map_insert args;
    struct range r;

    if (cell->kind != WINDOW || cell->memory->sealed)
        return;
    if (!range_free(m, 1 + (unsigned)chance(MEMORY_MAX), &r))
        return;
    args = insert_args(&r, object_at(m, c));
    args.maptype = VM_MAPTYPE_VPAGETABLE;
    args.format = chance(2) != 0 ? &vpte64_format : &vpte32_format;
    args.root = any_root(args.format);
    insert(&r, &args, WINDOW, cell->memory, false);
}

/* Runs of the memory's windows lose their mappings, as a guest does after it changed a table. */
static void
memory_inval(unsigned m, const struct memory *memory)
{
    for (uint64_t c = 0; c < CELLS; c++) {
        uint64_t end = c;

        while (end < CELLS && cells[m][end].kind == WINDOW && cells[m][end].memory == memory)
            end++;
        if (end == c)
            continue;
        expect(vm_map_inval(&map[m], cell_gpa(c), cell_gpa(end)), 0);
        c = end - 1;
    }
}

/* Change entry `index` of the table that the cell shows now. */
static void
store_vpte(unsigned m, uint64_t c, struct page *table)
{
    unsigned index = (unsigned)chance(MEMORY_MAX);
    vpte_t value = (chance(MEMORY_MAX + 1) << PAGE_SHIFT) | any_flags();
    struct vm_fault_info info;

    if (!table->last)
        return;
    CHECK(vm_map_write(&map[m], gpa_add(cell_gpa(c), (uint64_t)index * table->entry_size), &value,
                       table->entry_size, &info) == VM_OK,
          "%s", vm_result_name(info.result));
    entry_set(table, index, value);
}

/* The window shows its memory one to one for as long as it takes to change a table. */
static void
write_vpte(unsigned m, uint64_t c)
{
    struct cell *cell = &cells[m][c];
    vpte_t root = cell->root;
    struct page *table;

    if (cell->kind == WINDOW) {
        cell->root = PASS | VPTE_PS;
        expect(vm_map_setmap(&map[m], cell_gpa(c), cell_gpa(c + 1), cell->root), 0);
    }
    if (resolve(cell, VM_PROT_WRITE, &table) == VM_OK && table->entry_size != 0)
        store_vpte(m, c, table);
    if (cell->kind == WINDOW) {
        cell->root = root;
        expect(vm_map_setmap(&map[m], cell_gpa(c), cell_gpa(c + 1), root), 0);
    }
    if (cell->memory != NULL)
        memory_inval(m, cell->memory);
}

static void
do_setmap(void)
{
    struct range r = range_mapped(MEMORY_MAX);
    vpte_t root = any_root(chance(2) != 0 ? &vpte64_format : &vpte32_format);
    int want = 0;

    for (uint64_t c = r.first; c < r.end; c++) {
        const struct cell *cell = &cells[r.m][c];

        if (cell->kind == WINDOW && (root & VPTE_PS) == 0)
            root = any_root(cell->format);
    }
    for (uint64_t c = r.first; c < r.end; c++) {
        const struct cell *cell = &cells[r.m][c];

        if (cell->kind == WINDOW && (root & VPTE_PS) == 0 &&
            (root & cell->format->frame_mask) >> PAGE_SHIFT !=
                (cell->format == &vpte64_format ? TREE64 : TREE32))
            return;
    }
    if (!range_covered(&r))
        want = -ENOENT;
    else if (range_count(&r, WINDOW) != r.end - r.first)
        want = -EINVAL;
    expect(vm_map_setmap(&map[r.m], START(&r), END(&r), root), want);
    for (uint64_t c = r.first; want == 0 && c < r.end; c++)
        cells[r.m][c].root = root;
}

/* ---- What is done to ranges. ---- */

static void
do_inval(void)
{
    struct range r = range_mapped(2 * MEMORY_MAX);

    expect(vm_map_inval(&map[r.m], START(&r), END(&r)), range_covered(&r) ? 0 : -ENOENT);
}

static void
do_advise(void)
{
    struct range r = range_mapped(MEMORY_MAX);
    bool any = range_count(&r, NOTHING) != r.end - r.first;

    expect(vm_map_advise(&map[r.m], START(&r), END(&r), (enum vm_map_advice)chance(3)),
           any ? 0 : -ENOENT);
}

static void
do_remove(void)
{
    struct range r = range_mapped(2 * MEMORY_MAX);
    bool any = range_count(&r, NOTHING) != r.end - r.first;

    expect(vm_map_remove(&map[r.m], START(&r), END(&r)), any ? 0 : -ENOENT);
    for (uint64_t c = r.first; c < r.end; c++)
        cell_clear(&cells[r.m][c]);
}

static void
do_protect(void)
{
    struct range r = range_mapped(MEMORY_MAX);
    vm_prot_t prot = any_prot();
    int want = range_covered(&r) ? 0 : -EINVAL;

    for (uint64_t c = r.first; want == 0 && c < r.end; c++) {
        if ((prot & ~cells[r.m][c].max) != 0)
            want = -EACCES;
    }
    expect(vm_map_protect(&map[r.m], START(&r), END(&r), prot), want);
    for (uint64_t c = r.first; want == 0 && c < r.end; c++)
        cells[r.m][c].prot = prot;
}

static unsigned
wired_cells(void)
{
    unsigned count = 0;

    for (unsigned m = 0; m < MAPS; m++)
        for (unsigned c = 0; c < CELLS; c++)
            count += cells[m][c].wired != 0;
    return count;
}

static int
wire_want(const struct range *r, bool user)
{
    if (!range_covered(r))
        return -ENOENT;
    for (uint64_t c = r->first; c < r->end; c++) {
        const struct cell *cell = &cells[r->m][c];

        if (cell->kind == GUARD)
            return -ENOENT;
        if (cell->kind == WINDOW)
            return -EOPNOTSUPP;
        if (user ? (cell->max & VM_PROT_READ) == 0 : (cell->prot & VM_PROT_WRITE) == 0)
            return -EACCES;
    }
    return 0;
}

static void
do_wire(void)
{
    struct range r = range_mapped(8);
    bool user = chance(2) != 0;
    int want = wire_want(&r, user);

    if (wired_cells() + r.end - r.first > WIRED_MAX)
        return;
    expect(vm_map_wire(&map[r.m], START(&r), END(&r), user), want);
    for (uint64_t c = r.first; want == 0 && c < r.end; c++) {
        struct cell *cell = &cells[r.m][c];

        if (user && cell->user_wired)
            continue;
        cell->wired++;
        cell->user_wired = cell->user_wired || user;
        if (user && (cell->prot & VM_PROT_WRITE) == 0)
            cell->max &= (vm_prot_t)~VM_PROT_WRITE;
    }
}

static void
do_unwire(void)
{
    struct range r = range_mapped(8);
    bool user = chance(2) != 0;
    int want = 0;

    for (unsigned i = 0; i < CELLS && cells[r.m][r.first].wired == 0; i++)
        r.first = (r.first + 1) % CELLS;
    r.end = r.first + 1;
    while (r.end < CELLS && cells[r.m][r.end].wired != 0 && chance(8) != 0)
        r.end++;
    for (uint64_t c = r.first; c < r.end; c++) {
        const struct cell *cell = &cells[r.m][c];

        if (user ? !cell->user_wired : cell->wired == cell->user_wired)
            want = -EINVAL;
    }
    if (!range_covered(&r))
        want = -ENOENT;
    expect(vm_map_unwire(&map[r.m], START(&r), END(&r), user), want);
    for (uint64_t c = r.first; want == 0 && c < r.end; c++) {
        cells[r.m][c].wired--;
        if (user)
            cells[r.m][c].user_wired = false;
    }
}

/* The model's copies of the windows' memories that one virtual copy makes. */
struct copies {
    struct memory *of[CELLS];
    struct memory *copy[CELLS];
    unsigned count;
};

static struct memory *
copy_memory(struct copies *copies, struct memory *memory)
{
    for (unsigned i = 0; i < copies->count; i++) {
        if (copies->of[i] == memory)
            return copies->copy[i];
    }
    copies->of[copies->count] = memory;
    copies->copy[copies->count] = memory_new(memory->npages, memory);
    copies->copy[copies->count]->sealed = true;
    return copies->copy[copies->count++];
}

static void
cell_copy(struct cell *to, const struct cell *from, struct copies *copies)
{
    *to = *from;
    to->wired = 0;
    to->user_wired = false;
    if (from->page != NULL)
        to->page = page_new(from->page);
    if (from->memory == NULL)
        return;
    from->memory->sealed = true;
    if (from->kind == WINDOW) {
        to->memory = copy_memory(copies, from->memory);
        to->memory->references++;
    } else {
        to->memory = NULL;
    }
}

static void
do_copy(void)
{
    struct range r = range_mapped(2 * MEMORY_MAX), d;
    uint64_t npages = r.end - r.first;
    struct copies copies = { .count = 0 };
    int error, want = 0;

    if (chance(16) == 0) {
        d.first = chance(CELLS - npages + 1);
        d = (struct range){ .m = r.m, .first = d.first, .end = d.first + npages };
    } else if (!range_free(r.m, (unsigned)npages, &d)) {
        return;
    }
    if (d.first < r.end && r.first < d.end)
        want = -EINVAL;
    else if (range_count(&r, NOTHING) == npages)
        want = -ENOENT;
    else if (range_count(&d, NOTHING) != npages)
        want = -EEXIST;
    error = vm_map_copy(&map[r.m], START(&r), START(&d), npages << PAGE_SHIFT);
    if (want == 0 && error == -EOPNOTSUPP && range_count(&r, WINDOW) != 0)
        return;
    expect(error, want);
    for (uint64_t i = 0; want == 0 && i < npages; i++)
        cell_copy(&cells[r.m][d.first + i], &cells[r.m][r.first + i], &copies);
}

static void
do_map(void)
{
    struct range r = range_mapped(1);

    switch (chance(12)) {
    case 0:
        map_guard(r.m);
        break;
    case 1:
        map_file(r.m);
        break;
    case 2:
    case 3:
        map_window(r.m);
        break;
    case 4:
        map_window_again(r.m, r.first);
        break;
    case 5:
        map_again(r.m, r.first);
        break;
    default:
        map_new(r.m);
        break;
    }
}

static void
do_pageout(void)
{
    (void)vm_pageout_scan(&sys, 1 + chance(BUDGET));
}

/* A shared file has, after a flush, what the memory has. */
static void
do_flush(void)
{
    struct range r = range_mapped(1);
    const struct cell *cell = &cells[r.m][r.first];
    struct vm_object *object;

    if (cell->memory == NULL || cell->memory->fd < 0)
        return;
    object = object_at(r.m, r.first);
    expect(vm_object_page_clean(object), 0);
    vm_object_unref(object);
    file_check(cell->memory);
}

static void
do_access(void (*access)(unsigned m, uint64_t c))
{
    struct range r = range_mapped(16);

    for (uint64_t c = r.first; c < r.end; c++) {
        if (cells[r.m][c].prot != VM_PROT_NONE || chance(8) == 0)
            access(r.m, c);
    }
}

static void
do_vpte(void)
{
    struct range r = range_mapped(1);

    write_vpte(r.m, r.first);
}

#define DO(name, call)  \
    do {                \
        op_name = name; \
        call;           \
    } while (0)

static void
operation(void)
{
    uint64_t dice = chance(100);

    if (dice < 22)
        DO("read", do_access(read_cell));
    else if (dice < 48)
        DO("write", do_access(write_cell));
    else if (dice < 51)
        DO("copy in", do_access(copy_in));
    else if (dice < 54)
        DO("copy out", do_access(copy_out));
    else if (dice < 61)
        DO("virtual copy", do_copy());
    else if (dice < 67)
        DO("page-out", do_pageout());
    else if (dice < 72)
        DO("protect", do_protect());
    else if (dice < 75)
        DO("INVAL", do_inval());
    else if (dice < 78)
        DO("SETMAP", do_setmap());
    else if (dice < 83)
        DO("vpte", do_vpte());
    else if (dice < 86)
        DO("wire", do_wire());
    else if (dice < 89)
        DO("unwire", do_unwire());
    else if (dice < 91)
        DO("flush", do_flush());
    else if (dice < 92)
        DO("advise", do_advise());
    else if (dice < 96)
        DO("map", do_map());
    else
        DO("remove", do_remove());
}

/* ---- The whole. ---- */

static void
audit(bool frames)
{
    struct vm_map *maps[MAPS] = { &map[0], &map[1] };
    struct audit args = { .sys = &sys, .maps = maps, .nmaps = MAPS, .frames = frames };

    op_name = "audit";
    audit_engine(&args);
    for (unsigned m = 0; m < MAPS; m++)
        fake_pmap_audit(&fake[m]);
}

static struct swap_device *
world_init(void)
{
    struct vm_system_config config = { .store_pages = 1 << 16, .ram_budget = BUDGET };
    struct swap_device *device;
    char path[64];
    int fd = memfd_create("swap", MFD_CLOEXEC);

    cr_assert(zero(int, vm_system_init(&sys, &config)));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    cr_assert(zero(int, swap_device_open(path, SWAP_PAGES, &device)));
    close(fd);
    swap_device_attach(device, &sys);
    for (unsigned m = 0; m < MAPS; m++) {
        fake_pmap_init(&fake[m]);
        cr_assert(zero(int, pmap_init(&pmap[m], &sys, &fake_pmap_ops, &fake[m])));
        vm_map_init(&map[m], &sys, &pmap[m]);
    }
    return device;
}

static void
world_fini(struct swap_device *device)
{
    for (unsigned m = 0; m < MAPS; m++) {
        vm_map_fini(&map[m]);
        pmap_fini(&pmap[m]);
        fake_pmap_fini(&fake[m]);
        for (unsigned c = 0; c < CELLS; c++)
            cell_clear(&cells[m][c]);
    }
    cr_assert(zero(u64, atomic_load(&sys.resident_pages)));
    cr_assert(zero(u64, swap_device_used(device)));
    vm_system_fini(&sys);
    swap_device_close(device);
}

static uint64_t
number_from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? strtoull(text, NULL, 0) : otherwise;
}

#define PRINT_METER(name, text) \
    fprintf(stderr, " " #name "=%" PRIu64, atomic_load(&sys.meter.name));

Test(property, random_operations_leave_what_a_plain_model_of_memory_has, .timeout = 3600)
{
    uint64_t ops = number_from_environment("VKVM_PROPERTY_OPS", OPS_DEFAULT);
    struct swap_device *device = world_init();

    seed = number_from_environment("VKVM_SEED", 1);
    random_state = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    fprintf(stderr, "property: VKVM_SEED=%" PRIu64 " VKVM_PROPERTY_OPS=%" PRIu64 "\n", seed, ops);
    for (op = 0; op < ops; op++) {
        operation();
        if (op % AUDIT_EVERY == 0)
            audit(false);
    }
    op_name = "last look";
    for (unsigned m = 0; m < MAPS; m++)
        for (unsigned c = 0; c < CELLS; c++)
            read_cell(m, c);
    audit(true);
    fprintf(stderr, "property:");
    VM_METER_FIELDS(PRINT_METER)
    fprintf(stderr, "\n");
    world_fini(device);
}
