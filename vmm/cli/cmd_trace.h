/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `vkvm trace`: runs vkvm-trace, which stands beside vkvm or in its libexec folder.
 */
#ifndef CMD_TRACE_H
#define CMD_TRACE_H

#include "vmm/cli/cli.h"

extern const struct cli_command cmd_trace;

#endif
