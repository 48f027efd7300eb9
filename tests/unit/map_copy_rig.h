/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For the tests of virtual copies: entries at SRC, copies of them at DST.  A file that includes this
 * has a rig of its own.
 */
#ifndef MAP_COPY_RIG_H
#define MAP_COPY_RIG_H

#include "tests/unit/checked_test.h"
#include "tests/unit/fault_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

/* Entries of a test live here, and copies of them there. */
#define SRC UINT64_C(0x10000000)
#define DST UINT64_C(0x20000000)
#define NPAGES 64u

static struct rig rig;

static inline void
vm_map_copy_setup(void)
{
    rig_init(&rig, 0);
}

static inline void
vm_map_copy_teardown(void)
{
    rig_fini(&rig);
}

static inline struct vm_map_insert
args_at(uint64_t start, uint64_t npages, struct vm_object *object)
{
    return (struct vm_map_insert){
        .start = gpa_from_u64(start),
        .end = gpa_from_u64(start + (npages << PAGE_SHIFT)),
        .object = object,
        .protection = VM_PROT_ALL,
        .max_protection = VM_PROT_ALL,
    };
}

/* An entry of npages on a new object, whose only reference it has. */
static inline struct vm_object *
map_new(uint64_t start, uint64_t npages)
{
    struct vm_map_insert args;
    struct vm_object *object;

    cr_assert(zero(int, vm_object_create_default(&rig.sys, npages, &object)));
    args = args_at(start, npages, object);
    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
    return object;
}

/* Another entry on an object. */
static inline void
map_again(uint64_t start, uint64_t npages, struct vm_object *object)
{
    struct vm_map_insert args = args_at(start, npages, object);

    vm_object_ref(object);
    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
}

static inline int
copy_pages(uint64_t src, uint64_t dst, uint64_t npages)
{
    return vm_map_copy(&rig.map, gpa_from_u64(src), gpa_from_u64(dst), npages << PAGE_SHIFT);
}

static inline int
remove_pages(uint64_t start, uint64_t npages)
{
    return vm_map_remove(&rig.map, gpa_from_u64(start),
                         gpa_from_u64(start + (npages << PAGE_SHIFT)));
}

static inline uint64_t
at(uint64_t base, uint64_t page)
{
    return base + (page << PAGE_SHIFT);
}

static inline void
fill(uint64_t base, uint64_t npages, uint64_t value)
{
    for (uint64_t i = 0; i < npages; i++)
        rig_store(&rig, at(base, i), value + i);
}

static inline void
expect(uint64_t base, uint64_t npages, uint64_t value)
{
    for (uint64_t i = 0; i < npages; i++)
        cr_assert(eq(u64, rig_load(&rig, at(base, i)), value + i), "page %u", (unsigned)i);
}

static inline struct vm_map_entry *
entry_at(uint64_t gpa)
{
    return rig_entry(&rig, gpa);
}

static inline bool
needs_copy(uint64_t gpa)
{
    return (entry_at(gpa)->eflags & MAP_ENTRY_NEEDS_COPY) != 0;
}

static inline void
map_stack(uint64_t start, uint64_t growth)
{
    struct vm_object *object;
    struct vm_map_insert args;

    cr_assert(zero(int, vm_object_create_default(&rig.sys, NPAGES, &object)));
    args = args_at(start, NPAGES - growth, object);
    args.offset = args.growth = growth;
    args.eflags = MAP_ENTRY_GROWDOWN;
    cr_assert(zero(int, vm_map_insert(&rig.map, &args)));
}

#endif
