/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Accesses, compared with what the model says; and I/O that fails now and then, after which
 * what was asked for is asked for again: nothing may have been changed or lost.
 */
#include "tests/unit/property.h"

#include <errno.h>
#include <string.h>

struct property prop = { .op_name = "begin" };

uint64_t
property_chance(uint64_t limit)
{
    prop.random ^= prop.random << 13;
    prop.random ^= prop.random >> 7;
    prop.random ^= prop.random << 17;
    return (prop.random >> 11) % limit;
}

/* --- I/O that fails ------------------------------------------------------ */

bool
property_io_failed(void)
{
    bool hit = prop.breaking.hit;

    prop.breaking.hit = false;
    return hit;
}

bool
property_io_breaks(void)
{
    if (prop.breaking.after == 0)
        return false;
    if (prop.breaking.after > 1) {
        prop.breaking.after--;
        return false;
    }
    if (prop.breaking.length-- == 0) {
        prop.breaking.after = 0;
        return false;
    }
    prop.breaking.hit = true;
    errno = EIO;
    return true;
}

/* --- Accesses ------------------------------------------------------------ */

static vpte_t
entry_get(const struct page *table, unsigned index)
{
    vpte_t value = 0;

    memcpy(&value, table->bytes + index * table->entry_size, table->entry_size);
    return value;
}

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

/* Repeated when I/O failed and nothing else is wrong. */
static void
fault_expect(unsigned m, gpa_t gpa, vm_prot_t access, enum vm_result want)
{
    struct vm_fault_info info;
    enum vm_result result;

    do
        result = vm_fault(&prop.map[m], gpa, access,
                          property_chance(4) != 0 ? VM_FAULT_BURST : VM_FAULT_NORMAL, &info);
    while (result != want && property_io_failed());
    CHECK(result == want, "access %u of %#" PRIx64 ": %s, not %s (error %d, %s)", access, gpa.value,
          vm_result_name(result), vm_result_name(want), info.error,
          info.cause != NULL ? info.cause : "");
}

/* The guest touches the page; on VM_OK it is mapped for that. */
static enum vm_result
touch(unsigned m, uint64_t c, vm_prot_t access, struct page **page)
{
    enum vm_result want = property_resolve(m, c, access, page);
    gpa_t gpa = property_cell_gpa(c);
    vm_prot_t needs = access == VM_PROT_EXECUTE ? VM_PROT_READ : access;

    prop.op++;
    if (want == VM_OK) {
        for (unsigned tries = 0; !fake_guest_access(&prop.fake[m], gpa, needs); tries++) {
            CHECK(tries < 3, "%#" PRIx64 " stays unmapped", gpa.value);
            fault_expect(m, gpa, access, VM_OK);
        }
    } else {
        CHECK(access == VM_PROT_EXECUTE || !fake_guest_access(&prop.fake[m], gpa, needs),
              "%#" PRIx64 " is mapped: %s", gpa.value, vm_result_name(want));
        fault_expect(m, gpa, access, want);
    }
    return want;
}

void
property_read_cell(unsigned m, uint64_t c)
{
    vm_prot_t access = property_chance(8) == 0 ? VM_PROT_EXECUTE : VM_PROT_READ;
    struct page *page;
    vm_frame_t frame;

    if (touch(m, c, access, &page) != VM_OK)
        return;
    CHECK(fake_pmap_lookup(&prop.fake[m], property_cell_gpa(c), &frame, NULL), "not mapped");
    page_compare(page, vm_frame_address(&prop.sys, frame), property_cell_gpa(c).value);
}

void
property_write_cell(unsigned m, uint64_t c)
{
    uint64_t offset = property_chance(512) * 8, value = property_chance(UINT64_C(1) << 50) + 1;
    struct page *page;

    if (property_shows_table(&prop.cells[m][c]))
        return;
    if (touch(m, c, VM_PROT_WRITE, &page) != VM_OK)
        return;
    CHECK(fake_guest_store(&prop.fake[m], gpa_add(property_cell_gpa(c), offset), value),
          "not writable");
    memcpy(page->bytes + offset, &value, sizeof(value));
}

/* The monitor's way: held pages. */
void
property_copy_in(unsigned m, uint64_t c)
{
    uint64_t offset = property_chance(512) * 8, value = property_chance(UINT64_C(1) << 50) + 1;
    struct vm_fault_info info;
    struct page *page;
    enum vm_result want, result;

    if (property_shows_table(&prop.cells[m][c]))
        return;
    prop.op++;
    want = property_resolve(m, c, VM_PROT_WRITE, &page);
    do
        result = vm_map_write(&prop.map[m], gpa_add(property_cell_gpa(c), offset), &value,
                              sizeof(value), &info);
    while (result != want && property_io_failed());
    CHECK(result == want, "%s, not %s", vm_result_name(result), vm_result_name(want));
    if (result == VM_OK)
        memcpy(page->bytes + offset, &value, sizeof(value));
}

void
property_copy_out(unsigned m, uint64_t c)
{
    uint8_t bytes[PAGE_SIZE];
    struct vm_fault_info info;
    struct page *page;
    enum vm_result want = property_resolve(m, c, VM_PROT_READ, &page);
    enum vm_result result;

    prop.op++;
    do
        result = vm_map_read(&prop.map[m], property_cell_gpa(c), bytes, sizeof(bytes), &info);
    while (result != want && property_io_failed());
    CHECK(result == want, "%s, not %s", vm_result_name(result), vm_result_name(want));
    if (result == VM_OK)
        page_compare(page, bytes, property_cell_gpa(c).value);
}
