/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CR2 of a #PF is the address that the instruction used, also where the guest's own page tables say
 * that it is not the guest-physical one; so is the linear address of a #VE.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/traps.h"
#include "guest/lib/window.h"
#include "guest/lib/x86.h"

#define SLOT 2 /* of the page map level 4: shows what slot 0 shows */
#define LINEAR ((uint64_t)SLOT << 39)

static void
add_alias(void)
{
    uint64_t *pml4 = (uint64_t *)(x86_read_cr3() & ~PAGE_MASK);

    pml4[SLOT] = pml4[0];
}

static void
expect_address(uint64_t address, const struct access_fault *fault)
{
    EXPECT(fault->count == 1, "%u exceptions", fault->count);
    if (fault->vector == TRAP_PF) {
        EXPECT(fault->cr2 == LINEAR + address, "CR2 0x%lx", fault->cr2);
        return;
    }
    EXPECT(fault->ve.qualification & VKVM_VE_GLA_VALID, "no linear address");
    EXPECT(fault->ve.gla == LINEAR + address, "linear 0x%lx", fault->ve.gla);
    EXPECT((fault->ve.gpa & ~PAGE_MASK) == (address & ~PAGE_MASK), "physical 0x%lx", fault->ve.gpa);
}

int
guest_main(void)
{
    struct window window;
    struct access_fault fault;
    struct vkvm_statistics since;

    access_init();
    test_begin("an exception tells the linear address");
    add_alias();
    window_init_mapped(&window, &vpte64, 4);
    vpte_unmap(&window.table, 1);
    since = counters_now();
    (void)access_load(LINEAR + window_address(&window, 1) + 40, &fault);
    expect_address(window_address(&window, 1) + 40, &fault);
    access_store(LINEAR + window_address(&window, 1) + 48, 1, &fault);
    expect_address(window_address(&window, 1) + 48, &fault);
    EXPECT_COUNT(since, delivered, == 2);
    expect_load(LINEAR + window_address(&window, 2), 0);
    window_fini(&window);
    test_end();
    return test_summary();
}
