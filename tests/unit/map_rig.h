/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For the tests of the map: a map over the fake machine half, and the three kinds of entries.
 * Each test ends with the audits of map, pmap and fake.  A file that includes this has a map of its
 * own.
 */
#ifndef MAP_RIG_H
#define MAP_RIG_H

#include "tests/unit/busy_pages.h"
#include "tests/unit/checked_test.h"
#include "tests/unit/fake_pmap.h"
#include "vmm/vpagetable/vm_map.h"

#define OBJECT_PAGES 1024

static struct vm_system sys;
static struct vm_object *object;
static struct fake_pmap fake;
static struct pmap pmap;
static struct vm_map map;

static inline gpa_t
at(uint64_t i)
{
    return gpa_from_u64(i * PAGE_SIZE);
}

static inline void
vm_map_setup(void)
{
    struct vm_system_config config = { .store_pages = 1 << 16 };

    cr_assert(vm_system_init(&sys, &config) == 0);
    cr_assert(vm_object_create_default(&sys, OBJECT_PAGES, &object) == 0);
    fake_pmap_init(&fake);
    cr_assert(pmap_init(&pmap, &sys, &fake_pmap_ops, &fake) == 0);
    vm_map_init(&map, &sys, &pmap);
}

static inline void
vm_map_teardown(void)
{
    vm_map_audit(&map);
    pmap_audit(&pmap);
    fake_pmap_audit(&fake);
    vm_map_fini(&map);
    pmap_fini(&pmap);
    fake_pmap_fini(&fake);
    cr_assert(object->ref_count == 1, "the map gave its references back");
    busy_pages_wakeup(object);
    vm_object_unref(object);
    vm_system_fini(&sys);
}

/* The object's page i, busy and valid. */
static inline struct vm_page *
page(vm_pindex_t i)
{
    return busy_page(object, i);
}

static inline int
enter(gpa_t gpa, struct vm_page *m, vm_prot_t prot)
{
    return pmap_enter(&pmap, NULL, gpa, &m, &prot, 1, 0, NULL);
}

static inline bool
mapped(uint64_t i)
{
    return fake_pmap_lookup(&fake, at(i), NULL, NULL);
}

/* What the tests insert unless they say otherwise. */
static inline struct vm_map_insert
normal(uint64_t start, uint64_t end)
{
    return (struct vm_map_insert){
        .start = at(start),
        .end = at(end),
        .object = object,
        .maptype = VM_MAPTYPE_NORMAL,
        .protection = VM_PROT_ALL,
        .max_protection = VM_PROT_ALL,
    };
}

static inline struct vm_map_insert
vpagetable(uint64_t start, uint64_t end)
{
    struct vm_map_insert args = normal(start, end);

    args.maptype = VM_MAPTYPE_VPAGETABLE;
    args.format = &vpte64_format;
    args.root = 0x1007;
    return args;
}

static inline struct vm_map_insert
guard(uint64_t start, uint64_t end)
{
    struct vm_map_insert args = normal(start, end);

    args.object = NULL;
    args.eflags = MAP_ENTRY_NOFAULT;
    return args;
}

/* Insert; on success the map has a reference of its own. */
static inline int
insert(struct vm_map_insert args)
{
    int error;

    if (args.object != NULL)
        vm_object_ref(args.object);
    error = vm_map_insert(&map, &args);
    if (error != 0 && args.object != NULL)
        vm_object_unref(args.object);
    return error;
}

/* Look up and end the lookup; *out may be NULL. */
static inline enum vm_result
lookup(gpa_t gpa, vm_prot_t access, struct vm_map_lookup *out)
{
    struct vm_map_lookup found = { 0 };
    enum vm_result result = vm_map_lookup(&map, gpa, access, &found);

    if (result == VM_OK)
        vm_map_lookup_done(&map);
    if (out != NULL)
        *out = found;
    return result;
}

#endif
