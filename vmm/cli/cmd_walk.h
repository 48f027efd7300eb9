/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `vkvm walk`: page tables in a file, walked as a fault or the processor would.
 */
#ifndef CMD_WALK_H
#define CMD_WALK_H

#include "vmm/cli/cli.h"

extern const struct cli_command cmd_walk;

#endif
