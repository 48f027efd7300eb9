/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The monitor of a running VM: one line in, some lines out.
 */
#ifndef MONITOR_H
#define MONITOR_H

#include <stdbool.h>
#include <stdio.h>

struct vm;

/*
 * Carry out one line: a command of the table that `help` prints, or a complaint on `to`.  In the
 * thread of vm_run; never sleeps.
 * Returns whether more lines follow; false: the keys are the guest's again.
 */
bool monitor_line(void *context, struct vm *vm, const char *line, FILE *to);

#endif
