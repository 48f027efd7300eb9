/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pressure: more memory is used than there is, so that page-out takes what was not used last.
 * For images that run with --ram and --swap; the boot argument "budget=N" says how many pages
 * --ram is.
 */
#ifndef GUEST_PRESSURE_H
#define GUEST_PRESSURE_H

/*
 * Write PRESSURE_BUDGETS times as many pages as the budget has, in ring 3.  The pages are the
 * same ones each time.  Ring 0, one vCPU at a time.
 */
void pressure(void);

#define PRESSURE_BUDGETS 3

#endif
