/* SPDX-License-Identifier: BSD-2-Clause */
/* `vkvm trace heatmap`: guest memory by time, as text or as a picture. */
#include "vmm/trace_tool/trace_heatmap.h"

#include "vmm/trace_tool/tool.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define DIGITS 9u

/* The number of white among a terminal's 256 colours. */
#define WHITE 231u

/* Light to dark, with even steps of lightness: after matplotlib's viridis, turned round. */
static const struct trace_colour shades[] = {
    { 253, 231, 37 }, { 181, 222, 43 }, { 110, 206, 88 }, { 53, 183, 121 }, { 31, 158, 137 },
    { 38, 130, 142 }, { 49, 104, 142 }, { 62, 73, 137 },  { 72, 40, 120 },  { 68, 1, 84 },
};

/* Okabe and Ito's, for those who see some colours as one. */
static const struct trace_colour outcome_colours[TRACE_RESOLUTION_COUNT + 1] = {
    [TRACE_RESIDENT] = { 153, 153, 153 },   [TRACE_ZERO_FILL] = { 86, 180, 233 },
    [TRACE_COPIED] = { 230, 159, 0 },       [TRACE_MOVED] = { 240, 228, 66 },
    [TRACE_FILE_READ] = { 0, 158, 115 },    [TRACE_SWAP_IN] = { 213, 94, 0 },
    [TRACE_RESOLUTION_COUNT] = { 0, 0, 0 }, /* refused */
};

static const char outcome_letters[] = "rzcmfsX";

/* What a cell of outcomes is: its place in the tables above. */
static unsigned
outcome_of(uint64_t cell)
{
    return cell - 1 < TRACE_RESOLUTION_COUNT ? (unsigned)cell - 1 : TRACE_RESOLUTION_COUNT;
}

char
trace_heatmap_letter(uint64_t cell)
{
    return cell == 0 ? '.' : outcome_letters[outcome_of(cell)];
}

struct trace_colour
trace_heatmap_colour(const struct trace_grid *grid, enum trace_grid_kind kind, uint64_t cell)
{
    if (kind == TRACE_GRID_OUTCOME)
        return outcome_colours[outcome_of(cell)];
    return shades[trace_grid_shade(grid, cell, COUNT(shades)) - 1];
}

/* --- Text ------------------------------------------------------------------ */

static void
print_label(FILE *to, const struct trace_grid *grid, unsigned row)
{
    const struct trace_grid_row *now = &grid->row[row];
    bool named = row == 0 || now->gap || strcmp(now->region, grid->row[row - 1].region) != 0;

    fprintf(to, "%-16.16s 0x%-12" PRIx64 "|", named ? now->region : "", now->start);
}

static void
print_times(FILE *to, const struct trace_grid *grid)
{
    fprintf(to, "%31s|%-*.6f%.6f s\n", "", (int)grid->columns - 8, (double)grid->start / 1e9,
            (double)grid->end / 1e9);
}

static void
print_scale(FILE *to, const struct trace_grid *grid, enum trace_grid_kind kind)
{
    if (kind == TRACE_GRID_OUTCOME)
        fputs("r resident  z zero-fill  c copy  m move  f file-read  s swap-in  X refused\n", to);
    else if (kind == TRACE_GRID_LATENCY)
        fprintf(to, "mean latency from %.3f to %.3f us, each step the same factor\n",
                (double)grid->least / 1e3, (double)grid->most / 1e3);
    else
        fprintf(to, "faults from %" PRIu64 " to %" PRIu64 ", each step the same factor\n",
                grid->least, grid->most);
}

void
trace_heatmap_digits(FILE *to, const struct trace_grid *grid, enum trace_grid_kind kind)
{
    for (unsigned r = 0; r < grid->rows; r++) {
        if (grid->row[r].gap)
            fprintf(to, "%31s:\n", "");
        print_label(to, grid, r);
        for (unsigned c = 0; c < grid->columns; c++) {
            uint64_t cell = grid->cells[r * grid->columns + c];
            unsigned shade = trace_grid_shade(grid, cell, DIGITS);

            putc(kind == TRACE_GRID_OUTCOME ? trace_heatmap_letter(cell)
                 : shade == 0               ? '.'
                                            : (char)('0' + shade),
                 to);
        }
        putc('\n', to);
    }
    print_times(to, grid);
    print_scale(to, grid, kind);
}

/* The nearest of the six levels, 0, 95, 135, 175, 215 and 255, or nearly: each shade has another colour. */
static unsigned
level(unsigned part)
{
    if (part < 50)
        return 0;
    return part < 115 ? 1 : (part - 35) / 40;
}

/* Its number in the 6x6x6 cube that terminals have at 16. */
static unsigned
terminal_colour(struct trace_colour c)
{
    return 16 + 36 * level(c.red) + 6 * level(c.green) + level(c.blue);
}

/* Nothing is white: the shades are made for that, and many a terminal is as dark as the darkest. */
static unsigned
cell_colour(const struct trace_grid *grid, enum trace_grid_kind kind, uint64_t cell)
{
    return cell != 0 ? terminal_colour(trace_heatmap_colour(grid, kind, cell)) : WHITE;
}

/* One colour for the upper half of a place, one for the lower. */
static void
print_halves(FILE *to, const struct trace_grid *grid, enum trace_grid_kind kind, uint64_t upper,
             uint64_t lower)
{
    if (upper == 0 && lower == 0)
        fprintf(to, "\033[0;48;5;%um ", WHITE);
    else
        fprintf(to, "\033[0;38;5;%u;48;5;%um\u2580", cell_colour(grid, kind, upper),
                cell_colour(grid, kind, lower));
}

static void
print_box(FILE *to, const struct trace_grid *grid, enum trace_grid_kind kind, uint64_t cell)
{
    fprintf(to, "  \033[0;48;5;%um  \033[0m ", cell_colour(grid, kind, cell));
}

/* What the colours are. */
static void
print_legend(FILE *to, const struct trace_grid *grid, enum trace_grid_kind kind)
{
    uint64_t cell = 0;

    if (kind == TRACE_GRID_OUTCOME) {
        for (unsigned i = 0; i <= TRACE_RESOLUTION_COUNT; i++) {
            print_box(to, grid, kind, i + 1);
            fputs(i < TRACE_RESOLUTION_COUNT ? trace_outcome_name(i) : "refused", to);
        }
    } else {
        fputs("at least", to);
        while ((cell = trace_grid_next_shade(grid, cell, COUNT(shades))) != 0) {
            print_box(to, grid, kind, cell);
            if (kind == TRACE_GRID_LATENCY)
                fprintf(to, "%.1f us", (double)cell / 1e3);
            else
                fprintf(to, "%" PRIu64, cell);
        }
    }
    putc('\n', to);
}

void
trace_heatmap_blocks(FILE *to, const struct trace_grid *grid, enum trace_grid_kind kind)
{
    for (unsigned r = 0, next; r < grid->rows; r = next) {
        bool two = r + 1 < grid->rows && !grid->row[r + 1].gap; /* a gap begins a new line */

        next = r + 1 + two;
        if (grid->row[r].gap)
            fprintf(to, "%31s:\n", "");
        print_label(to, grid, r);
        for (unsigned c = 0; c < grid->columns; c++)
            print_halves(to, grid, kind, grid->cells[r * grid->columns + c],
                         two ? grid->cells[(r + 1) * grid->columns + c] : 0);
        fputs("\033[0m\n", to);
    }
    print_times(to, grid);
    print_legend(to, grid, kind);
}

/* --- The verb -------------------------------------------------------------- */

static bool
is_picture(const char *format)
{
    return strcmp(format, "svg") == 0 || strcmp(format, "png") == 0 || strcmp(format, "pdf") == 0;
}

static int
check_format(const char *format, FILE *to, struct failure *failure)
{
    if (!is_picture(format) && strcmp(format, "digits") != 0 && strcmp(format, "blocks") != 0)
        return failure_set(failure, CLI_USAGE,
                           "--format=" FAILURE_NAME
                           " is unknown: give digits, blocks, svg, png or pdf",
                           format);
    if ((strcmp(format, "png") == 0 || strcmp(format, "pdf") == 0) && isatty(fileno(to)))
        return failure_set(failure, CLI_USAGE,
                           "--format=%s is no text for a terminal: give --output FILE", format);
    return CLI_OK;
}

static int
print_grid(const struct tool_options *options, const char *format, const struct trace_grid *grid,
           FILE *to, struct failure *failure)
{
    enum trace_grid_kind kind = trace_grid_kind_of(options->kind);

    if (grid->rows == 0)
        return failure_set(failure, CLI_FAILED, FAILURE_NAME " has no faults to draw%s",
                           options->files[0],
                           options->nfiles != 0 ? ": are the filters too narrow?" : "");
    if (is_picture(format))
        return trace_heatmap_draw(to, grid, kind, format, options->files[0], failure);
    if (strcmp(format, "blocks") == 0)
        trace_heatmap_blocks(to, grid, kind);
    else
        trace_heatmap_digits(to, grid, kind);
    return CLI_OK;
}

static int
run_heatmap(const struct tool_options *options, FILE *to, struct failure *failure)
{
    const char *format = options->format != NULL ? options->format : "digits";
    struct trace_grid grid = { .rows = 0 };
    struct trace_input input;
    int status = check_format(format, to, failure);
    int drawn;

    if (status == CLI_OK)
        status = trace_input_open(&input, options, 0, failure);
    if (status != CLI_OK)
        return status;
    status = trace_input_verdict(&input,
                                 trace_grid_read(&grid, &input, trace_grid_kind_of(options->kind),
                                                 options->width, options->height),
                                 failure);
    if (status != CLI_FAILED) {
        drawn = print_grid(options, format, &grid, to, failure);
        status = drawn != CLI_OK ? drawn : status;
    }
    trace_grid_fini(&grid);
    trace_input_close(&input);
    return status;
}

const struct tool_verb trace_heatmap_verb = {
    .name = "heatmap",
    .summary = "Draw guest memory by time",
    .words = "FILE",
    .bit = TOOL_HEATMAP,
    .nfiles = 1,
    .run = run_heatmap,
};
