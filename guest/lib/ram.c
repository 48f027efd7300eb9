/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The page allocator: untouched RAM is cut from [ram_next, ram_end); freed pages form a list
 * through their first words.
 */
#include "guest/lib/ram.h"

#include "guest/lib/fdt.h"
#include "guest/lib/string.h"

#include <stdbool.h>

#define RAM_LIMIT ((uint64_t)4 << 30) /* end of the boot identity map */

extern char image_end[]; /* guest.ld */

static bool ram_ready;
static uint64_t ram_next; /* never handed out: [ram_next, ram_end), but for the tree */
static uint64_t ram_end;
static uint64_t ram_freed; /* first of the list, 0 = empty */

static void
ram_init(void)
{
    const struct fdt_machine *machine = fdt_machine();

    ram_next = (uint64_t)image_end;
    if (ram_next < machine->reserved_end)
        ram_next = (machine->reserved_end + PAGE_MASK) & ~PAGE_MASK;
    ram_end = machine->memory_size < RAM_LIMIT ? machine->memory_size : RAM_LIMIT;
    ram_ready = true;
}

/* Cut from untouched RAM, stepping over the device tree. */
static uint64_t
ram_cut(uint64_t size, uint64_t align)
{
    const struct fdt_machine *machine = fdt_machine();
    uint64_t start = (ram_next + align - 1) & ~(align - 1);

    if (start < machine->tree_end && start + size > machine->tree_start)
        start = (machine->tree_end + align - 1) & ~(align - 1);
    if (start > ram_end || size > ram_end - start)
        return 0;
    ram_next = start + size;
    return start;
}

uint64_t
ram_alloc_run(uint64_t npages, uint64_t align)
{
    if (!ram_ready)
        ram_init();
    return npages <= ram_end >> PAGE_SHIFT ? ram_cut(npages << PAGE_SHIFT, align) : 0;
}

uint64_t
ram_alloc(void)
{
    uint64_t gpa = ram_freed;

    if (gpa == 0)
        return ram_alloc_run(1, PAGE_SIZE);
    ram_freed = *(uint64_t *)gpa;
    memset((void *)gpa, 0, PAGE_SIZE);
    return gpa;
}

void
ram_free(uint64_t gpa)
{
    *(uint64_t *)gpa = ram_freed;
    ram_freed = gpa;
}
