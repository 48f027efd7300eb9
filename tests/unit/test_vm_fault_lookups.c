/* SPDX-License-Identifier: BSD-2-Clause */
/* How often a fault looks for its window: once, however many neighbours it maps along. */
#include "tests/unit/fault_rig.h"
#include "vmm/vpagetable/vm_prefault.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define PAGE(n) ((uint64_t)(n) << PAGE_SHIFT)
#define W(n) (RIG_WINDOW + PAGE(n))

/* The linker's names (ld --wrap).  NOLINTBEGIN(bugprone-reserved-identifier) */
unsigned __real_vm_ranges_search(const struct vm_ranges *r, uint64_t page);
unsigned __wrap_vm_ranges_search(const struct vm_ranges *r, uint64_t page);

static _Atomic(const struct vm_ranges *) counted;
static _Atomic unsigned lookups;

unsigned
__wrap_vm_ranges_search(const struct vm_ranges *r, uint64_t page)
{
    if (r == atomic_load_explicit(&counted, memory_order_relaxed))
        atomic_fetch_add_explicit(&lookups, 1, memory_order_relaxed);
    return __real_vm_ranges_search(r, page);
}
/* NOLINTEND(bugprone-reserved-identifier) */

/* Fault: how often was the window looked for?  *neighbours: how many came along. */
static unsigned
lookups_of(struct rig *rig, uint64_t gpa, vm_prot_t access, unsigned *neighbours)
{
    atomic_store(&lookups, 0);
    atomic_store(&counted, &rig->pmap.windows);
    cr_assert(eq(int, rig_burst(rig, gpa, access), VM_OK));
    atomic_store(&counted, NULL);
    *neighbours = rig_info.prefaulted;
    return atomic_load(&lookups);
}

Test(vm_fault_lookups, a_fault_looks_for_its_window_once_with_any_number_of_neighbours)
{
    unsigned neighbours, longest = 0;
    struct rig rig;

    rig_init(&rig, 0);
    for (uint64_t page = 0; page < 500; page += neighbours + 1) {
        cr_assert(eq(uint, lookups_of(&rig, PAGE(page), VM_PROT_WRITE, &neighbours), 1));
        longest = neighbours > longest ? neighbours : longest;
    }
    cr_assert(eq(uint, longest, 128));
    pmap_remove(&rig.pmap, gpa_from_u64(0), gpa_from_u64(PAGE(512)));
    cr_assert(eq(uint, lookups_of(&rig, PAGE(50), VM_PROT_READ, &neighbours), 1));
    cr_assert(eq(uint, neighbours, VM_PREFAULT_BEHIND + VM_PREFAULT_AHEAD));
    rig_fini(&rig);
}

Test(vm_fault_lookups, a_fault_through_a_virtual_page_table_too)
{
    unsigned neighbours, longest = 0;
    struct rig rig;

    rig_window_init(&rig, 256, RIG_PASS);
    for (uint64_t page = 0; page < 256; page += neighbours + 1) {
        cr_assert(eq(uint, lookups_of(&rig, W(page), VM_PROT_READ, &neighbours), 1));
        longest = neighbours > longest ? neighbours : longest;
    }
    cr_assert(eq(uint, longest, VM_PREFAULT_VPAGETABLE));
    rig_fini(&rig);
}

/* What need not know the window beforehand. */
Test(vm_fault_lookups, a_fault_of_one_page_too)
{
    struct rig rig;

    rig_init(&rig, 0);
    rig_store(&rig, PAGE(7), 1);
    pmap_remove(&rig.pmap, gpa_from_u64(0), gpa_from_u64(PAGE(512)));
    atomic_store(&lookups, 0);
    atomic_store(&counted, &rig.pmap.windows);
    cr_assert(eq(int, rig_touch(&rig, PAGE(7), VM_PROT_READ), VM_OK));
    atomic_store(&counted, NULL);
    cr_assert(eq(uint, atomic_load(&lookups), 1));
    rig_fini(&rig);
}
