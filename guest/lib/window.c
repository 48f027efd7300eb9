/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Setting a test's window up and looking into its table.
 */
#include "guest/lib/window.h"

#include "guest/lib/console.h"
#include "guest/lib/doorbell.h"

static void
must(bool ok, const char *what)
{
    if (ok)
        return;
    console_printf("window: %s failed\n", what);
    doorbell_exit(1);
}

void
window_init_at(struct window *window, const struct vpte_format *format, uint64_t start,
               uint64_t npages)
{
    window->start = start;
    window->size = npages * PAGE_SIZE;
    must(vpte_table_init(&window->table, format), "vpte_table_init");
    must(doorbell_vmspace_create(WINDOW_VMSPACE) == 0, "VMSPACE_CREATE");
    must(doorbell_vmspace_map(WINDOW_VMSPACE, window->start, window->size, window->table.root,
                              format->map_flag | VKVM_MAP_READ | VKVM_MAP_WRITE) == 0,
         "VMSPACE_MAP");
}

void
window_init(struct window *window, const struct vpte_format *format, uint64_t npages)
{
    window_init_at(window, format, VKVM_WINDOW_BASE, npages);
}

void
window_fini(struct window *window)
{
    must(doorbell_vmspace_destroy(WINDOW_VMSPACE) == 0, "VMSPACE_DESTROY");
    vpte_table_fini(&window->table);
}

uint64_t
window_map_new(struct window *window, uint64_t pindex, uint64_t bits)
{
    uint64_t frame = ram_alloc();

    must(frame != 0, "ram_alloc");
    must(vpte_map(&window->table, pindex, frame, bits), "vpte_map");
    return frame;
}

void
window_init_mapped(struct window *window, const struct vpte_format *format, uint64_t npages)
{
    window_init(window, format, npages);
    must(doorbell_advise(window->start, window->size, VKVM_ADVICE_RANDOM) == 0, "ADVISE");
    for (uint64_t pindex = 0; pindex < npages; pindex++)
        window_map_new(window, pindex, VPTE_RW);
}

void
window_clear_am(struct window *window, uint64_t pindex)
{
    for (unsigned level = 1; level <= window->table.format->levels; level++) {
        void *entry = vpte_entry_at(&window->table, pindex, level);

        if (entry)
            vpte_clear_bits(&window->table, entry, VPTE_AM);
    }
    doorbell_inval(window->start, window->size);
}

uint64_t
window_entry(const struct window *window, uint64_t pindex, unsigned level)
{
    void *entry = vpte_entry_at(&window->table, pindex, level);

    return entry ? vpte_read(&window->table, entry) : 0;
}
