/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PS ends the walk at any level: the rest of the index is added to the frame, which need not be
 * aligned, and the PS entry gets A and M.
 */
#include "guest/lib/cpu.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

#define PAGES 8
#define UNALIGNED 3 /* pages */

/* Make the entry for page 0 at `level` a PS entry on `frame`, whatever was below it. */
static void *
put_ps_entry(struct window *window, unsigned level, uint64_t frame)
{
    void *entry;

    (void)vpte_entry_make(&window->table, 0);
    entry = vpte_entry_at(&window->table, 0, level);
    vpte_write(&window->table, entry, frame | VPTE_RW | VKVM_VPTE_PS);
    doorbell_inval(window->start, window->size);
    return entry;
}

static void
ps_at(const struct vpte_format *format, unsigned level, const char *name)
{
    struct window window;
    uint64_t run = ram_alloc_run(PAGES + UNALIGNED, PAGE_SIZE) + UNALIGNED * PAGE_SIZE;
    void *entry;

    test_begin(name);
    window_init(&window, format, PAGES);
    entry = put_ps_entry(&window, level, run);
    for (uint64_t i = 0; i < (level == format->levels ? 1 : PAGES); i++) {
        *ram_word(run + i * PAGE_SIZE) = 100 + i;
        EXPECT(access_load(window_address(&window, i), (struct access_fault *)0) == 100 + i,
               "page %lu is not frame + %lu", i, i);
    }
    EXPECT((vpte_read(&window.table, entry) & VPTE_AM) == VKVM_VPTE_A, "after reads: 0x%lx",
           vpte_read(&window.table, entry));
    access_store(window_address(&window, 0) + 8, 9, (struct access_fault *)0);
    EXPECT((vpte_read(&window.table, entry) & VPTE_AM) == VPTE_AM, "after a write: 0x%lx",
           vpte_read(&window.table, entry));
    EXPECT(*ram_word(run + 8) == 9, "the write went elsewhere");
    window_fini(&window);
    test_end();
}

int
guest_main(void)
{
    access_init();
    ps_at(&vpte64, 1, "PS ends the walk at level 1 of vpte64");
    ps_at(&vpte64, 2, "PS ends the walk at level 2 of vpte64");
    ps_at(&vpte64, 3, "PS ends the walk at level 3 of vpte64");
    ps_at(&vpte64, 4, "PS at the last level of vpte64 changes nothing");
    ps_at(&vpte32, 1, "PS ends the walk at level 1 of vpte32");
    ps_at(&vpte32, 2, "PS at the last level of vpte32 changes nothing");
    return test_summary();
}
