/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Building virtual page tables in RAM.
 */
#include "guest/lib/vpte.h"

#include "guest/lib/ram.h"

#include <stddef.h>

#define VPTE_DIRECTORY (VKVM_VPTE_V | VPTE_RWX)

const struct vpte_format vpte64 = { "vpte64", 4, 9, 8, 0 };
const struct vpte_format vpte32 = { "vpte32", 2, 10, 4, VKVM_MAP_VPTE32 };

uint64_t
vpte_read(const struct vpte_table *table, const void *entry)
{
    if (table->format->entry_size == 4)
        return __atomic_load_n((const uint32_t *)entry, __ATOMIC_ACQUIRE);
    return __atomic_load_n((const uint64_t *)entry, __ATOMIC_ACQUIRE);
}

void
vpte_write(const struct vpte_table *table, void *entry, uint64_t value)
{
    if (table->format->entry_size == 4)
        __atomic_store_n((uint32_t *)entry, (uint32_t)value, __ATOMIC_RELEASE);
    else
        __atomic_store_n((uint64_t *)entry, value, __ATOMIC_RELEASE);
}

uint64_t
vpte_swap(const struct vpte_table *table, void *entry, uint64_t value)
{
    if (table->format->entry_size == 4)
        return __atomic_exchange_n((uint32_t *)entry, (uint32_t)value, __ATOMIC_ACQ_REL);
    return __atomic_exchange_n((uint64_t *)entry, value, __ATOMIC_ACQ_REL);
}

uint64_t
vpte_clear_bits(const struct vpte_table *table, void *entry, uint64_t bits)
{
    if (table->format->entry_size == 4)
        return __atomic_fetch_and((uint32_t *)entry, (uint32_t)~bits, __ATOMIC_ACQ_REL);
    return __atomic_fetch_and((uint64_t *)entry, ~bits, __ATOMIC_ACQ_REL);
}

uint64_t
vpte_set_bits(const struct vpte_table *table, void *entry, uint64_t bits)
{
    if (table->format->entry_size == 4)
        return __atomic_fetch_or((uint32_t *)entry, (uint32_t)bits, __ATOMIC_ACQ_REL);
    return __atomic_fetch_or((uint64_t *)entry, bits, __ATOMIC_ACQ_REL);
}

/* Index bits still to translate below `level`. */
static unsigned
vpte_shift(const struct vpte_format *format, unsigned level)
{
    return (format->levels - level) * format->page_bits;
}

/* The entry of pindex in the table page at gpa, which is of `level`. */
static void *
vpte_slot(const struct vpte_format *format, uint64_t gpa, uint64_t pindex, unsigned level)
{
    uint64_t index = pindex >> vpte_shift(format, level);

    index &= ((uint64_t)1 << format->page_bits) - 1;
    return (char *)gpa + index * format->entry_size;
}

bool
vpte_table_init(struct vpte_table *table, const struct vpte_format *format)
{
    uint64_t gpa = ram_alloc();

    if (gpa == 0)
        return false;
    *table = (struct vpte_table){ .format = format, .root = gpa | VPTE_DIRECTORY, .ntables = 1 };
    return true;
}

/* Free the table page at gpa, which is of `level`, and those below it. */
static void
vpte_free_level(struct vpte_table *table, uint64_t gpa, unsigned level)
{
    uint64_t entries = (uint64_t)1 << table->format->page_bits;

    for (uint64_t i = 0; level < table->format->levels && i < entries; i++) {
        uint64_t value = vpte_read(table, (char *)gpa + i * table->format->entry_size);

        if ((value & VKVM_VPTE_V) && !(value & VKVM_VPTE_PS))
            vpte_free_level(table, vpte_frame(value), level + 1);
    }
    ram_free(gpa);
    table->ntables--;
}

void
vpte_table_fini(struct vpte_table *table)
{
    vpte_free_level(table, vpte_frame(table->root), 1);
    table->root = 0;
}

void *
vpte_entry_at(const struct vpte_table *table, uint64_t pindex, unsigned level)
{
    uint64_t value = table->root;
    void *entry = NULL;

    for (unsigned at = 1; at <= level; at++) {
        if (!(value & VKVM_VPTE_V) || (value & VKVM_VPTE_PS))
            return NULL;
        entry = vpte_slot(table->format, vpte_frame(value), pindex, at);
        value = vpte_read(table, entry);
    }
    return entry;
}

void *
vpte_entry(const struct vpte_table *table, uint64_t pindex)
{
    return vpte_entry_at(table, pindex, table->format->levels);
}

void *
vpte_entry_make(struct vpte_table *table, uint64_t pindex)
{
    const struct vpte_format *format = table->format;
    uint64_t value = table->root;
    void *entry = NULL;

    for (unsigned level = 1; level <= format->levels; level++) {
        if (!(value & VKVM_VPTE_V)) {
            value = ram_alloc();
            if (value == 0)
                return NULL;
            table->ntables++;
            value |= VPTE_DIRECTORY;
            vpte_write(table, entry, value);
        }
        if (value & VKVM_VPTE_PS)
            return NULL;
        entry = vpte_slot(format, vpte_frame(value), pindex, level);
        value = vpte_read(table, entry);
    }
    return entry;
}

uint64_t
vpte_run(const struct vpte_table *table, uint64_t pindex)
{
    uint64_t entries = (uint64_t)1 << table->format->page_bits;

    return entries - (pindex & (entries - 1));
}

bool
vpte_map(struct vpte_table *table, uint64_t pindex, uint64_t frame, uint64_t bits)
{
    void *entry = vpte_entry_make(table, pindex);

    if (entry == NULL)
        return false;
    vpte_write(table, entry, frame | bits);
    return true;
}

uint64_t
vpte_unmap(struct vpte_table *table, uint64_t pindex)
{
    void *entry = vpte_entry(table, pindex);

    return entry != NULL ? vpte_swap(table, entry, 0) : 0;
}

uint64_t
vpte_get(const struct vpte_table *table, uint64_t pindex)
{
    const void *entry = vpte_entry(table, pindex);

    return entry != NULL ? vpte_read(table, entry) : 0;
}

bool
vpte_lookup(const struct vpte_table *table, uint64_t pindex, uint64_t need, uint64_t *gpa)
{
    const struct vpte_format *format = table->format;
    uint64_t value = table->root;
    unsigned level = 0;

    need |= VKVM_VPTE_V;
    while ((value & need) == need) {
        uint64_t low = pindex & (((uint64_t)1 << vpte_shift(format, level)) - 1);

        if (level == format->levels || (value & VKVM_VPTE_PS)) {
            *gpa = vpte_frame(value) + (low << PAGE_SHIFT);
            return true;
        }
        level++;
        value = vpte_read(table, vpte_slot(format, vpte_frame(value), pindex, level));
    }
    return false;
}
