/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An invalid vpte is the guest's to repair: the access faults, at the instruction, with
 * the address; the handler fills the entry; the access runs again and succeeds.
 * Run with "deliver=pf" and "deliver=ve".
 */
#include "guest/lib/cpu.h"
#include "guest/lib/test.h"
#include "guest/lib/traps.h"
#include "guest/lib/window.h"

#define PAGES 24

struct repair {
    struct window *window;
    uint64_t pindex; /* expected */
    uint64_t frame;  /* what it was filled with */
    bool gpa_known;  /* the handler could tell the page by itself */
};

/* The page the fault is about, from what was delivered. */
static bool
fault_page(const struct access_fault *fault, uint64_t *address)
{
    *address = (fault->vector == TRAP_VE ? fault->ve.gpa : fault->cr2) & ~PAGE_MASK;
    return *address >= VKVM_WINDOW_BASE;
}

static bool
fill(void *context, const struct access_fault *fault)
{
    struct repair *repair = context;
    uint64_t address;

    repair->gpa_known =
        fault_page(fault, &address) && address == window_address(repair->window, repair->pindex);
    if (!repair->gpa_known || fault->count > 1)
        return false;
    repair->frame = window_map_new(repair->window, repair->pindex, VPTE_RW);
    *ram_word(repair->frame + 16) = 1234;
    return true;
}

static void
every_page_is_repaired(struct window *window, struct repair *repair, bool write)
{
    struct access_fault fault;

    for (uint64_t i = 0; i < PAGES; i++) {
        repair->pindex = i;
        if (write) {
            access_store(window_address(window, i) + 24, i, &fault);
            EXPECT(fault.count == 1 && *ram_word(repair->frame + 24) == i, "page %lu", i);
        } else {
            EXPECT(access_load(window_address(window, i) + 16, &fault) == 1234, "page %lu", i);
        }
        EXPECT(repair->gpa_known, "page %lu: wrong address, cr2 0x%lx gpa 0x%lx", i, fault.cr2,
               fault.ve.gpa);
        EXPECT(access_faulted_with(&fault, write ? VKVM_PF_WRITE : 0), "page %lu: error 0x%lx", i,
               fault.error);
    }
}

static void
repaired(bool write, const char *name)
{
    struct window window;
    struct repair repair = { .window = &window };

    test_begin(name);
    window_init(&window, &vpte64, PAGES);
    access_set_repair(fill, &repair);
    every_page_is_repaired(&window, &repair, write);
    access_set_repair((access_repair_fn *)0, (void *)0);
    window_fini(&window);
    test_end();
}

int
guest_main(void)
{
    access_init();
    repaired(false, "a load through an invalid vpte faults, is repaired and runs again");
    repaired(true, "a store through an invalid vpte faults, is repaired and runs again");
    return test_summary();
}
