/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that does not fit below the windows goes on above them; what lies between is no
 * memory.  A page's index in the RAM object is its guest-physical page number there too.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/fdt.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

static int64_t
statistics_to(uint64_t gpa)
{
    return doorbell_call(VKVM_CALL_STATISTICS, (uint64_t[5]){ gpa, sizeof(struct vkvm_statistics) },
                         (uint64_t *)0);
}

int
guest_main(void)
{
    const struct fdt_machine *machine = fdt_machine();
    struct window window;
    struct access_fault fault;
    uint64_t start, end, page;

    access_init();
    test_begin("the device tree describes memory above the windows");
    if (!EXPECT(machine->nram == 2, "%u ranges", machine->nram))
        return test_summary();
    start = machine->ram[1].start;
    end = start + machine->ram[1].size;
    EXPECT(start == VKVM_RAM_HIGH_BASE && machine->memory_size == VKVM_WINDOW_BASE,
           "high memory at 0x%lx, low ends at 0x%lx", start, machine->memory_size);
    test_end();

    test_begin("a page of high memory has its guest-physical number in the RAM object");
    window_init(&window, &vpte64, 1);
    for (unsigned i = 0; i < 2; i++) {
        page = i == 0 ? start : end - PAGE_SIZE;
        EXPECT(statistics_to(page) == sizeof(struct vkvm_statistics), "page 0x%lx", page);
        EXPECT(doorbell_setmap(window.start, window.size, page | VPTE_RW | VKVM_VPTE_PS) == 0,
               "SETMAP");
        EXPECT(access_load(window_address(&window, 0), &fault) == VKVM_ABI_VERSION &&
                   fault.count == 0,
               "page 0x%lx through a window", page);
    }
    test_end();

    test_begin("what lies between the windows and high memory is no memory");
    EXPECT(statistics_to(start - PAGE_SIZE) == -VKVM_EFAULT, "a call could write there");
    EXPECT(statistics_to(end) == -VKVM_EFAULT, "a call could write above it");
    EXPECT(doorbell_setmap(window.start, window.size, end | VPTE_RW | VKVM_VPTE_PS) == 0, "SETMAP");
    (void)access_load(window_address(&window, 0), &fault);
    EXPECT(fault.count == 1 && (fault.error & VKVM_PF_RESERVED) != 0, "error 0x%lx", fault.error);
    test_end();
    window_fini(&window);
    return test_summary();
}
