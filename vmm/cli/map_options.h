/* SPDX-License-Identifier: BSD-2-Clause */
/* The options of `vkvm run` that say what stands where: --window and --map. */
#ifndef MAP_OPTIONS_H
#define MAP_OPTIONS_H

#include "vmm/cli/cli.h"
#include "vmm/vm/vm.h"

/*
 * Add the window that `value` describes to the configuration.
 * Returns CLI_OK; CLI_USAGE or CLI_FAILED (no memory) with *failure filled, *config unchanged.
 */
int map_options_window(struct vm_config *config, const char *value, struct failure *failure)
    __attribute__((warn_unused_result));

/* The same for a file to map; its path points into `value`. */
int map_options_file(struct vm_config *config, const char *value, struct failure *failure)
    __attribute__((warn_unused_result));

/*
 * Files must not overlap windows nor each other, in whatever order they were given.
 * Returns CLI_OK; CLI_USAGE with *failure filled.
 */
int map_options_check(const struct vm_config *config, struct failure *failure)
    __attribute__((warn_unused_result));

#endif
