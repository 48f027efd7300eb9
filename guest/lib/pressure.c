/* SPDX-License-Identifier: BSD-2-Clause */
/* No page of the pressure is all zeros: those would leave without being written. */
#include "guest/lib/pressure.h"

#include "guest/lib/fdt.h"
#include "guest/lib/ram.h"
#include "guest/lib/ring3.h"

#define PRESSURE_BUDGET 256 /* pages of --ram 1M */

static uint64_t pressure_start;
static uint64_t pressure_pages;

/* Ring 3. */
static uint64_t
press(uint64_t round)
{
    for (uint64_t page = 0; page < pressure_pages; page++)
        *(volatile uint64_t *)(pressure_start + page * PAGE_SIZE) = round + page;
    return 0;
}

void
pressure(void)
{
    static uint64_t round;

    if (pressure_start == 0) {
        pressure_pages = PRESSURE_BUDGETS * fdt_argument_number("budget", PRESSURE_BUDGET);
        pressure_start = ram_alloc_run(pressure_pages, PAGE_SIZE);
    }
    ring3_call(press, ++round);
}
