/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `vkvm test`: runs vkvm-test, which stands beside vkvm or in its libexec folder.
 */
#ifndef CMD_TEST_H
#define CMD_TEST_H

#include "vmm/cli/cli.h"

extern const struct cli_command cmd_test;

#endif
