/* SPDX-License-Identifier: BSD-2-Clause */
/* A heat map as a picture.  What draws it is cairo; without it this says so. */
#include "vmm/cli/cli.h"
#include "vmm/trace_tool/trace_heatmap.h"

#ifdef HAVE_CAIRO

#include <cairo-pdf.h>
#include <cairo-svg.h>
#include <cairo.h>
#include <inttypes.h>
#include <string.h>

/* In points. */
#define CELL_WIDTH 7.0
#define CELL_HEIGHT 10.0
#define GAP_HEIGHT 8.0
#define LEFT 190.0
#define RIGHT 20.0
#define TOP 40.0
#define BOTTOM 70.0
#define FONT_SIZE 9.0
#define LETTER_SIZE 6.5
#define EDGE 0.3
#define LEGEND_STEPS 10u
#define LABELLED 4u
#define SECOND 1000000000u

/* Below this sum of its parts a colour is dark, and letters on it are white. */
#define DARK 200

static cairo_status_t
write_bytes(void *to, const unsigned char *bytes, unsigned size)
{
    return fwrite(bytes, 1, size, to) == size ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

static double
height_of(const struct trace_grid *grid)
{
    double height = grid->rows * CELL_HEIGHT;

    for (unsigned r = 0; r < grid->rows; r++)
        height += grid->row[r].gap ? GAP_HEIGHT : 0;
    return height;
}

static void
set_colour(cairo_t *cr, struct trace_colour c)
{
    cairo_set_source_rgb(cr, c.red / 255.0, c.green / 255.0, c.blue / 255.0);
}

static void
draw_text(cairo_t *cr, double x, double y, const char *text)
{
    cairo_set_source_rgb(cr, 0, 0, 0);
    cairo_move_to(cr, x, y);
    cairo_show_text(cr, text);
}

/* Does a stretch of a region begin with the row? */
static bool
begins(const struct trace_grid *grid, unsigned r)
{
    return r == 0 || grid->row[r].gap || strcmp(grid->row[r].region, grid->row[r - 1].region) != 0;
}

/* The row's region where it begins, and its address, there and at every fourth row behind. */
static void
draw_label(cairo_t *cr, const struct trace_grid *grid, unsigned r, double y)
{
    unsigned first = r;
    char text[64];

    while (!begins(grid, first))
        first--;
    if (first == r)
        draw_text(cr, 10, y + CELL_HEIGHT - 2, grid->row[r].region);
    if ((r - first) % LABELLED == 0) {
        snprintf(text, sizeof(text), "0x%" PRIx64, grid->row[r].start);
        draw_text(cr, 110, y + CELL_HEIGHT - 2, text);
    }
}

/* Its edge keeps the lightest shade apart from the paper. */
static void
draw_cell(cairo_t *cr, struct trace_colour colour, double x, double y, double width)
{
    set_colour(cr, colour);
    cairo_rectangle(cr, x, y, width, CELL_HEIGHT);
    cairo_fill_preserve(cr);
    cairo_set_source_rgb(cr, 0.35, 0.35, 0.35);
    cairo_set_line_width(cr, EDGE);
    cairo_stroke(cr);
}

/* An outcome's letter, for who sees no colours. */
static void
draw_letter(cairo_t *cr, struct trace_colour colour, uint64_t cell, double x, double y,
            double width)
{
    const char text[] = { trace_heatmap_letter(cell), '\0' };
    bool dark = colour.red + colour.green + colour.blue < DARK;
    cairo_text_extents_t extents;

    cairo_set_font_size(cr, LETTER_SIZE);
    cairo_text_extents(cr, text, &extents);
    cairo_set_source_rgb(cr, dark, dark, dark);
    cairo_move_to(cr, x + (width - extents.x_advance) / 2, y + CELL_HEIGHT - 2.5);
    cairo_show_text(cr, text);
    cairo_set_font_size(cr, FONT_SIZE);
}

static void
draw_row(cairo_t *cr, const struct trace_grid *grid, enum trace_grid_kind kind, unsigned r,
         double y)
{
    for (unsigned c = 0; c < grid->columns; c++) {
        uint64_t cell = grid->cells[r * grid->columns + c];

        struct trace_colour colour;

        if (cell == 0)
            continue;
        colour = trace_heatmap_colour(grid, kind, cell);
        draw_cell(cr, colour, LEFT + c * CELL_WIDTH, y, CELL_WIDTH);
        if (kind == TRACE_GRID_OUTCOME)
            draw_letter(cr, colour, cell, LEFT + c * CELL_WIDTH, y, CELL_WIDTH);
    }
}

/* A gap in the axis: memory that is left out. */
static void
draw_gap(cairo_t *cr, const struct trace_grid *grid, double y)
{
    const double dashes[] = { 2, 3 };

    cairo_set_source_rgb(cr, 0.5, 0.5, 0.5);
    cairo_set_line_width(cr, 0.7);
    cairo_set_dash(cr, dashes, 2, 0);
    cairo_move_to(cr, 10, y + GAP_HEIGHT / 2);
    cairo_line_to(cr, LEFT + grid->columns * CELL_WIDTH, y + GAP_HEIGHT / 2);
    cairo_stroke(cr);
    cairo_set_dash(cr, NULL, 0, 0);
}

/* One of 1, 2 and 5 times a power of ten, of which `span` has less than ten. */
static uint64_t
step_of(uint64_t span)
{
    uint64_t step = 1;

    for (unsigned i = 0; span / step >= 10; i++)
        step = i % 3 == 1 ? step / 2 * 5 : step * 2;
    return step;
}

static void
draw_tick(cairo_t *cr, double x, double y, const char *text)
{
    cairo_text_extents_t extents;

    cairo_move_to(cr, x, y);
    cairo_line_to(cr, x, y + 3);
    cairo_stroke(cr);
    cairo_text_extents(cr, text, &extents);
    draw_text(cr, x - extents.x_advance / 2, y + 14, text);
}

/* Time, in round numbers. */
static void
draw_axis(cairo_t *cr, const struct trace_grid *grid, double y)
{
    double width = grid->columns * CELL_WIDTH;
    uint64_t span = grid->end - grid->start, step = step_of(span);
    int decimals = 0;
    char text[32];

    for (uint64_t ns = step; ns < SECOND && ns % SECOND != 0; ns *= 10)
        decimals++;
    cairo_set_source_rgb(cr, 0, 0, 0);
    cairo_set_line_width(cr, 0.7);
    cairo_rectangle(cr, LEFT, TOP, width, y - TOP);
    cairo_stroke(cr);
    for (uint64_t at = grid->start + (step - grid->start % step) % step;
         at >= grid->start && at <= grid->end; at += step) {
        snprintf(text, sizeof(text), "%.*f s", decimals, (double)at / SECOND);
        draw_tick(cr, LEFT + width * (double)(at - grid->start) / ((double)span + 1), y, text);
    }
}

static void
draw_box(cairo_t *cr, struct trace_colour colour, double x, double y, const char *text)
{
    draw_cell(cr, colour, x, y, CELL_WIDTH * 1.5);
    draw_text(cr, x + CELL_WIDTH * 1.5 + 3, y + CELL_HEIGHT - 2, text);
}

static void
draw_outcomes(cairo_t *cr, const struct trace_grid *grid, double y)
{
    for (unsigned i = 0; i <= TRACE_RESOLUTION_COUNT; i++) {
        struct trace_colour colour = trace_heatmap_colour(grid, TRACE_GRID_OUTCOME, i + 1);

        draw_box(cr, colour, LEFT + i * 80.0, y,
                 i < TRACE_RESOLUTION_COUNT ? trace_outcome_name(i) : "refused");
        draw_letter(cr, colour, i + 1, LEFT + i * 80.0, y, CELL_WIDTH * 1.5);
    }
}

/* The least of each shade. */
static void
draw_legend(cairo_t *cr, const struct trace_grid *grid, enum trace_grid_kind kind, double y)
{
    unsigned boxes = 0;
    uint64_t cell = 0;
    char text[64];

    draw_text(cr, 10, y + CELL_HEIGHT - 2, "at least");
    while ((cell = trace_grid_next_shade(grid, cell, LEGEND_STEPS)) != 0) {
        if (kind == TRACE_GRID_LATENCY)
            snprintf(text, sizeof(text), "%.1f us", (double)cell / 1e3);
        else
            snprintf(text, sizeof(text), "%" PRIu64, cell);
        draw_box(cr, trace_heatmap_colour(grid, kind, cell), LEFT + boxes++ * 68.0, y, text);
    }
}

static void
draw(cairo_t *cr, const struct trace_grid *grid, enum trace_grid_kind kind, const char *title,
     double width, double height)
{
    static const char *const kinds[] = { "faults", "mean latency of faults", "outcome of faults" };
    double y = TOP;
    char text[256];

    cairo_set_source_rgb(cr, 1, 1, 1);
    cairo_rectangle(cr, 0, 0, width, height);
    cairo_fill(cr);
    cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cr, FONT_SIZE + 2);
    snprintf(text, sizeof(text), "%s by guest memory and time: %.180s", kinds[kind], title);
    draw_text(cr, 10, 20, text);
    cairo_set_font_size(cr, FONT_SIZE);
    for (unsigned r = 0; r < grid->rows; r++) {
        if (grid->row[r].gap) {
            draw_gap(cr, grid, y);
            y += GAP_HEIGHT;
        }
        draw_label(cr, grid, r, y);
        draw_row(cr, grid, kind, r, y);
        y += CELL_HEIGHT;
    }
    draw_axis(cr, grid, y);
    if (kind == TRACE_GRID_OUTCOME)
        draw_outcomes(cr, grid, y + 30);
    else
        draw_legend(cr, grid, kind, y + 30);
}

static cairo_surface_t *
make_surface(FILE *to, const char *format, double width, double height)
{
    if (strcmp(format, "svg") == 0)
        return cairo_svg_surface_create_for_stream(write_bytes, to, width, height);
    if (strcmp(format, "pdf") == 0)
        return cairo_pdf_surface_create_for_stream(write_bytes, to, width, height);
    return cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)width, (int)height);
}

int
trace_heatmap_draw(FILE *to, const struct trace_grid *grid, enum trace_grid_kind kind,
                   const char *format, const char *title, struct failure *failure)
{
    double width = LEFT + grid->columns * CELL_WIDTH + RIGHT;
    double height = TOP + height_of(grid) + BOTTOM;
    cairo_surface_t *surface = make_surface(to, format, width, height);
    cairo_t *cr = cairo_create(surface);
    cairo_status_t status;

    draw(cr, grid, kind, title, width, height);
    status = cairo_status(cr);
    cairo_destroy(cr);
    if (status == CAIRO_STATUS_SUCCESS && strcmp(format, "png") == 0)
        status = cairo_surface_write_to_png_stream(surface, write_bytes, to);
    cairo_surface_finish(surface);
    if (status == CAIRO_STATUS_SUCCESS)
        status = cairo_surface_status(surface);
    cairo_surface_destroy(surface);
    if (status != CAIRO_STATUS_SUCCESS)
        return failure_set(failure, CLI_FAILED, "cannot draw the picture: %s",
                           cairo_status_to_string(status));
    return CLI_OK;
}

#else

int
trace_heatmap_draw(FILE *to, const struct trace_grid *grid, enum trace_grid_kind kind,
                   const char *format, const char *title, struct failure *failure)
{
    (void)to;
    (void)grid;
    (void)kind;
    (void)title;
    return failure_set(failure, CLI_FAILED,
                       "--format=%s: built without cairo: use digits or blocks, or install "
                       "libcairo2-dev and build again",
                       format);
}

#endif
