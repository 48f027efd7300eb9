/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a report goes: standard output, a file that grows with the run, or one that is there only when it
 * is whole.  That one is written beside itself, as FILE.XXXXXX, and what an earlier run left is taken away at
 * the begin, so that nobody takes it for this run's.
 */
#ifndef OUTPUT_H
#define OUTPUT_H

#include "vmm/base/failure.h"

#include <stdbool.h>
#include <stdio.h>

struct output {
    FILE *to;
    const char *path; /* borrowed; NULL = standard output */
    char *temporary;  /* owned: becomes `path` at the end; NULL = it is written itself */
};

/*
 * Open `path`, NULL = standard output; with `whole` it is there only at the end.  What is no plain file, such as a
 * pipe, is always written itself.
 * Returns 0, or -errno with *failure filled.
 */
int output_open(struct output *output, const char *path, bool whole, struct failure *failure)
    __attribute__((warn_unused_result));

/*
 * Close it; with `good` a whole file gets its name, else it is taken away.
 * Returns 0, or -errno with *failure filled: what was written is not all there.
 */
int output_close(struct output *output, bool good, struct failure *failure)
    __attribute__((warn_unused_result));

#endif
