/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `vkvm run`: a guest image from the command line to its exit status.
 */
#ifndef CMD_RUN_H
#define CMD_RUN_H

#include "vmm/cli/cli.h"

extern const struct cli_command cmd_run;

#endif
