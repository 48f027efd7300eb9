/* SPDX-License-Identifier: BSD-2-Clause */
/* Read-ahead from swap, where the slots of pages that follow each other need not. */
#include "vmm/vpagetable/vm_readahead.h"

#include "tests/unit/swap_rig.h"

/* Pages [0, 64) are in swap, in runs of `run` pages that are not in a row. */
static void
scatter(struct rig *rig, unsigned run)
{
    swap_rig(rig, 0, 100);
    fill(rig, 0, 64);
    make_old(rig, rig->ram, true);
    for (unsigned half = 0; half < 2; half++) {
        vm_mutex_lock(&rig->ram->lock);
        for (unsigned p = 0; p < 64; p++) {
            if (p / run % 2 == half)
                vm_page_deactivate(vm_page_lookup(rig->ram, p));
        }
        vm_mutex_unlock(&rig->ram->lock);
        cr_assert(eq(u64, vm_pageout_scan(&rig->sys, 32), 32));
    }
    cr_assert(zero(u64, resident(rig)));
}

static void
advise(struct rig *rig, enum vm_map_advice advice)
{
    cr_assert(zero(int, vm_map_advise(&rig->map, gpa_from_u64(0), gpa_from_u64(PAGE(RIG_PAGES)),
                                      advice)));
}

Test(vm_readahead_swap, a_stream_is_read_over_slots_that_are_not_in_a_row)
{
    struct rig rig;

    scatter(&rig, 4);
    advise(&rig, VM_ADVICE_SEQUENTIAL);
    cr_assert(eq(u64, rig_load(&rig, PAGE(0)), 1));
    cr_assert(eq(u64, rig_meter(&rig, v_pagein), 64)); /* this read and the next one */
    cr_assert(eq(u64, rig_meter(&rig, v_kind_page_in), 1));
    check(&rig, 0, 64);
    swap_fini(&rig);
}

Test(vm_readahead_swap, a_read_of_a_stream_has_an_end)
{
    struct rig rig;

    scatter(&rig, 1);
    advise(&rig, VM_ADVICE_SEQUENTIAL);
    cr_assert(eq(u64, rig_load(&rig, PAGE(0)), 1));
    cr_assert(eq(u64, rig_meter(&rig, v_pagein), 2 * VM_READAHEAD_RUNS));
    check(&rig, 0, 64);
    swap_fini(&rig);
}

Test(vm_readahead_swap, around_a_page_that_is_no_streams_only_slots_in_a_row_are_read)
{
    struct rig rig;

    scatter(&rig, 4);
    cr_assert(eq(u64, rig_load(&rig, PAGE(21)), 64));
    cr_assert(eq(u64, rig_meter(&rig, v_pagein), 4));
    check(&rig, 0, 64);
    swap_fini(&rig);
}
