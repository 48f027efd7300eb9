/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * FAULT_DELIVERY is for the vCPU that calls it: one gets #VE while the other one gets #PF, for the same
 * page.  Needs 2 vCPUs.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/expect.h"
#include "guest/lib/smp.h"
#include "guest/lib/traps.h"
#include "guest/lib/window.h"

static struct vkvm_ve_area area __attribute__((aligned(64)));
static struct window window;
static uint64_t vectors[2]; /* by vCPU: how often #PF << 8 | how often #VE */

/* Count; go on behind the load, which is `mov (%rdi), %rax`, 3 bytes. */
static void
on_fault(struct trap_frame *frame)
{
    vectors[cpu_id()] += frame->vector == TRAP_VE ? 1 : 1 << 8;
    area.busy = 0;
    frame->rip += 3;
}

static uint64_t
touch(uint64_t address)
{
    uint64_t value = 0;

    __asm__ volatile(".byte 0x48, 0x8b, 0x07" : "+a"(value) : "D"(address) : "memory");
    return value;
}

static uint64_t
touch_in_ring3(uint64_t address)
{
    return ring3_call(touch, address);
}

int
guest_main(void)
{
    struct vkvm_statistics since;

    access_init();
    test_begin("one vCPU gets #VE, the other one #PF");
    trap_set_handler(TRAP_PF, on_fault);
    trap_set_handler(TRAP_VE, on_fault);
    window_init_mapped(&window, &vpte64, 2);
    vpte_unmap(&window.table, 1);
    EXPECT(doorbell_fault_delivery(VKVM_DELIVER_VE, &area) == 0, "FAULT_DELIVERY");
    since = counters_now();
    for (unsigned i = 0; i < 3; i++) {
        (void)touch_in_ring3(window_address(&window, 1));
        smp_start(1, touch_in_ring3, window_address(&window, 1));
        (void)smp_wait(1);
    }
    EXPECT(vectors[0] == 3, "vCPU 0: 0x%lx", vectors[0]);
    EXPECT(vectors[1] == 3 << 8, "vCPU 1: 0x%lx", vectors[1]);
    EXPECT_COUNT(since, delivered, == 6);
    test_end();
    return test_summary();
}

void
guest_secondary(unsigned cpu)
{
    smp_serve(cpu);
}
