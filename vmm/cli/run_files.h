/* SPDX-License-Identifier: BSD-2-Clause */
/* The files that a command line of `vkvm run` names, taken together. */
#ifndef RUN_FILES_H
#define RUN_FILES_H

#include "vmm/cli/options.h"

/*
 * A file that the run would write (swap, the JSON report, a shared mapping, a disk) must not be named
 * for anything else, or its contents are lost.  A file may be mapped several times while only
 * one of the mappings is written back.  Opens nothing; files that are not there are no error
 * here.
 * Returns CLI_OK; CLI_USAGE with *failure filled.
 */
int run_files_check(const struct run_options *options, struct failure *failure)
    __attribute__((warn_unused_result));

#endif
