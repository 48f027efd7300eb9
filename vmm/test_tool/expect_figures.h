/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The figures of a run, as `vkvm run --json` has them, and their names.
 *
 * A figure is called by its path in the JSON, "faults.v_cow_faults", or by the path's end, of which "v_"
 * and "v_kind_" may be left out: "cow_faults", "zero_fill".
 */
#ifndef EXPECT_FIGURES_H
#define EXPECT_FIGURES_H

#include "vmm/base/failure.h"

#include <stdbool.h>
#include <stddef.h>

#define FIGURES_MAX 96

struct figure {
    const char *path;
    bool time; /* in us: compared with other times only */
};

/* All there are.  Returns how many. */
size_t figures_list(const struct figure **list);

/*
 * The number of the figure of this name.
 * Returns 0; with *failure filled, without a place: -ENOENT (no such figure; names the nearest), -EINVAL
 * (the name fits several).
 */
int figures_find(const char *name, size_t length, size_t *index, struct failure *failure)
    __attribute__((warn_unused_result));

/* What a run had. */
struct figures {
    bool known[FIGURES_MAX];
    double values[FIGURES_MAX];
};

/* Read a report.  Returns 0; -EBADMSG: it is no JSON object, or is cut off. */
int figures_read(const char *json, struct figures *figures) __attribute__((warn_unused_result));

/* The same of a file.  Returns 0; with *failure filled: that, or what open and read said. */
int figures_read_file(const char *path, struct figures *figures, struct failure *failure)
    __attribute__((warn_unused_result));

#endif
