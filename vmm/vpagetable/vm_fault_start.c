/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Faults in two parts: one thread begins them, another one waits for what they need.
 *
 * What an attempt leaves when it must wait is an errand, with no lock held and nothing busy but
 * the page that the errand is to read.  So it can be run by any thread, and the next attempt
 * looks everything up afresh anyway.  All there is to it is to keep the state meanwhile.
 *
 * Undoing the attempt and having the other thread begin with a new fault was the alternative:
 * the page would be looked for twice, and a fault that vm_fault_ratelimit slows down would,
 * asked again, not be slowed down.
 */
#include "vmm/vpagetable/vm_fault_state.h"

#include <stdlib.h>

struct vm_fault_rest {
    struct faultstate fs;
    gpa_t gpa; /* of the access */
};

/* NULL without memory. */
static struct vm_fault_rest *
rest_alloc(const struct faultstate *fs, gpa_t gpa)
{
    struct vm_fault_rest *rest = malloc(sizeof(*rest));

    /* The errand is known by its address to those who wait for memory: not yet by this one. */
    assert(!fs->errand.first);
    if (rest != NULL) {
        rest->fs = *fs;
        rest->gpa = gpa;
    }
    return rest;
}

enum vm_result
vm_fault_start(struct vm_map *map, gpa_t gpa, vm_prot_t access, unsigned flags,
               const struct vm_fault_origin *origin, struct vm_fault_info *info,
               struct vm_fault_rest **rest)
{
    struct faultstate fs;
    enum vm_result result;

    vm_fault_init(&fs, map->sys, &map->meter, map->stop, access, flags, info);
    vm_fault_set_place(&fs, map, gpa, origin);
    result = vm_fault_advance(&fs, vm_fault_attempt);
    *rest = NULL;
    if (result == VM_RETRY || vm_errand_left_work(&fs.errand))
        *rest = rest_alloc(&fs, gpa);
    if (*rest != NULL)
        return result;
    result = vm_fault_finish(&fs, vm_fault_attempt, result);
    vm_errand_fini(&fs.errand);
    return result;
}

enum vm_result
vm_fault_resume(struct vm_fault_rest *rest, const struct vm_fault_origin *origin,
                struct vm_fault_info *info)
{
    *info = (struct vm_fault_info){ .gpa = rest->gpa, .access = rest->fs.access };
    rest->fs.info = info;
    rest->fs.origin = origin;
    return vm_fault_finish(&rest->fs, vm_fault_attempt, VM_RETRY);
}

void
vm_fault_end(struct vm_fault_rest *rest)
{
    vm_errand_fini(&rest->fs.errand);
    free(rest);
}
