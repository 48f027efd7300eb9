/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `vkvm trace`: runs vkvm-trace, which stands beside vkvm or in its libexec folder.
 */
#ifndef CMD_TRACE_H
#define CMD_TRACE_H

#include "vmm/cli/cli.h"

#define CMD_TRACE_PROGRAM "vkvm-trace"

extern const struct cli_command cmd_trace;

/*
 * Become vkvm-trace with these arguments.  Also in a child of a process: it only makes system calls.
 * Returns an errno if that was not possible.
 */
int cmd_trace_exec(char *const *argv);

#endif
