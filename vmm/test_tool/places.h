/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a run keeps its files: below --out, or in a directory that is gone at the end.
 *
 * A test has ROOT/SUITE/TEST/ with console, stats.json and trace, and for itself, while it runs,
 * ROOT/SUITE/TEST/files, which is empty when it begins and taken away when it ended.
 */
#ifndef PLACES_H
#define PLACES_H

#include "vmm/base/failure.h"

#include <stdbool.h>

struct places {
    char *root; /* owned, absolute */
    bool kept;  /* --out */
};

/* `out` is made if it is not there; NULL = a directory of our own.  Returns 0, or -errno with *failure filled. */
int places_init(struct places *places, const char *out, struct failure *failure)
    __attribute__((warn_unused_result));

/* Takes away what is not kept. */
void places_fini(struct places *places);

/* The files of one attempt at a test.  Owns its strings. */
struct place {
    char *folder;
    char *files;
    char *console;
    char *stats;
    char *trace;
};

/*
 * Make the folder, without what an earlier run left there.  `name` is the result's, attempt 0 the first.
 * Returns 0, or -errno with *failure filled.
 */
int place_make(struct place *place, const struct places *places, const char *name, unsigned attempt,
               struct failure *failure) __attribute__((warn_unused_result));

/* Take its files away that are the test's own. */
void place_clear(const struct place *place);

void place_fini(struct place *place);

#endif
