/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two maps, as two VMs have, on one memory system: each counts what happens at its own
 * addresses, they share what both map, compete for memory, and one may end.
 */
#include "tests/unit/audit.h"
#include "tests/unit/swap_rig.h"
#include "vmm/vpagetable/vm_meter.h"

#define SHARED PAGE(RIG_PAGES) /* where both map the shared object */
#define SHARED_PAGES 16u

/* The second VM; the first is a rig. */
struct other {
    struct rig *rig;
    struct fake_pmap fake;
    struct pmap pmap;
    struct vm_map map;
};

static void
map_object(struct vm_map *map, uint64_t start, struct vm_object *object, vm_prot_t prot,
           unsigned eflags)
{
    struct vm_map_insert args = {
        .start = gpa_from_u64(start),
        .end = gpa_from_u64(start + (object->size << PAGE_SHIFT)),
        .object = object,
        .protection = prot,
        .max_protection = prot,
        .eflags = eflags,
    };

    cr_assert(zero(int, vm_map_insert(map, &args)));
}

/* An empty map on the rig's system; then with RAM of its own at 0. */
static void
other_init(struct other *other, struct rig *rig)
{
    struct vm_object *ram;

    other->rig = rig;
    fake_pmap_init(&other->fake);
    cr_assert(zero(int, pmap_init(&other->pmap, &rig->sys, &fake_pmap_ops, &other->fake)));
    vm_map_init(&other->map, &rig->sys, &other->pmap);
    cr_assert(zero(int, vm_object_create_default(&rig->sys, RIG_PAGES, &ram)));
    map_object(&other->map, 0, ram, VM_PROT_ALL, 0);
}

static void
other_fini(struct other *other)
{
    vm_map_fini(&other->map);
    pmap_fini(&other->pmap);
    fake_pmap_fini(&other->fake);
}

static void
audit_both(struct other *other)
{
    struct vm_map *maps[] = { &other->rig->map, &other->map };
    struct audit audit = {
        .sys = &other->rig->sys,
        .maps = maps,
        .nmaps = 2,
        .objects = &other->rig->ram,
        .nobjects = other->rig->ram != NULL,
    };

    audit_engine(&audit);
    fake_pmap_audit(&other->rig->fake);
    fake_pmap_audit(&other->fake);
}

static uint64_t
other_load(struct other *other, uint64_t gpa)
{
    struct vm_fault_info info;
    uint64_t value;

    while (!fake_guest_load(&other->fake, gpa_from_u64(gpa), &value))
        cr_assert(eq(int, vm_fault(&other->map, gpa_from_u64(gpa), VM_PROT_READ, 0, &info), VM_OK));
    return value;
}

static void
other_store(struct other *other, uint64_t gpa, uint64_t value)
{
    struct vm_fault_info info;

    while (!fake_guest_store(&other->fake, gpa_from_u64(gpa), value))
        cr_assert(
            eq(int, vm_fault(&other->map, gpa_from_u64(gpa), VM_PROT_WRITE, 0, &info), VM_OK));
}

#define other_meter(other, name) vm_meter_get(&(other)->map.meter, name)

/* Both VMs, and an object behind the pager that both map from SHARED on. */
static void
share_init(struct other *other, struct rig *rig, struct rig_pager *pager, unsigned eflags)
{
    struct vm_object *object;
    vm_prot_t prot = eflags == 0 ? VM_PROT_READ : VM_PROT_ALL;

    rig_init(rig, 0);
    other_init(other, rig);
    object = rig_pager_object(rig, SHARED_PAGES, pager);
    pager->have_first = 0;
    pager->have_end = SHARED_PAGES;
    vm_object_ref(object);
    map_object(&rig->map, SHARED, object, prot, eflags);
    map_object(&other->map, SHARED, object, prot, eflags);
}

Test(vm_system_shared, each_map_counts_what_happens_at_its_own_addresses)
{
    struct other other;
    struct rig rig;

    rig_init(&rig, 0);
    other_init(&other, &rig);
    for (unsigned p = 0; p < 10; p++)
        cr_assert(eq(int, rig_touch(&rig, PAGE(p), VM_PROT_WRITE), VM_OK));
    for (unsigned p = 0; p < 3; p++)
        other_store(&other, PAGE(2 * p), p);
    cr_assert(eq(u64, rig_meter(&rig, v_vm_faults), 10));
    cr_assert(eq(u64, rig_meter(&rig, v_kind_zero_fill), 10));
    cr_assert(eq(u64, other_meter(&other, v_vm_faults), 3));
    cr_assert(eq(u64, other_meter(&other, v_zfod), 3));
    cr_assert(zero(int, vm_map_inval(&other.map, gpa_from_u64(0), gpa_from_u64(PAGE(1)))));
    cr_assert(zero(u64, rig_meter(&rig, v_inval)));
    cr_assert(eq(u64, other_meter(&other, v_inval), 1));
    audit_both(&other);
    other_fini(&other);
    rig_fini(&rig);
}

Test(vm_system_shared, a_refused_access_counts_for_the_map_that_it_was_made_in)
{
    struct vm_fault_info info;
    struct other other;
    struct rig rig;

    rig_init(&rig, 0);
    other_init(&other, &rig);
    cr_assert(eq(int, vm_fault(&other.map, gpa_from_u64(SHARED), VM_PROT_READ, 0, &info),
                 VM_INVALID_ADDRESS));
    cr_assert(eq(u64, other_meter(&other, v_kind_failed), 1));
    cr_assert(zero(u64, rig_meter(&rig, v_vm_faults)));
    other_fini(&other);
    rig_fini(&rig);
}

Test(vm_system_shared, a_page_that_both_map_is_read_once_and_each_counts_its_own_fault)
{
    struct rig_pager pager;
    struct other other;
    struct rig rig;

    share_init(&other, &rig, &pager, 0);
    cr_assert(eq(u64, rig_load(&rig, SHARED + PAGE(2)), 2 * 512));
    cr_assert(eq(u64, rig_meter(&rig, v_kind_page_in), 1));
    cr_assert(eq(u64, rig_meter(&rig, v_majflt), 1));
    cr_assert(eq(u64, other_load(&other, SHARED + PAGE(2)), 2 * 512));
    cr_assert(eq(u64, other_meter(&other, v_vm_faults), 1));
    cr_assert(eq(u64, other_meter(&other, v_kind_resident), 1));
    cr_assert(eq(u64, other_meter(&other, v_majflt), 0));
    cr_assert(eq(u64, rig_meter(&rig, v_vm_faults), 1));
    cr_assert(eq(u64, rig_meter(&rig, v_pagein), pager.pages));
    cr_assert(zero(u64, other_meter(&other, v_pagein)));
    audit_both(&other);
    other_fini(&other);
    rig_fini(&rig);
}

Test(vm_system_shared, a_write_copies_for_the_map_that_made_it_and_the_other_reads_on)
{
    struct rig_pager pager;
    struct other other;
    struct rig rig;

    share_init(&other, &rig, &pager, MAP_ENTRY_NEEDS_COPY);
    cr_assert(eq(u64, rig_load(&rig, SHARED), 0));
    other_store(&other, SHARED, 77);
    cr_assert(eq(u64, rig_load(&rig, SHARED), 0));
    cr_assert(eq(u64, other_load(&other, SHARED), 77));
    cr_assert(eq(u64, other_meter(&other, v_kind_cow), 1));
    cr_assert(eq(u64, other_meter(&other, v_cow_faults), 1));
    cr_assert(zero(u64, rig_meter(&rig, v_cow_faults)));
    audit_both(&other);
    other_fini(&other);
    rig_fini(&rig);
}

Test(vm_system_shared, one_that_ends_takes_only_its_own_with_it)
{
    struct rig_pager pager;
    struct other other;
    uint64_t resident_before;
    struct rig rig;

    share_init(&other, &rig, &pager, 0);
    rig_store(&rig, PAGE(1), 11);
    resident_before = resident(&rig);
    for (unsigned p = 0; p < 5; p++)
        other_store(&other, PAGE(p), 100 + p);
    cr_assert(eq(u64, other_load(&other, SHARED), 0));
    cr_assert(eq(u64, rig_load(&rig, SHARED), 0));
    other_fini(&other);
    rig_audit(&rig);
    cr_assert(eq(u64, rig_load(&rig, PAGE(1)), 11));
    cr_assert(eq(int, rig_mapped(&rig, SHARED), VM_PROT_READ));
    cr_assert(eq(u64, rig_load(&rig, SHARED + PAGE(3)), 3 * 512));
    cr_assert(eq(u64, resident(&rig), resident_before + pager.pages));
    rig_fini(&rig);
}

Test(vm_system_shared, pressure_of_one_pages_out_what_the_other_does_not_use, .timeout = 60)
{
    struct other other;
    struct rig rig;

    swap_rig(&rig, 64, 1000);
    other_init(&other, &rig);
    fill(&rig, 0, 20);
    make_old(&rig, rig.ram, false);
    for (unsigned p = 0; p < 200; p++) {
        other_store(&other, PAGE(p), 1000 + p);
        (void)vm_pageout_scan(&rig.sys, vm_budget_shortage(&rig.sys));
    }
    cr_assert(lt(u64, rig.ram->resident_count, 20));
    cr_assert(rig_system_meter(&rig, v_pageout) != 0);
    audit_both(&other);
    for (unsigned p = 0; p < 200; p++) {
        cr_assert(eq(u64, other_load(&other, PAGE(p)), 1000 + p));
        (void)vm_pageout_scan(&rig.sys, vm_budget_shortage(&rig.sys));
    }
    cr_assert(rig_meter(&rig, v_kind_page_in) == 0 && other_meter(&other, v_kind_page_in) != 0);
    other_fini(&other);
    check(&rig, 0, 20);
    cr_assert(rig_meter(&rig, v_kind_page_in) != 0);
    swap_fini(&rig);
}
