/* SPDX-License-Identifier: BSD-2-Clause */
/* See fault_rig.h. */
#include "tests/unit/fault_rig.h"

#include "tests/unit/audit.h"
#include "vmm/vpagetable/vm_budget.h"
#include "vmm/vpagetable/vm_shadow.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#define PAGE(n) ((uint64_t)(n) << PAGE_SHIFT)

_Thread_local struct vm_fault_info rig_info;

void
rig_init_store(struct rig *rig, uint64_t budget, uint64_t store_pages)
{
    struct vm_system_config config = { .store_pages = store_pages, .ram_budget = budget };

    cr_assert(zero(int, vm_system_init(&rig->sys, &config)));
    fake_pmap_init(&rig->fake);
    cr_assert(zero(int, pmap_init(&rig->pmap, &rig->sys, &fake_pmap_ops, &rig->fake)));
    vm_map_init(&rig->map, &rig->sys, &rig->pmap);
    rig->ram = NULL;
}

void
rig_init_empty(struct rig *rig, uint64_t budget)
{
    rig_init_store(rig, budget, 1 << 16);
}

void
rig_map_ram(struct rig *rig, struct vm_object *ram, vm_prot_t prot)
{
    struct vm_map_insert args = {
        .end = gpa_from_u64(ram->size << PAGE_SHIFT),
        .object = ram,
        .protection = prot,
        .max_protection = VM_PROT_ALL,
    };

    rig->ram = ram;
    vm_object_ref(ram);
    cr_assert(zero(int, vm_map_insert(&rig->map, &args)));
}

void
rig_init(struct rig *rig, uint64_t budget)
{
    struct vm_object *ram;

    rig_init_empty(rig, budget);
    cr_assert(zero(int, vm_object_create_default(&rig->sys, RIG_PAGES, &ram)));
    rig_map_ram(rig, ram, VM_PROT_ALL);
}

void
rig_audit(struct rig *rig)
{
    struct vm_map *map = &rig->map;
    struct audit audit = {
        .sys = &rig->sys,
        .maps = &map,
        .nmaps = 1,
        .objects = &rig->ram,
        .nobjects = rig->ram != NULL,
    };

    audit_engine(&audit);
    fake_pmap_audit(&rig->fake);
}

void
rig_fini(struct rig *rig)
{
    rig_audit(rig);
    vm_map_fini(&rig->map);
    pmap_fini(&rig->pmap);
    fake_pmap_fini(&rig->fake);
    if (rig->ram != NULL)
        vm_object_unref(rig->ram);
    cr_assert(zero(u64, vm_budget_resident(&rig->sys)));
    vm_system_fini(&rig->sys);
}

void
rig_shadow(struct vm_object *object, struct vm_object *backing, vm_pindex_t offset)
{
    vm_mutex_lock(&backing->lock);
    vm_shadow_attach(object, backing, offset);
    vm_mutex_unlock(&backing->lock);
}

/* --- The pager ----------------------------------------------------------- */

static bool
pager_haspage(struct vm_object *object, vm_pindex_t pindex, unsigned *before, unsigned *after)
{
    struct rig_pager *pager = object->handle;
    bool has;

    vm_mutex_lock(&pager->lock);
    has = pindex >= pager->have_first && pindex < pager->have_end;
    if (before != NULL)
        *before = has ? (unsigned)(pindex - pager->have_first) : 0;
    if (after != NULL)
        *after = has ? (unsigned)(pager->have_end - pindex - 1) : 0;
    vm_mutex_unlock(&pager->lock);
    return has;
}

static void
pager_read(struct vm_page *m)
{
    uint64_t *words = vm_page_address(m);

    for (unsigned i = 0; i < 512; i++)
        words[i] = vm_page_pindex(m) * 512 + i;
    vm_page_flag_clear(m, VM_PAGE_ZERO);
}

static enum vm_pager_result
pager_getpages(struct vm_object *object, struct vm_page **m, unsigned count, unsigned reqpage,
               bool *done)
{
    struct rig_pager *pager = object->handle;
    enum vm_pager_result result;

    vm_mutex_lock(&pager->lock);
    pager->calls++;
    pager->pages += count;
    pager->last_first = vm_page_pindex(m[0]);
    pager->last_end = vm_page_pindex(m[count - 1]) + 1;
    while (pager->wait || pager->wait_page == vm_page_pindex(m[reqpage])) {
        pager->waiting++;
        vm_cond_broadcast(&pager->cond);
        vm_cond_wait(&pager->cond, &pager->lock);
        pager->waiting--;
    }
    result = pager->result;
    if (result == VM_PAGER_FAIL && pager->gone)
        pager->have_end = pager->have_first;
    for (unsigned i = 0; i < count; i++) {
        cr_assert(vm_page_flag_test(m[i], VM_PAGE_BUSY));
        done[i] = result == VM_PAGER_OK && vm_page_pindex(m[i]) != pager->skip;
        if (done[i])
            pager_read(m[i]);
    }
    vm_mutex_unlock(&pager->lock);
    return result;
}

static enum vm_pager_result
pager_peek(struct vm_object *object, vm_pindex_t pindex, void *page)
{
    struct rig_pager *pager = object->handle;
    enum vm_pager_result result;
    uint64_t *words = page;

    vm_mutex_lock(&pager->lock);
    result = pager->result;
    if (result == VM_PAGER_FAIL)
        pager->have_end = pager->have_first;
    vm_mutex_unlock(&pager->lock);
    for (unsigned i = 0; i < 512; i++)
        words[i] = pindex * 512 + i;
    return result;
}

/* Writes always succeed; nobody reads them back. */
static enum vm_pager_result
pager_putpages(struct vm_object *object, struct vm_page **m, unsigned count, bool *done)
{
    (void)object;
    for (unsigned i = 0; i < count; i++) {
        atomic_store(&m[i]->dirty, 0);
        done[i] = true;
    }
    return VM_PAGER_OK;
}

static const struct vm_pager_ops pager_ops = {
    .name = "test",
    .haspage = pager_haspage,
    .getpages = pager_getpages,
    .peek = pager_peek,
    .putpages = pager_putpages,
};

struct vm_object *
rig_pager_object(struct rig *rig, uint64_t npages, struct rig_pager *pager)
{
    struct vm_object *object;

    *pager = (struct rig_pager){ .have_end = npages, .skip = UINT64_MAX, .wait_page = UINT64_MAX };
    vm_mutex_init(&pager->lock);
    vm_cond_init(&pager->cond);
    cr_assert(
        zero(int, vm_object_create(&rig->sys, OBJT_FILE, npages, &pager_ops, pager, &object)));
    return object;
}

void
rig_init_pager(struct rig *rig, struct rig_pager *pager)
{
    rig_init_empty(rig, 0);
    rig_map_ram(rig, rig_pager_object(rig, RIG_PAGES, pager), VM_PROT_ALL);
}

void
rig_pager_wait_for(struct rig_pager *pager, unsigned waiting)
{
    vm_mutex_lock(&pager->lock);
    while (pager->waiting < waiting)
        vm_cond_wait(&pager->cond, &pager->lock);
    vm_mutex_unlock(&pager->lock);
}

void
rig_pager_release(struct rig_pager *pager)
{
    vm_mutex_lock(&pager->lock);
    pager->wait = false;
    pager->wait_page = UINT64_MAX;
    vm_cond_broadcast(&pager->cond);
    vm_mutex_unlock(&pager->lock);
}

/* --- Windows and tables -------------------------------------------------- */

void
rig_window(struct rig *rig, uint64_t start, uint64_t npages, vm_prot_t prot,
           const struct vpte_format *format, vpte_t root)
{
    struct vm_map_insert args = {
        .start = gpa_from_u64(start),
        .end = gpa_from_u64(start + (npages << PAGE_SHIFT)),
        .object = rig->ram,
        .maptype = VM_MAPTYPE_VPAGETABLE,
        .format = format,
        .root = root,
        .protection = prot,
        .max_protection = VM_PROT_ALL,
    };

    vm_object_ref(rig->ram);
    cr_assert(zero(int, vm_map_insert(&rig->map, &args)));
}

struct vm_map_entry *
rig_entry(struct rig *rig, uint64_t gpa)
{
    struct vm_map_entry *e = TAILQ_FIRST(&rig->map.entries);

    while (e != NULL && (gpa < e->start.value || gpa >= e->end.value))
        e = TAILQ_NEXT(e, link);
    cr_assert(e != NULL);
    return e;
}

void
rig_vpte_set(struct rig *rig, uint64_t page, unsigned index, vpte_t vpte)
{
    cr_assert(eq(int,
                 vm_map_write(&rig->map, gpa_from_u64((page << PAGE_SHIFT) + index * 8), &vpte,
                              sizeof(vpte), &rig_info),
                 VM_OK));
}

_Atomic uint64_t *
rig_vpte(struct rig *rig, uint64_t page, unsigned index)
{
    struct vm_page *m = rig_page(rig->ram, page);

    cr_assert(m != NULL);
    return (_Atomic uint64_t *)vm_page_address(m) + index;
}

vpte_t
rig_pte(uint64_t page, vpte_t flags)
{
    return page << PAGE_SHIFT | flags;
}

vpte_t
rig_tables(struct rig *rig, unsigned npages, uint64_t first, uint64_t stride, vpte_t flags)
{
    for (unsigned level = 1; level < 4; level++)
        rig_vpte_set(rig, level, 0, rig_pte(level + 1, RIG_PASS));
    for (unsigned i = 0; i < npages; i++)
        rig_vpte_set(rig, 4, i, rig_pte(first + i * stride, flags));
    return rig_pte(1, RIG_PASS);
}

vpte_t
rig_window_tables(struct rig *rig, unsigned npages, unsigned resident, vpte_t flags)
{
    rig_init(rig, 0);
    for (unsigned i = 0; i < resident; i++) {
        uint64_t value = i;

        cr_assert(eq(int,
                     vm_map_write(&rig->map, gpa_from_u64(PAGE(100 + 3 * i)), &value, sizeof(value),
                                  &rig_info),
                     VM_OK));
    }
    return rig_tables(rig, npages, 100, 3, flags);
}

void
rig_window_init(struct rig *rig, unsigned npages, vpte_t flags)
{
    vpte_t root = rig_window_tables(rig, npages, npages, flags);

    rig_window(rig, RIG_WINDOW, 512, VM_PROT_ALL, &vpte64_format, root);
}

vpte_t
rig_window_flags(struct rig *rig, unsigned index)
{
    return atomic_load(rig_vpte(rig, 4, index)) & 0xfff;
}

/* --- Faults -------------------------------------------------------------- */

enum vm_result
rig_touch(struct rig *rig, uint64_t gpa, vm_prot_t access)
{
    return vm_fault(&rig->map, gpa_from_u64(gpa), access, VM_FAULT_NORMAL, &rig_info);
}

enum vm_result
rig_burst(struct rig *rig, uint64_t gpa, vm_prot_t access)
{
    return vm_fault(&rig->map, gpa_from_u64(gpa), access, VM_FAULT_BURST, &rig_info);
}

uint64_t
rig_load(struct rig *rig, uint64_t gpa)
{
    uint64_t value;

    while (!fake_guest_load(&rig->fake, gpa_from_u64(gpa), &value))
        cr_assert(eq(int, rig_burst(rig, gpa, VM_PROT_READ), VM_OK));
    return value;
}

void
rig_store(struct rig *rig, uint64_t gpa, uint64_t value)
{
    while (!fake_guest_store(&rig->fake, gpa_from_u64(gpa), value))
        cr_assert(eq(int, rig_burst(rig, gpa, VM_PROT_WRITE), VM_OK));
}

vm_prot_t
rig_mapped(struct rig *rig, uint64_t gpa)
{
    vm_prot_t prot;

    return fake_pmap_lookup(&rig->fake, gpa_from_u64(gpa), NULL, &prot) ? prot : VM_PROT_NONE;
}

struct vm_page *
rig_page(struct vm_object *object, uint64_t pindex)
{
    struct vm_page *m;

    vm_mutex_lock(&object->lock);
    m = vm_page_lookup(object, pindex);
    vm_mutex_unlock(&object->lock);
    return m;
}

void
rig_busy(struct vm_page *m)
{
    vm_mutex_lock(&m->object->lock);
    vm_page_busy(m);
    vm_mutex_unlock(&m->object->lock);
}

void
rig_wakeup(struct vm_page *m)
{
    struct vm_object *object = m->object;

    vm_mutex_lock(&object->lock);
    vm_page_wakeup(m);
    vm_mutex_unlock(&object->lock);
}

void
rig_expect_failure(struct rig *rig, uint64_t gpa, vm_prot_t access, enum vm_result result)
{
    uint64_t failed = rig_meter(rig, v_kind_failed), host = rig_meter(rig, v_kind_host);
    unsigned entered = rig->fake.entered_pages;
    struct vm_page *m = NULL;

    cr_expect(eq(int, rig_burst(rig, gpa, access), result));
    cr_expect(eq(int, rig_info.result, result));
    cr_expect(eq(u64, rig_info.gpa.value, gpa));
    cr_expect(eq(int, rig_info.access, access));
    cr_expect(
        eq(int, vm_fault_page(&rig->map, gpa_from_u64(gpa), access, VM_FAULT_NORMAL, &m, &rig_info),
           result));
    cr_expect(m == NULL);
    cr_expect(eq(uint, rig->fake.entered_pages, entered));
    cr_expect(zero(uint, rig->fake.wakes));
    if (result == VM_HOST_FAILURE)
        cr_expect(eq(u64, rig_meter(rig, v_kind_host), host + 2));
    else
        cr_expect(eq(u64, rig_meter(rig, v_kind_failed), failed + 2));
    rig_audit(rig);
}

static void *
fault_thread(void *arg)
{
    struct rig_fault *fault = arg;

    fault->result = vm_fault(&fault->rig->map, gpa_from_u64(fault->gpa), fault->access,
                             VM_FAULT_NORMAL, &fault->info);
    atomic_store(&fault->done, true);
    return NULL;
}

void
rig_fault_start(struct rig_fault *fault, struct rig *rig, uint64_t gpa, vm_prot_t access)
{
    fault->rig = rig;
    fault->gpa = gpa;
    fault->access = access;
    atomic_store(&fault->done, false);
    cr_assert(zero(int, pthread_create(&fault->thread, NULL, fault_thread, fault)));
}

enum vm_result
rig_fault_join(struct rig_fault *fault)
{
    pthread_join(fault->thread, NULL);
    return fault->result;
}
