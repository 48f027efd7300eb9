/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Programs that belong together are found from where the one that runs is: beside it in a build, in
 * folders of the same prefix when installed.
 */
#ifndef BESIDE_H
#define BESIDE_H

#include "vmm/base/failure.h"

#include <limits.h>

#define BESIDE_PATH_MAX (PATH_MAX + 64)

/*
 * Where a file is, the first of `places` (from this program's folder, beginning with a slash, NULL at
 * the end) that is there.  Returns 0, or -errno: -ENOENT when it is in none.
 */
int beside_find(const char *const *places, char path[BESIDE_PATH_MAX])
    __attribute__((warn_unused_result));

/*
 * Become vkvm-NAME with these words; also in the child of a process.
 * Returns only if that cannot be: -errno, -ENOENT as beside_find.
 */
int beside_exec(const char *name, char *const *argv);

/*
 * Become vkvm-NAME with these words.  Returns only if that cannot be: CLI_FAILED, and the line is printed.
 */
int beside_become(const char *name, char **argv);

#endif
