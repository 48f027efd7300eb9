/* SPDX-License-Identifier: BSD-2-Clause */
/* What a trace hook is told of each kind of fault. */
#include "vmm/vpagetable/vm_fault_trace.h"

#include "tests/unit/fault_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <sched.h>
#include <string.h>

#define PAGE(n) ((uint64_t)(n) << PAGE_SHIFT)
#define W(n) (RIG_WINDOW + PAGE(n))

/* The latest record, with what it points to. */
struct recorder {
    struct vm_fault_trace trace;
    unsigned begins;
    unsigned ends;
    struct vm_fault_record record;
    struct vm_fault_info info;
    struct vpte_walk walk;
    unsigned waited[VM_ERRAND_KINDS];
};

static uint64_t
record_begin(void *context)
{
    struct recorder *r = context;

    return 1000 + r->begins++;
}

static void
record_end(void *context, const struct vm_fault_record *record)
{
    struct recorder *r = context;

    r->ends++;
    r->record = *record;
    r->info = *record->info;
    if (record->walk != NULL)
        r->walk = *record->walk;
    memcpy(r->waited, record->waited, sizeof(r->waited));
}

static void
record(struct recorder *r, struct rig *rig)
{
    *r = (struct recorder){ .trace = { .begin = record_begin, .end = record_end, .context = r } };
    vm_fault_trace_set(&rig->map, &r->trace);
}

static uint64_t
slot(const struct vm_object *object, uint64_t pindex)
{
    return object->extent + pindex;
}

static unsigned
waits(const struct recorder *r)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < VM_ERRAND_KINDS; i++)
        sum += r->waited[i];
    return sum;
}

Test(vm_fault_trace, a_page_of_zeros_is_told_with_its_place_and_what_begin_returned)
{
    struct recorder r;
    struct rig rig;

    rig_init(&rig, 0);
    record(&r, &rig);
    cr_assert(eq(int, rig_touch(&rig, PAGE(6), VM_PROT_WRITE), VM_OK));
    cr_assert(eq(int, rig_touch(&rig, PAGE(7) + 9, VM_PROT_WRITE), VM_OK));
    cr_assert(r.begins == 2 && r.ends == 2);
    cr_assert(eq(u64, r.record.begun, 1001));
    cr_assert(eq(u64, r.info.gpa.value, PAGE(7) + 9));
    cr_assert(eq(int, r.info.result, VM_OK));
    cr_assert(r.record.step == FAULT_STEP_PAGE && r.record.kind == FAULT_ZERO_FILL);
    cr_assert(r.record.walk == NULL && r.record.object == rig.ram->number && r.record.depth == 0);
    cr_assert(eq(u64, r.record.pindex, 7));
    cr_assert(eq(u64, r.record.slot, slot(rig.ram, 7)));
    cr_assert(eq(u64, r.record.source, r.record.slot));
    cr_assert(zero(uint, waits(&r)));
    rig_fini(&rig);
}

Test(vm_fault_trace, a_fault_whose_caller_knows_when_it_began_does_not_ask)
{
    const struct vm_fault_origin origin = { .who = VM_FAULT_BY_VCPU, .begun = 77 };
    struct vm_fault_info info;
    struct recorder r;
    struct rig rig;

    rig_init(&rig, 0);
    record(&r, &rig);
    cr_assert(eq(int,
                 vm_fault_of(&rig.map, gpa_from_u64(PAGE(6)), VM_PROT_WRITE, 0, &origin, &info),
                 VM_OK));
    cr_assert(r.begins == 0 && r.ends == 1);
    cr_assert(eq(u64, r.record.begun, 77));
    rig_fini(&rig);
}

Test(vm_fault_trace, a_copy_is_told_with_the_page_that_was_copied_and_how_deep_it_was)
{
    const gpa_t copy = gpa_from_u64(PAGE(RIG_PAGES));
    struct recorder r;
    struct rig rig;

    rig_init(&rig, 0);
    rig_store(&rig, PAGE(3), 33);
    cr_assert(zero(int, vm_map_copy(&rig.map, gpa_from_u64(0), copy, PAGE(16))));
    record(&r, &rig);
    rig_store(&rig, copy.value + PAGE(3), 44);
    cr_assert(r.record.step == FAULT_STEP_PAGE && r.record.kind == FAULT_COW);
    cr_assert(r.record.object != rig.ram->number && r.record.depth == 1);
    cr_assert(eq(u64, r.record.pindex, 3));
    cr_assert(eq(u64, r.record.source, slot(rig.ram, 3)));
    cr_assert(r.record.slot != r.record.source);
    rig_fini(&rig);
}

Test(vm_fault_trace, a_page_that_is_read_is_told_with_what_was_waited_for)
{
    struct rig_pager pager;
    struct recorder r;
    struct rig rig;

    rig_init_pager(&rig, &pager);
    record(&r, &rig);
    cr_assert(eq(int, rig_touch(&rig, PAGE(2), VM_PROT_READ), VM_OK));
    cr_assert(r.record.step == FAULT_STEP_PAGE && r.record.kind == FAULT_PAGE_IN);
    cr_assert(r.info.hardfault && r.waited[VM_ERRAND_PAGE_IN] == 1 && waits(&r) == 1);
    cr_assert(eq(u64, r.record.slot, slot(rig.ram, 2)));
    rig_fini(&rig);
}

Test(vm_fault_trace, a_busy_page_is_something_that_was_waited_for)
{
    struct rig_fault fault;
    struct recorder r;
    struct rig rig;

    rig_init(&rig, 0);
    rig_store(&rig, PAGE(1), 1);
    record(&r, &rig);
    rig_busy(rig_page(rig.ram, 1));
    rig_fault_start(&fault, &rig, PAGE(1), VM_PROT_READ);
    rig_until(rig_meter(&rig, v_intrans) == 1);
    rig_wakeup(rig_page(rig.ram, 1));
    cr_assert(eq(int, rig_fault_join(&fault), VM_OK));
    cr_assert(r.record.kind == FAULT_RESIDENT);
    cr_assert(r.waited[VM_ERRAND_WAIT] == 1 && waits(&r) == 1);
    rig_fini(&rig);
}

Test(vm_fault_trace, a_walk_is_told_with_the_entries_it_saw_and_the_bits_it_set)
{
    struct recorder r;
    struct rig rig;

    rig_window_init(&rig, 8, RIG_PASS);
    record(&r, &rig);
    cr_assert(eq(int, rig_touch(&rig, W(2), VM_PROT_WRITE), VM_OK));
    cr_assert(r.record.step == FAULT_STEP_PAGE && r.record.walk != NULL);
    cr_assert(eq(uint, r.walk.level, 4));
    cr_assert(eq(u64, r.walk.steps[4].before & (VPTE_A | VPTE_M), 0));
    cr_assert(eq(u64, r.walk.steps[4].value & (VPTE_A | VPTE_M), VPTE_A | VPTE_M));
    cr_assert(r.walk.a_set == 4 && r.walk.m_set == 4 && r.walk.dir_m_set <= 3);
    cr_assert(eq(u64, r.record.pindex, 100 + 3 * 2));
    rig_fini(&rig);
}

Test(vm_fault_trace, a_walk_that_fails_is_told_up_to_the_entry_that_forbids)
{
    struct recorder r;
    struct rig rig;

    rig_window_init(&rig, 8, RIG_PASS);
    record(&r, &rig);
    cr_assert(eq(int, rig_touch(&rig, W(9), VM_PROT_READ), VM_VPTE_INVALID));
    cr_assert(r.record.step == FAULT_STEP_WALK && r.record.walk != NULL);
    cr_assert(eq(int, r.info.result, VM_VPTE_INVALID));
    cr_assert(r.walk.level == r.info.level && r.walk.level == 4);
    cr_assert(eq(u64, r.walk.steps[4].value, 0));
    rig_fini(&rig);
}

Test(vm_fault_trace, an_address_without_memory_ends_at_the_lookup)
{
    struct recorder r;
    struct rig rig;

    rig_init(&rig, 0);
    record(&r, &rig);
    cr_assert(eq(int, rig_touch(&rig, PAGE(RIG_PAGES), VM_PROT_READ), VM_INVALID_ADDRESS));
    cr_assert(r.record.step == FAULT_STEP_LOOKUP && r.record.walk == NULL);
    cr_assert(r.record.object == 0);
    rig_fini(&rig);
}

Test(vm_fault_trace, the_monitors_own_look_ups_are_told_as_such)
{
    struct vm_fault_info info;
    struct recorder r;
    struct rig rig;
    uint64_t word;

    rig_init(&rig, 0);
    record(&r, &rig);
    cr_assert(
        eq(int, vm_map_peek(&rig.map, gpa_from_u64(PAGE(1)), &word, sizeof(word), &info), VM_OK));
    cr_assert(r.ends == 1 && (r.record.flags & VM_FAULT_QUIET) != 0);
    rig_fini(&rig);
}

Test(vm_fault_trace, a_fault_ends_with_the_trace_that_it_began_with)
{
    struct recorder first, second;
    struct rig_fault fault;
    struct rig rig;

    rig_init(&rig, 0);
    rig_store(&rig, PAGE(1), 1);
    record(&first, &rig);
    rig_busy(rig_page(rig.ram, 1));
    rig_fault_start(&fault, &rig, PAGE(1), VM_PROT_READ);
    rig_until(rig_meter(&rig, v_intrans) == 1);
    record(&second, &rig);
    cr_assert(eq(int, rig_touch(&rig, PAGE(2), VM_PROT_READ), VM_OK));
    vm_fault_trace_set(&rig.map, NULL);
    cr_assert(eq(int, rig_touch(&rig, PAGE(3), VM_PROT_READ), VM_OK));
    rig_wakeup(rig_page(rig.ram, 1));
    cr_assert(eq(int, rig_fault_join(&fault), VM_OK));
    cr_assert(first.begins == 1 && first.ends == 1);
    cr_assert(second.begins == 1 && second.ends == 1);
    cr_assert(eq(u64, second.info.gpa.value, PAGE(2)));
    rig_fini(&rig);
}
