/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pictures of a grid: on the terminal, and by cairo where it was there at build.
 */
#ifndef TRACE_HEATMAP_H
#define TRACE_HEATMAP_H

#include "vmm/base/failure.h"
#include "vmm/trace_tool/trace_grid.h"

#include <stdio.h>

/* Digits 1 to 9, '.' for nothing; for outcomes their letters.  Rows from the lowest address up. */
void trace_heatmap_digits(FILE *to, const struct trace_grid *grid, enum trace_grid_kind kind);

/* Coloured half blocks, two rows a line: a terminal with 256 colours. */
void trace_heatmap_blocks(FILE *to, const struct trace_grid *grid, enum trace_grid_kind kind);

/*
 * A picture as "svg", "png" or "pdf".
 * Returns CLI_OK; CLI_FAILED with *failure filled: built without cairo, or what cairo says.
 */
int trace_heatmap_draw(FILE *to, const struct trace_grid *grid, enum trace_grid_kind kind,
                       const char *format, const char *title, struct failure *failure)
    __attribute__((warn_unused_result));

struct trace_colour {
    uint8_t red, green, blue;
};

/*
 * The colour of a cell that is not 0.  Shades go from light to dark, so that they can be told apart
 * in print and by who sees no colours; outcomes have those of Okabe and Ito.
 */
struct trace_colour trace_heatmap_colour(const struct trace_grid *grid, enum trace_grid_kind kind,
                                         uint64_t cell);

/* A letter for an outcome's cell; '.' for nothing. */
char trace_heatmap_letter(uint64_t cell);

#endif
