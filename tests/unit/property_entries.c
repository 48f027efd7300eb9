/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where things are, and how entries come: zero-fill memory, stacks, files, windows.
 */
#include "tests/unit/property.h"

#include "vmm/pager/file_pager.h"
#include "vmm/vpagetable/vm_map_entry.h"
#include "vmm/vpagetable/vm_page.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* --- Ranges -------------------------------------------------------------- */

static struct range
range_any(unsigned longest)
{
    struct range r = { .m = (unsigned)property_chance(MAPS), .first = property_chance(CELLS) };

    r.end = r.first + 1 + property_chance(longest);
    if (r.end > CELLS)
        r.end = CELLS;
    return r;
}

/* Somewhere in what is mapped, mostly. */
struct range
property_range_mapped(unsigned longest)
{
    struct range r = range_any(longest);

    for (unsigned i = 0; i < CELLS && prop.cells[r.m][r.first].kind == NOTHING; i++)
        r.first = (r.first + 1) % CELLS;
    r.end = r.first + 1 + property_chance(longest);
    if (property_chance(4) != 0) {
        uint64_t end = r.first;

        while (end < r.end && end < CELLS && prop.cells[r.m][end].kind != NOTHING)
            end++;
        if (end > r.first)
            r.end = end;
    }
    if (r.end > CELLS)
        r.end = CELLS;
    return r;
}

unsigned
property_range_count(const struct range *r, enum kind kind)
{
    unsigned count = 0;

    for (uint64_t c = r->first; c < r->end; c++)
        count += prop.cells[r->m][c].kind == kind;
    return count;
}

static unsigned
range_entries(const struct range *r)
{
    unsigned count = 0;

    for (uint64_t c = r->first; c < r->end; c++)
        count += property_is_entry(&prop.cells[r->m][c]);
    return count;
}

bool
property_range_covered(const struct range *r)
{
    return range_entries(r) == r->end - r->first;
}

bool
property_range_any(const struct range *r)
{
    return range_entries(r) != 0;
}

bool
property_range_free(unsigned m, unsigned npages, struct range *r)
{
    for (unsigned tries = 0; tries < 8; tries++) {
        *r = (struct range){ .m = m, .first = property_chance(CELLS - npages + 1) };
        r->end = r->first + npages;
        if (property_range_count(r, NOTHING) == npages)
            return true;
    }
    return false;
}

/* --- Entries come and go ------------------------------------------------- */

vm_prot_t
property_any_prot(void)
{
    switch (property_chance(16)) {
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
        .max_protection = property_chance(8) == 0 ? VM_PROT_READ : VM_PROT_ALL,
        .advice = (enum vm_map_advice)property_chance(3),
        .eflags = property_chance(8) == 0 ? MAP_ENTRY_NOSYNC : 0,
    };

    args.protection = property_any_prot() & args.max_protection;
    return args;
}

/* The model's side of an entry that begins at r->first, and of what it may grow into. */
static void
insert_cells(const struct range *r, const struct vm_map_insert *args, enum kind kind,
             struct memory *memory, bool own)
{
    for (uint64_t c = r->first - args->growth; c < r->end; c++) {
        struct cell *cell = &prop.cells[r->m][c];

        *cell = (struct cell){
            .kind = c < r->first ? GROWTH : kind,
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
            cell->page = property_page_new(cell->page);
        else
            cell->page->references++;
    }
}

static void
insert(const struct range *r, const struct vm_map_insert *args, enum kind kind,
       struct memory *memory, bool own)
{
    EXPECT(vm_map_insert(&prop.map[r->m], args), 0);
    insert_cells(r, args, kind, memory, own);
}

void
property_map_new(unsigned m)
{
    unsigned npages = 1 + (unsigned)property_chance(MEMORY_MAX);
    struct vm_map_insert args;
    struct vm_object *object;
    struct range r;

    if (!property_range_free(m, npages, &r))
        return;
    EXPECT(vm_object_create_default(&prop.sys, npages, &object), 0);
    args = insert_args(&r, object);
    insert(&r, &args, NORMAL, property_memory_new(npages, NULL), false);
}

void
property_map_stack(unsigned m)
{
    uint64_t growth = 1 + property_chance(44), npages = 1 + property_chance(8);
    uint64_t offset = growth + property_chance(8);
    struct vm_map_insert args;
    struct vm_object *object;
    struct memory *memory;
    struct range r;

    if (!property_range_free(m, (unsigned)(growth + npages), &r))
        return;
    EXPECT(vm_object_create_default(&prop.sys, offset + npages, &object), 0);
    memory = property_memory_new((unsigned)(offset + npages), NULL);
    memory->sealed = true;
    r.first += growth;
    args = insert_args(&r, object);
    args.eflags |= MAP_ENTRY_GROWDOWN;
    args.growth = growth;
    args.offset = offset;
    insert(&r, &args, NORMAL, memory, false);
}

void
property_map_guard(unsigned m)
{
    struct vm_map_insert args;
    struct range r;

    if (!property_range_free(m, 1 + (unsigned)property_chance(4), &r))
        return;
    args = insert_args(&r, NULL);
    args.protection = args.max_protection = VM_PROT_NONE;
    args.eflags = MAP_ENTRY_NOFAULT;
    insert(&r, &args, GUARD, NULL, false);
}

/* --- Files, whose I/O may fail ------------------------------------------- */

static ssize_t
file_read(int fd, const struct iovec *iov, int count, off_t offset)
{
    return property_io_breaks() ? -1 : preadv(fd, iov, count, offset);
}

static ssize_t
file_write(int fd, const struct iovec *iov, int count, off_t offset)
{
    return property_io_breaks() ? -1 : pwritev(fd, iov, count, offset);
}

static off_t
file_size(int fd)
{
    return lseek(fd, 0, SEEK_END);
}

static const struct file_pager_io file_io = { .read = file_read,
                                              .write = file_write,
                                              .size = file_size };

static struct memory *
file_memory(unsigned npages, bool shared)
{
    struct memory *memory = property_memory_new(npages, NULL);

    memory->fd = memfd_create("property", MFD_CLOEXEC);
    memory->shared = shared;
    memory->sealed = !shared;
    for (unsigned i = 0; i < npages; i++) {
        memory->fill[i] = (uint8_t)property_chance(256);
        memset(memory->pages[i]->bytes, memory->fill[i], PAGE_SIZE);
        CHECK(pwrite(memory->fd, memory->pages[i]->bytes, PAGE_SIZE, (off_t)(i * PAGE_SIZE)) ==
                  PAGE_SIZE,
              "pwrite");
    }
    return memory;
}

void
property_map_file(unsigned m)
{
    unsigned npages = 1 + (unsigned)property_chance(MEMORY_MAX);
    bool shared = property_chance(2) != 0;
    struct vm_map_insert args;
    struct vm_object *object;
    struct memory *memory;
    struct range r;

    if (!property_range_free(m, npages, &r))
        return;
    memory = file_memory(npages, shared);
    EXPECT(file_pager_create_io(&prop.sys, memory->fd, 0, npages, shared ? FILE_PAGER_SHARED : 0,
                                &file_io, &object),
           0);
    args = insert_args(&r, object);
    if (!shared)
        args.eflags |= MAP_ENTRY_NEEDS_COPY;
    insert(&r, &args, NORMAL, memory, !shared);
}

struct vm_object *
property_object_at(unsigned m, uint64_t c)
{
    struct vm_map_entry *entry = vm_map_entry_search(&prop.map[m], property_cell_gpa(c));

    vm_object_ref(entry->object);
    return entry->object;
}

/* One more entry on memory that is mapped already. */
void
property_map_again(unsigned m, uint64_t c)
{
    struct memory *memory = prop.cells[m][c].memory;
    struct vm_map_insert args;
    struct range r;

    if (memory == NULL || memory->sealed)
        return;
    if (!property_range_free(m, 1 + (unsigned)property_chance(memory->npages), &r))
        return;
    args = insert_args(&r, property_object_at(m, c));
    args.offset = property_chance(memory->npages - (r.end - r.first) + 1);
    insert(&r, &args, NORMAL, memory, false);
}

/* --- Windows ------------------------------------------------------------- */

static vpte_t
any_flags(void)
{
    switch (property_chance(8)) {
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

vpte_t
property_any_root(const struct vpte_format *format)
{
    unsigned tree = format == &vpte64_format ? TREE64 : TREE32;

    switch (property_chance(8)) {
    case 0:
        return PASS | VPTE_PS | property_chance(MEMORY_MAX) << PAGE_SHIFT;
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
        property_entry_set(table, i, (property_chance(npages + 1) << PAGE_SHIFT) | any_flags());
    if (!last)
        property_entry_set(table, 0, (vpte_t)next << PAGE_SHIFT | PASS);
}

/* Write the model's tables to the object. */
static void
tables_write(struct vm_object *object, const struct memory *memory)
{
    struct vm_fault_info info;
    struct vm_page *m;

    for (unsigned i = 0; i < TABLES; i++) {
        enum vm_result result;

        do
            result = vm_fault_object_page(&prop.map[0].meter, object, NULL, i, VM_PROT_WRITE,
                                          VM_FAULT_NORMAL, NULL, &m, &info);
        while (result != VM_OK && property_io_failed());
        CHECK(result == VM_OK, "table %u", i);
        memcpy(vm_page_address(m), memory->pages[i]->bytes, PAGE_SIZE);
        vm_page_unhold(m);
    }
}

static struct memory *
window_memory(unsigned npages)
{
    struct memory *memory = property_memory_new(npages, NULL);

    for (unsigned i = 0; i < 4; i++)
        table_init(memory->pages[TREE64 + i], 8, i == 3, npages, TREE64 + i + 1);
    for (unsigned i = 0; i < 2; i++)
        table_init(memory->pages[TREE32 + i], 4, i == 1, npages, TREE32 + i + 1);
    return memory;
}

void
property_map_window(unsigned m)
{
    unsigned npages = TABLES + 1 + (unsigned)property_chance(MEMORY_MAX - TABLES);
    const struct vpte_format *format = property_chance(2) != 0 ? &vpte64_format : &vpte32_format;
    struct vm_map_insert args;
    struct vm_object *object;
    struct memory *memory;
    struct range r;

    if (!property_range_free(m, TABLES + (unsigned)property_chance(MEMORY_MAX - TABLES), &r))
        return;
    memory = window_memory(npages);
    EXPECT(vm_object_create_default(&prop.sys, npages, &object), 0);
    tables_write(object, memory);
    args = insert_args(&r, object);
    args.maptype = VM_MAPTYPE_VPAGETABLE;
    args.format = format;
    args.root = property_any_root(format);
    insert(&r, &args, WINDOW, memory, false);
}

/* Another window, or a NORMAL entry, on a window's memory. */
void
property_map_window_again(unsigned m, uint64_t c)
{
    const struct cell *cell = &prop.cells[m][c];
    struct vm_map_insert args;
    struct range r;

    if (cell->kind != WINDOW || cell->memory->sealed)
        return;
    if (!property_range_free(m, 1 + (unsigned)property_chance(MEMORY_MAX), &r))
        return;
    args = insert_args(&r, property_object_at(m, c));
    args.maptype = VM_MAPTYPE_VPAGETABLE;
    args.format = property_chance(2) != 0 ? &vpte64_format : &vpte32_format;
    args.root = property_any_root(args.format);
    insert(&r, &args, WINDOW, cell->memory, false);
}

/* Runs of the memory's windows lose their mappings, as a guest does after it changed a table. */
static void
memory_inval(unsigned m, const struct memory *memory)
{
    for (uint64_t c = 0; c < CELLS; c++) {
        uint64_t end = c;

        while (end < CELLS && prop.cells[m][end].kind == WINDOW &&
               prop.cells[m][end].memory == memory)
            end++;
        if (end == c)
            continue;
        EXPECT(vm_map_inval(&prop.map[m], property_cell_gpa(c), property_cell_gpa(end)), 0);
        c = end - 1;
    }
}

/* Change entry `index` of the table that the cell shows now. */
static void
store_vpte(unsigned m, uint64_t c, struct page *table)
{
    unsigned index = (unsigned)property_chance(MEMORY_MAX);
    vpte_t value = (property_chance(MEMORY_MAX + 1) << PAGE_SHIFT) | any_flags();
    struct vm_fault_info info;

    enum vm_result result;

    if (!table->last)
        return;
    do
        result = vm_map_write(&prop.map[m],
                              gpa_add(property_cell_gpa(c), (uint64_t)index * table->entry_size),
                              &value, table->entry_size, &info);
    while (result != VM_OK && property_io_failed());
    CHECK(result == VM_OK, "%s", vm_result_name(result));
    property_entry_set(table, index, value);
}

/* The window shows its memory one to one for as long as it takes to change a table. */
void
property_write_vpte(unsigned m, uint64_t c)
{
    struct cell *cell = &prop.cells[m][c];
    vpte_t root = cell->root;
    struct page *table;

    if (cell->kind == GROWTH)
        return;
    if (cell->kind == WINDOW) {
        cell->root = PASS | VPTE_PS;
        EXPECT(vm_map_setmap(&prop.map[m], property_cell_gpa(c), property_cell_gpa(c + 1),
                             cell->root),
               0);
    }
    if (property_resolve(m, c, VM_PROT_WRITE, &table) == VM_OK && table->entry_size != 0)
        store_vpte(m, c, table);
    if (cell->kind == WINDOW) {
        cell->root = root;
        EXPECT(vm_map_setmap(&prop.map[m], property_cell_gpa(c), property_cell_gpa(c + 1), root),
               0);
    }
    if (cell->memory != NULL)
        memory_inval(m, cell->memory);
}
