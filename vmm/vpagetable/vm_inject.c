/* SPDX-License-Identifier: BSD-2-Clause */
/* The rules of injected faults, and what a fault makes of them. */
#include "vmm/vpagetable/vm_inject.h"

#include "vmm/vpagetable/vm_fault_state.h"

#include <stddef.h>

static bool
rule_is_about(const struct vm_inject_rule *rule, gpa_t gpa, vm_prot_t access)
{
    return gpa.value >= rule->start.value && gpa.value < rule->end.value &&
           (rule->access & access) != 0;
}

/* One more fault of the rule's: is it its turn? */
static bool
rule_count(struct vm_inject_rule *rule)
{
    uint64_t number = atomic_fetch_add(&rule->matched, 1) + 1;

    return number == rule->nth || (rule->on && number > rule->nth);
}

const struct vm_inject_rule *
vm_inject_look(struct vm_inject *inject, gpa_t gpa, vm_prot_t access)
{
    struct vm_inject_rule *chosen = NULL;

    for (unsigned i = 0; i < inject->nrules; i++) {
        struct vm_inject_rule *rule = &inject->rules[i];

        if (rule_is_about(rule, gpa, access) && rule_count(rule) && chosen == NULL)
            chosen = rule;
    }
    if (chosen != NULL)
        atomic_fetch_add(&chosen->injected, 1);
    return chosen;
}

static bool
is_by_vcpu(const struct faultstate *fs)
{
    return fs->origin != NULL && fs->origin->who == VM_FAULT_BY_VCPU;
}

enum vm_result
vm_fault_inject(struct faultstate *fs)
{
    const struct vm_inject_rule *rule = NULL;

    if (is_by_vcpu(fs))
        rule = vm_inject_look(fs->inject, fs->gpa, fs->access);
    fs->inject = NULL;
    fs->flags = (fs->flags & ~VM_FAULT_BURST) | VM_FAULT_SINGLE;
    if (rule == NULL)
        return VM_OK;
    fs->flags |= VM_FAULT_INJECTED;
    vm_meter_add(fs->meter, v_injected, 1);
    switch (rule->action) {
    case VM_INJECT_DELAY:
        return vm_errand_leave_delay(&fs->errand, rule->delay);
    case VM_INJECT_ERROR:
        return VM_IO_ERROR;
    case VM_INJECT_DENY:
        break;
    }
    return VM_PROTECTION;
}
