/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Console input that is read into pages which refuse it at first, as a kernel's read(2) into a
 * copy-on-write buffer: each byte arrives once, in order.
 *
 * Prints the first INPUT_SIZE bytes of standard input; with none the port reads as all ones.
 */
#include "guest/include/vkvm_abi.h"
#include "guest/lib/console.h"
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/fdt.h"
#include "guest/lib/ring3.h"
#include "guest/lib/string.h"
#include "guest/lib/test.h"
#include "guest/lib/traps.h"
#include "guest/lib/window.h"

#define INPUT_SIZE 26u
#define ROUND 13u
#define ROUND_ACROSS 9u /* of these, in the first page */

static struct window window;
static uint64_t frames[2];
static unsigned nfaults;

static void
on_fault(struct trap_frame *frame)
{
    uint64_t page = (frame->cr2 - window.start) >> PAGE_SHIFT;

    if (page > 1 || ++nfaults > 4)
        trap_fatal(frame);
    vpte_map(&window.table, page, frames[page], VPTE_RW);
    doorbell_inval(window.start, window.size);
}

static uint64_t
read_round(uint64_t address)
{
    uint64_t count = ROUND;

    __asm__ volatile("rep insb" : "+D"(address), "+c"(count) : "d"(VKVM_PORT_CONSOLE) : "memory");
    return count;
}

/* ROUND bytes across the two pages, which refuse, one because it may be read only. */
static void
read_refused(unsigned ring, char *to)
{
    uint64_t start = window.start + PAGE_SIZE - ROUND_ACROSS;

    vpte_unmap(&window.table, 0);
    vpte_map(&window.table, 1, frames[1], VKVM_VPTE_V | VKVM_VPTE_R);
    doorbell_inval(window.start, window.size);
    nfaults = 0;
    if (ring == 3)
        ring3_call(read_round, start);
    else
        read_round(start);
    EXPECT(nfaults == 2, "%u faults", nfaults);
    memcpy(to, (const void *)(frames[0] + PAGE_SIZE - ROUND_ACROSS), ROUND_ACROSS);
    memcpy(to + ROUND_ACROSS, (const void *)frames[1], ROUND - ROUND_ACROSS);
}

int
guest_main(void)
{
    unsigned ring = (unsigned)fdt_argument_number("ring", 3);
    char text[INPUT_SIZE + 1] = { 0 };

    test_begin("input that is refused at first arrives once");
    window_init(&window, &vpte64, 2);
    for (unsigned i = 0; i < 2; i++)
        frames[i] = window_map_new(&window, i, VPTE_RW);
    trap_set_handler(TRAP_PF, on_fault);
    for (unsigned i = 0; i < INPUT_SIZE; i += ROUND)
        read_refused(ring, text + i);
    if ((uint8_t)text[0] == 0xff)
        test_note("no input");
    else
        test_note("read: %s", text);
    test_end();
    return test_summary();
}
