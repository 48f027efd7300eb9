/* SPDX-License-Identifier: BSD-2-Clause */
/* --disk: what is a disk of the machine's. */
#ifndef DISK_OPTIONS_H
#define DISK_OPTIONS_H

#include "vmm/cli/cli.h"
#include "vmm/vm/machine.h"

/*
 * Take the value of one --disk, FILE[,ro][,discard], whose name stays borrowed.
 * Returns CLI_OK; CLI_USAGE with *failure filled.
 */
int disk_options_add(struct machine *machine, const char *value, struct failure *failure)
    __attribute__((warn_unused_result));

#endif
