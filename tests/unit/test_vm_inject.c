/* SPDX-License-Identifier: BSD-2-Clause */
/* Injected faults: which accesses a rule is about, and what becomes of them. */
#include "vmm/vpagetable/vm_inject.h"

#include "tests/unit/fault_rig.h"
#include "vmm/vpagetable/vm_fault_trace.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#define PAGE(n) ((uint64_t)(n) << PAGE_SHIFT)
#define MINUTE 60000000u

static const struct vm_fault_origin by_vcpu = { .who = VM_FAULT_BY_VCPU };

/* A rig whose map has a table, of no rule yet. */
static struct {
    struct rig rig;
    struct vm_inject inject;
    _Atomic bool stop;
} t;

static void
setup(void)
{
    memset(&t, 0, sizeof(t));
    rig_init(&t.rig, 0);
    t.rig.map.inject = &t.inject;
    t.rig.map.stop = &t.stop;
}

static void
teardown(void)
{
    rig_fini(&t.rig);
}

TestSuite(vm_inject, .init = setup, .fini = teardown);

/* For pages [first, end), on every fault. */
static struct vm_inject_rule *
add(uint64_t first, uint64_t end, vm_prot_t access, enum vm_inject_action action)
{
    struct vm_inject_rule *rule = &t.inject.rules[t.inject.nrules++];

    *rule = (struct vm_inject_rule){ .start = gpa_from_u64(PAGE(first)),
                                     .end = gpa_from_u64(PAGE(end)),
                                     .access = access,
                                     .nth = 1,
                                     .on = true,
                                     .action = action };
    return rule;
}

static enum vm_result
touch_as(const struct vm_fault_origin *origin, uint64_t gpa, vm_prot_t access)
{
    return vm_fault_of(&t.rig.map, gpa_from_u64(gpa), access, VM_FAULT_BURST, origin, &rig_info);
}

static enum vm_result
touch(uint64_t gpa, vm_prot_t access)
{
    return touch_as(&by_vcpu, gpa, access);
}

Test(vm_inject, deny_is_a_protection_failure_and_eio_an_io_error_and_nothing_is_mapped)
{
    add(5, 6, VM_PROT_ALL, VM_INJECT_DENY);
    add(6, 7, VM_PROT_ALL, VM_INJECT_ERROR);
    cr_assert(eq(int, touch(PAGE(5) + 8, VM_PROT_WRITE), VM_PROTECTION));
    cr_assert(eq(u64, rig_info.gpa.value, PAGE(5) + 8));
    cr_assert(eq(int, rig_info.entry_prot, VM_PROT_ALL));
    cr_assert(eq(int, touch(PAGE(6), VM_PROT_READ), VM_IO_ERROR));
    cr_assert(eq(int, rig_mapped(&t.rig, PAGE(5)), VM_PROT_NONE));
    cr_assert(eq(int, rig_mapped(&t.rig, PAGE(6)), VM_PROT_NONE));
    cr_assert(eq(u64, rig_meter(&t.rig, v_kind_failed), 2));
    cr_assert(eq(u64, rig_meter(&t.rig, v_injected), 2));
}

Test(vm_inject, a_rule_is_about_its_range_and_access_alone)
{
    const struct vm_inject_rule *rule = add(5, 7, VM_PROT_WRITE, VM_INJECT_DENY);

    cr_assert(eq(int, touch(PAGE(5) - 1, VM_PROT_WRITE), VM_OK));
    cr_assert(eq(int, touch(PAGE(7), VM_PROT_WRITE), VM_OK));
    cr_assert(eq(int, touch(PAGE(6), VM_PROT_READ), VM_OK));
    cr_assert(zero(u64, rule->matched));
    cr_assert(eq(int, touch(PAGE(7) - 1, VM_PROT_WRITE), VM_PROTECTION));
    cr_assert(eq(u64, rule->matched, 1));
}

Test(vm_inject, the_nth_alone_or_it_and_all_after_it)
{
    struct vm_inject_rule *rule = add(5, 9, VM_PROT_WRITE, VM_INJECT_DENY);

    rule->nth = 2;
    rule->on = false;
    cr_assert(eq(int, touch(PAGE(5), VM_PROT_WRITE), VM_OK));
    cr_assert(eq(int, touch(PAGE(6), VM_PROT_WRITE), VM_PROTECTION));
    cr_assert(eq(int, touch(PAGE(6), VM_PROT_WRITE), VM_OK));
    rule->nth = 5;
    rule->on = true;
    cr_assert(eq(int, touch(PAGE(7), VM_PROT_WRITE), VM_OK));
    cr_assert(eq(int, touch(PAGE(8), VM_PROT_WRITE), VM_PROTECTION));
    cr_assert(eq(int, touch(PAGE(8), VM_PROT_WRITE), VM_PROTECTION));
    cr_assert(rule->matched == 6 && rule->injected == 3);
}

Test(vm_inject, the_first_rule_whose_turn_it_is_has_its_way_and_all_count)
{
    struct vm_inject_rule *second = add(5, 6, VM_PROT_ALL, VM_INJECT_ERROR);
    struct vm_inject_rule *always = add(5, 6, VM_PROT_ALL, VM_INJECT_DENY);

    second->nth = 2;
    second->on = false;
    cr_assert(eq(int, touch(PAGE(5), VM_PROT_READ), VM_PROTECTION));
    cr_assert(eq(int, touch(PAGE(5), VM_PROT_READ), VM_IO_ERROR));
    cr_assert(eq(int, touch(PAGE(5), VM_PROT_READ), VM_PROTECTION));
    cr_assert(second->matched == 3 && second->injected == 1);
    cr_assert(always->matched == 3 && always->injected == 2);
}

Test(vm_inject, what_is_no_access_of_a_vcpus_is_left_alone)
{
    const struct vm_fault_origin monitor = { .who = VM_FAULT_BY_MONITOR };
    const struct vm_inject_rule *rule = add(5, 6, VM_PROT_ALL, VM_INJECT_DENY);
    uint64_t word = 1;

    cr_assert(eq(int, touch_as(NULL, PAGE(5), VM_PROT_READ), VM_OK));
    cr_assert(eq(int, touch_as(&monitor, PAGE(5), VM_PROT_READ), VM_OK));
    cr_assert(eq(int, vm_map_write(&t.rig.map, gpa_from_u64(PAGE(5)), &word, 8, &rig_info), VM_OK));
    cr_assert(zero(u64, rule->matched));
}

Test(vm_inject, an_access_that_fails_anyway_is_not_counted)
{
    const struct vm_inject_rule *rule = add(RIG_PAGES, RIG_PAGES + 1, VM_PROT_ALL, VM_INJECT_DENY);

    cr_assert(eq(int, touch(PAGE(RIG_PAGES), VM_PROT_READ), VM_INVALID_ADDRESS));
    cr_assert(zero(u64, rule->matched));
}

Test(vm_inject, every_page_is_a_fault_of_its_own_and_a_write_after_a_read_too)
{
    for (unsigned i = 0; i < 8; i++)
        rig_store(&t.rig, PAGE(10 + i), i);
    pmap_remove(&t.rig.pmap, gpa_from_u64(PAGE(10)), gpa_from_u64(PAGE(18)));
    vm_fault_ahead(&t.rig.map, gpa_from_u64(PAGE(10)), gpa_from_u64(PAGE(18)));
    cr_assert(eq(int, touch(PAGE(12), VM_PROT_READ), VM_OK));
    cr_assert(zero(uint, rig_info.prefaulted));
    cr_assert(eq(int, rig_mapped(&t.rig, PAGE(11)), VM_PROT_NONE));
    cr_assert(eq(int, rig_mapped(&t.rig, PAGE(12)), VM_PROT_READ));
    cr_assert(eq(int, rig_mapped(&t.rig, PAGE(13)), VM_PROT_NONE));
    t.rig.map.inject = NULL;
    cr_assert(eq(int, touch(PAGE(12), VM_PROT_READ), VM_OK));
    cr_assert(eq(int, rig_mapped(&t.rig, PAGE(12)), VM_PROT_RW));
    cr_assert(eq(int, rig_mapped(&t.rig, PAGE(13)), VM_PROT_RW));
}

/* What a trace is told last. */
static bool told_injected;
static unsigned told_delays;

static uint64_t
on_begin(void *context)
{
    (void)context;
    return 0;
}

static void
on_end(void *context, const struct vm_fault_record *record)
{
    (void)context;
    told_injected = (record->flags & VM_FAULT_INJECTED) != 0;
    told_delays = record->waited[VM_ERRAND_DELAY];
}

static const struct vm_fault_trace trace = { .begin = on_begin, .end = on_end };

Test(vm_inject, a_delayed_fault_goes_on_and_a_trace_is_told)
{
    add(5, 6, VM_PROT_ALL, VM_INJECT_DELAY)->delay = 1;
    vm_fault_trace_set(&t.rig.map, &trace);
    cr_assert(eq(int, touch(PAGE(5), VM_PROT_WRITE), VM_OK));
    cr_assert(eq(int, rig_mapped(&t.rig, PAGE(5)), VM_PROT_RW));
    cr_assert(told_injected && told_delays == 1);
    cr_assert(eq(int, touch(PAGE(6), VM_PROT_WRITE), VM_OK));
    cr_assert(told_delays == 0 && !told_injected);
    cr_assert(rig_meter(&t.rig, v_pflimit) == 0 && rig_meter(&t.rig, v_injected) == 1);
}

Test(vm_inject, a_delay_is_left_to_whoever_may_wait)
{
    struct vm_fault_rest *rest;

    add(5, 6, VM_PROT_ALL, VM_INJECT_DELAY)->delay = 1;
    cr_assert(eq(int,
                 vm_fault_start(&t.rig.map, gpa_from_u64(PAGE(5)), VM_PROT_READ, VM_FAULT_BURST,
                                &by_vcpu, &rig_info, &rest),
                 VM_RETRY));
    cr_assert(eq(int, rig_mapped(&t.rig, PAGE(5)), VM_PROT_NONE));
    cr_assert(eq(int, touch(PAGE(6), VM_PROT_WRITE), VM_OK)); /* no lock is held */
    cr_assert(eq(int, vm_fault_resume(rest, &by_vcpu, &rig_info), VM_OK));
    cr_assert(eq(int, rig_mapped(&t.rig, PAGE(5)), VM_PROT_READ));
    vm_fault_end(rest);
}

static void *
touch_delayed(void *argument)
{
    *(enum vm_result *)argument = touch(PAGE(5), VM_PROT_READ);
    return NULL;
}

/* It would be a minute: the test's time-out is the end. */
Test(vm_inject, the_stop_flag_ends_a_delay, .timeout = 30)
{
    enum vm_result result = VM_OK;
    pthread_t thread;

    add(5, 6, VM_PROT_ALL, VM_INJECT_DELAY)->delay = MINUTE;
    cr_assert(zero(int, pthread_create(&thread, NULL, touch_delayed, &result)));
    rig_until(rig_meter(&t.rig, v_restarts) != 0);
    t.stop = true;
    cr_assert(zero(int, pthread_join(thread, NULL)));
    cr_assert(eq(int, result, VM_HOST_FAILURE));
    t.stop = false;
}
