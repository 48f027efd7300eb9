/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The plain model of memory: what each guest page has, and what an access comes to.
 */
#include "tests/unit/property.h"

#include <string.h>
#include <unistd.h>

/* A stack grows by at least so many pages (vm_map_entry.c). */
#define GROW_PAGES 32u

/* --- The model's memory -------------------------------------------------- */

struct page *
property_page_new(const struct page *from)
{
    struct page *page = malloc(sizeof(*page));

    if (from != NULL)
        *page = *from;
    else
        memset(page, 0, sizeof(*page));
    page->references = 1;
    return page;
}

void
property_page_unref(struct page *page)
{
    if (--page->references == 0)
        free(page);
}

struct memory *
property_memory_new(unsigned npages, const struct memory *from)
{
    struct memory *memory = calloc(1, sizeof(*memory));

    memory->npages = npages;
    memory->fd = -1;
    for (unsigned i = 0; i < npages; i++)
        memory->pages[i] = property_page_new(from != NULL ? from->pages[i] : NULL);
    return memory;
}

/* What page i of the file must have. */
static const uint8_t *
file_wants(const struct memory *memory, unsigned i, uint8_t *bytes)
{
    if (memory->shared)
        return memory->pages[i]->bytes;
    memset(bytes, memory->fill[i], PAGE_SIZE);
    return bytes;
}

void
property_file_check(const struct memory *memory, unsigned first, unsigned end)
{
    uint8_t bytes[PAGE_SIZE], wants[PAGE_SIZE];

    for (unsigned i = first; i < end; i++) {
        CHECK(pread(memory->fd, bytes, sizeof(bytes), (off_t)(i * PAGE_SIZE)) == PAGE_SIZE,
              "short");
        CHECK(memcmp(bytes, file_wants(memory, i, wants), PAGE_SIZE) == 0, "page %u of the file",
              i);
    }
}

void
property_memory_unref(struct memory *memory)
{
    if (memory == NULL || --memory->references != 0)
        return;
    if (memory->fd >= 0) {
        property_file_check(memory, 0, memory->npages);
        close(memory->fd);
    }
    for (unsigned i = 0; i < memory->npages; i++)
        property_page_unref(memory->pages[i]);
    free(memory);
}

void
property_cell_clear(struct cell *cell)
{
    if (cell->page != NULL)
        property_page_unref(cell->page);
    property_memory_unref(cell->memory);
    *cell = (struct cell){ 0 };
}

/* --- The model's walk ---------------------------------------------------- */

static vpte_t
entry_get(const struct page *table, unsigned index)
{
    vpte_t value = 0;

    memcpy(&value, table->bytes + index * table->entry_size, table->entry_size);
    return value;
}

void
property_entry_set(struct page *table, unsigned index, vpte_t value)
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

/* Returns the result; VM_OK: *found, and the entries have `bits` set too. */
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
        property_entry_set(tables[i], indexes[i], entry_get(tables[i], indexes[i]) | bits);
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
    if (cell->kind == GUARD || cell->kind == GROWTH)
        return VM_NOFAULT;
    if ((access & ~cell->prot) != 0)
        return VM_PROTECTION;
    *found = cell->page;
    return cell->kind == WINDOW ? walk(cell, access, bits, found) : VM_OK;
}

/* How many cells with growth lie directly below cell c. */
static uint64_t
growth_below(unsigned m, uint64_t c)
{
    uint64_t n = 0;

    while (n < c && prop.cells[m][c - n - 1].kind == GROWTH)
        n++;
    return n;
}

/* An access to a page that an entry may grow into: it does. */
static enum vm_result
grow(unsigned m, uint64_t c, vm_prot_t access)
{
    uint64_t top = c, npages, most;

    if (growth_below(m, c) == 0)
        return VM_NOFAULT;
    while (prop.cells[m][top].kind == GROWTH)
        top++;
    if ((access & ~prop.cells[m][top].prot) != 0)
        return VM_PROTECTION;
    most = growth_below(m, top) - 1;
    npages = top - c > GROW_PAGES ? top - c : GROW_PAGES;
    for (uint64_t i = 1; i <= npages && i <= most; i++) {
        struct cell *cell = &prop.cells[m][top - i];

        cell->kind = NORMAL;
        cell->prot = prop.cells[m][top].prot;
        cell->max = prop.cells[m][top].max;
    }
    return VM_OK;
}

enum vm_result
property_resolve(unsigned m, uint64_t c, vm_prot_t access, struct page **found)
{
    struct cell *cell = &prop.cells[m][c];
    enum vm_result result = cell->kind == GROWTH ? grow(m, c, access) : VM_OK;

    if (result != VM_OK)
        return result;
    return resolve_with(cell, access, access == VM_PROT_WRITE ? AM : VPTE_A, found);
}

bool
property_shows_table(const struct cell *cell)
{
    struct page *page;

    return resolve_with(cell, VM_PROT_READ, 0, &page) == VM_OK && page->entry_size != 0;
}
