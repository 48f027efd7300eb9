/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * --inject: a rule of vm_inject.h, as pieces KEY=VALUE in any order.
 */
#ifndef INJECT_OPTIONS_H
#define INJECT_OPTIONS_H

#include "vmm/cli/cli.h"
#include "vmm/vpagetable/vm_inject.h"

/*
 * Add the rule that `value` (borrowed: the rule keeps it as its text) is.
 * Returns CLI_OK; CLI_USAGE with *failure filled.
 */
int inject_options_add(struct vm_inject *inject, const char *value, struct failure *failure)
    __attribute__((warn_unused_result));

#endif
