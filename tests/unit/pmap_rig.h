/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For the tests of the pmap: one pmap with a window of natural frames and one without.  Each test
 * ends with the audits of pmap and fake, so every test also proves that tables, reverse links and
 * machine agree.  All pages stay busy: the tests are their owner.  A file that includes this has its
 * own.
 */
#ifndef PMAP_RIG_H
#define PMAP_RIG_H

#include "tests/unit/busy_pages.h"
#include "tests/unit/checked_test.h"
#include "tests/unit/fake_pmap.h"

#define OBJECT_PAGES 4096
#define WINDOW_PAGES 1100

/* Windows do not begin at a chunk's border: they have a part of a chunk at both ends. */
#define LEAD_PAGES 100
#define BORDER (PMAP_CHUNK_PAGES - LEAD_PAGES) /* index of the first page of the second chunk */
#define NATURAL_START ((uint64_t)0x10000000 + LEAD_PAGES * PAGE_SIZE)
#define FOREIGN_START ((uint64_t)0x40000000 + LEAD_PAGES * PAGE_SIZE)

static struct vm_system sys;
static struct vm_object *object;
static struct fake_pmap fake;
static struct pmap pmap;

/* Page i of the window whose natural frames are the object's. */
static inline gpa_t
natural_at(uint64_t i)
{
    return gpa_from_u64(NATURAL_START + i * PAGE_SIZE);
}

/* Page i of the window without natural frames. */
static inline gpa_t
foreign_at(uint64_t i)
{
    return gpa_from_u64(FOREIGN_START + i * PAGE_SIZE);
}

static inline void
pmap_setup(void)
{
    struct vm_system_config config = { .store_pages = 1 << 16 };

    cr_assert(vm_system_init(&sys, &config) == 0);
    cr_assert(vm_object_create_default(&sys, OBJECT_PAGES, &object) == 0);
    fake_pmap_init(&fake);
    cr_assert(pmap_init(&pmap, &sys, &fake_pmap_ops, &fake) == 0);
    cr_assert(pmap_window_add(&pmap, natural_at(0), WINDOW_PAGES, object->extent) == 0);
    cr_assert(pmap_window_add(&pmap, foreign_at(0), WINDOW_PAGES, PMAP_NO_NATURAL) == 0);
}

static inline void
pmap_teardown(void)
{
    pmap_audit(&pmap);
    fake_pmap_audit(&fake);
    pmap_fini(&pmap);
    fake_pmap_fini(&fake);
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
enter_in(struct pmap *in, gpa_t gpa, struct vm_page *m, vm_prot_t prot)
{
    return pmap_enter(in, NULL, gpa, &m, &prot, 1, 0, NULL);
}

static inline int
enter(gpa_t gpa, struct vm_page *m, vm_prot_t prot)
{
    return enter_in(&pmap, gpa, m, prot);
}

/* Enter pages [pindex, pindex + n) of the object as a run. */
static inline int
enter_run(gpa_t gpa, vm_pindex_t pindex, unsigned n, vm_prot_t prot, unsigned demand,
          struct pmap_entered *entered)
{
    struct vm_page *m[2 * PMAP_CHUNK_PAGES];
    vm_prot_t prots[2 * PMAP_CHUNK_PAGES];

    for (unsigned i = 0; i < n; i++) {
        m[i] = page(pindex + i);
        prots[i] = prot;
    }
    return pmap_enter(&pmap, NULL, gpa, m, prots, n, demand, entered);
}

static inline bool
maps(gpa_t gpa, const struct vm_page *m, vm_prot_t prot)
{
    struct vm_page *found;
    vm_frame_t frame = 0;
    vm_prot_t machine = VM_PROT_NONE;

    return pmap_extract(&pmap, gpa, &found) == prot && found == m &&
           fake_pmap_lookup(&fake, gpa, &frame, &machine) && frame == vm_page_frame(m) &&
           machine == prot;
}

static inline bool
maps_nothing(gpa_t gpa)
{
    return pmap_extract(&pmap, gpa, NULL) == VM_PROT_NONE &&
           !fake_pmap_lookup(&fake, gpa, NULL, NULL);
}

#endif
