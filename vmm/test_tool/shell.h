/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands that stand in a configuration: conditions, and words that the shell makes.
 */
#ifndef SHELL_H
#define SHELL_H

#include "vmm/base/failure.h"

#include <stddef.h>

#define SHELL_SECONDS 10u /* after which a command is ended */

/*
 * Run a command by bash, or sh where there is none, and take what it prints, at most size - 1 bytes, a NUL
 * behind them; size 0: nothing.  Waits for it, SHELL_SECONDS at most.
 * Returns 0 with its exit status; with *failure filled -ETIMEDOUT, or why it could not be started.
 */
int shell_run(const char *command, char *output, size_t size, size_t *length, int *status,
              struct failure *failure) __attribute__((warn_unused_result));

#endif
