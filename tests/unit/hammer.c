/* SPDX-License-Identifier: BSD-2-Clause */
/* See hammer.h. */
#include "tests/unit/hammer.h"

struct hammer hammer;

uint64_t
hammer_chance(struct worker *w, uint64_t limit)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (w->random >> 11) % limit;
}

void
hammer_expect(int error, int want, const char *name, int line)
{
    CHECK(error == want, "%s:%d: %d, not %d", name, line, error, want);
}

/* What a guest may come across where the disturber is at work. */
bool
hammer_refused(enum vm_result result)
{
    return result == VM_PROTECTION || result == VM_INVALID_ADDRESS;
}

static enum vm_result
fault_in_parts(gpa_t gpa, vm_prot_t access, unsigned flags, struct vm_fault_info *info)
{
    struct vm_fault_rest *rest;
    enum vm_result result = vm_fault_start(&hammer.map, gpa, access, flags, NULL, info, &rest);

    if (result == VM_RETRY)
        result = vm_fault_resume(rest, NULL, info);
    if (rest != NULL)
        vm_fault_end(rest);
    return result;
}

enum vm_result
hammer_fault(struct worker *w, gpa_t gpa, vm_prot_t access)
{
    unsigned flags = hammer_chance(w, 4) != 0 ? VM_FAULT_BURST : VM_FAULT_NORMAL;
    struct vm_fault_info info;
    enum vm_result result = hammer_chance(w, 2) != 0
                                ? vm_fault(&hammer.map, gpa, access, flags, &info)
                                : fault_in_parts(gpa, access, flags, &info);

    CHECK(result != VM_HOST_FAILURE, "%s, error %d", info.cause, info.error);
    return result;
}

enum vm_result
hammer_try_load(struct worker *w, gpa_t gpa, uint64_t *value)
{
    enum vm_result result = VM_OK;

    while (result == VM_OK && !fake_guest_load(&hammer.fake, gpa, value))
        result = hammer_fault(w, gpa, VM_PROT_READ);
    return result;
}

enum vm_result
hammer_try_store(struct worker *w, gpa_t gpa, uint64_t value)
{
    enum vm_result result = VM_OK;

    while (result == VM_OK && !fake_guest_store(&hammer.fake, gpa, value))
        result = hammer_fault(w, gpa, VM_PROT_WRITE);
    return result;
}

uint64_t
hammer_load(struct worker *w, gpa_t gpa)
{
    uint64_t value = 0;
    enum vm_result result = hammer_try_load(w, gpa, &value);

    CHECK(result == VM_OK, "%#" PRIx64 ": %s", gpa.value, vm_result_name(result));
    return value;
}

void
hammer_store(struct worker *w, gpa_t gpa, uint64_t value)
{
    enum vm_result result = hammer_try_store(w, gpa, value);

    CHECK(result == VM_OK, "%#" PRIx64 ": %s", gpa.value, vm_result_name(result));
}

/* The monitor's way to a word: the page stays held until it is given back. */
_Atomic uint64_t *
hammer_hold_word(gpa_t gpa, vm_prot_t access, struct vm_page **m)
{
    enum vm_result result = vm_fault_page_quick(&hammer.map, gpa, access, m);

    if (hammer_refused(result))
        return NULL;
    CHECK(result == VM_OK, "%#" PRIx64 ": %s", gpa.value, vm_result_name(result));
    return (_Atomic uint64_t *)vm_page_address(*m) + (gpa.value & PAGE_MASK) / sizeof(uint64_t);
}

void
hammer_read_page(gpa_t gpa, uint64_t *words)
{
    struct vm_fault_info info;
    enum vm_result result = vm_map_read(&hammer.map, gpa, words, PAGE_SIZE, &info);

    CHECK(result == VM_OK, "%#" PRIx64 ": %s", gpa.value, vm_result_name(result));
}

void
hammer_insert(uint64_t gpa, uint64_t npages, struct vm_object *object, uint64_t offset, vpte_t root)
{
    struct vm_map_insert args = {
        .start = gpa_from_u64(gpa),
        .end = page_at(gpa, npages),
        .object = object,
        .offset = offset,
        .protection = VM_PROT_ALL,
        .max_protection = VM_PROT_ALL,
    };

    if (root != 0) {
        args.maptype = VM_MAPTYPE_VPAGETABLE;
        args.format = &vpte64_format;
        args.root = root;
    }
    EXPECT(vm_map_insert(&hammer.map, &args), 0);
}

struct vm_object *
hammer_object_new(uint64_t npages)
{
    struct vm_object *object = NULL;

    EXPECT(vm_object_create_default(&hammer.sys, npages, &object), 0);
    return object;
}
