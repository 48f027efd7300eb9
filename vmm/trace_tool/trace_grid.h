/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Faults by address and time, as a grid for pictures: rows are ranges of guest memory from the lowest
 * address up, columns are steps of time.  What nothing touched between two stretches is left out.
 */
#ifndef TRACE_GRID_H
#define TRACE_GRID_H

#include "vmm/trace_tool/trace_input.h"

enum trace_grid_kind {
    TRACE_GRID_COUNT,
    TRACE_GRID_LATENCY, /* the mean, ns */
    TRACE_GRID_OUTCOME  /* the one that was most frequent, plus 1 */
};

struct trace_grid_row {
    uint64_t start, end; /* guest-physical, [start, end) */
    const char *region;  /* borrowed: the input's */
    bool gap;            /* memory between the row before and this one is left out */
};

struct trace_grid {
    unsigned rows, columns;
    struct trace_grid_row *row; /* owned */
    uint64_t *cells;            /* owned: [row * columns + column]; 0 = nothing */
    uint64_t least, most;       /* the smallest cell that is not 0, and the largest */
    uint64_t start, end;        /* ns from the recording's begin */
    uint64_t faults;
};

/*
 * Read all faults that are wanted.  Rows may be less than `height`, if less was touched.
 * Returns 0 or -ENOMEM, *grid is then empty.
 */
int trace_grid_read(struct trace_grid *grid, struct trace_input *input, enum trace_grid_kind kind,
                    unsigned width, unsigned height) __attribute__((warn_unused_result));

void trace_grid_fini(struct trace_grid *grid);

/* The kind of that name, one of count, latency and outcome. */
enum trace_grid_kind trace_grid_kind_of(const char *name);

/* A cell as one of `steps` shades, on a logarithmic scale from `least` to `most`; 0 = nothing. */
unsigned trace_grid_shade(const struct trace_grid *grid, uint64_t cell, unsigned steps);

/*
 * For a legend: the least cell of the shade behind that of `cell`, 0 = the first one.
 * Returns 0 behind the last one.
 */
uint64_t trace_grid_next_shade(const struct trace_grid *grid, uint64_t cell, unsigned steps);

#endif
