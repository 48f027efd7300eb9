/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory goes to swap and comes back; in between somebody may do something to the swap file.
 *
 * The boot arguments: "pages=N", many more than the RAM budget; "wait=1": say so when all is
 * written, and wait for a byte of standard input; "handle=1": ask for fault delivery first, and
 * count the pages that are lost, which must be some of them and not all, since the youngest are
 * in memory.  Without it every page must be there.
 */
#include "guest/lib/access.h"
#include "guest/lib/console.h"
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/fdt.h"
#include "guest/lib/ram.h"
#include "guest/lib/test.h"

#define TABLES_END UINT64_C(0xC000) /* vmm/x86_64/layout.h */
#define IMAGE_BASE UINT64_C(0x200000)
#define PAGES_DEFAULT 4096 /* 16 MiB */

static volatile uint64_t *
word_of(uint64_t start, uint64_t page)
{
    return (volatile uint64_t *)(start + page * PAGE_SIZE + page % 512 * 8);
}

/* Returns how many pages cannot be read; *wrong: how many have other contents. */
static uint64_t
count_lost(uint64_t start, uint64_t npages, uint64_t *wrong)
{
    uint64_t lost = 0;

    *wrong = 0;
    for (uint64_t page = npages; page-- > 0;) {
        struct access_fault fault;
        uint64_t value = access_load((uint64_t)word_of(start, page), &fault);

        if (fault.count != 0)
            lost++;
        else if (value != page * 977 + 1)
            ++*wrong;
    }
    return lost;
}

static void
wait_for_input(void)
{
    console_printf("written\n");
    while (console_read() < 0)
        ;
}

/* What a fault needs stays in memory: the start-up tables, and the image up to `end`. */
static bool
keep_handler(uint64_t end)
{
    return doorbell_wire(0, TABLES_END) == 0 && doorbell_wire(IMAGE_BASE, end - IMAGE_BASE) == 0;
}

int
guest_main(void)
{
    uint64_t npages = fdt_argument_number("pages", PAGES_DEFAULT), lost, wrong = 0;
    uint64_t start = ram_alloc_run(npages, PAGE_SIZE);
    bool handle = fdt_argument_number("handle", 0) != 0;
    bool wait = fdt_argument_number("wait", 0) != 0; /* now: the tree may be lost later */

    if (handle)
        access_init();
    test_begin(handle ? "what swap has lost is a fault, and the rest is as it was"
                      : "what went to swap comes back");
    EXPECT(start != 0, "no room for %lu pages", npages);
    EXPECT(!handle || keep_handler(start), "the handler's memory cannot be wired");
    for (uint64_t page = 0; start != 0 && page < npages; page++)
        *word_of(start, page) = page * 977 + 1;
    if (wait)
        wait_for_input();
    lost = start != 0 ? count_lost(start, npages, &wrong) : 0;
    EXPECT(handle == (lost != 0) && lost < npages, "%lu pages are lost", lost);
    EXPECT(wrong == 0, "%lu pages have other contents", wrong);
    test_end();
    return test_summary();
}
