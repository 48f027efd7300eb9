/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The grid.  All faults are kept as points first, for the rows depend on which addresses there are:
 * pages near each other make a stretch, and the stretches share the rows by their sizes.
 */
#include "vmm/trace_tool/trace_grid.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A gap is left out if it is larger than this; more, if there would be too many stretches. */
#define GAP_PAGES 64u

struct point {
    uint64_t page;
    uint64_t time;
    size_t region;
    uint32_t duration; /* ns, at most some 4 s */
    uint16_t outcome;
};

struct points {
    struct point *list; /* owned */
    size_t count;
    size_t room;
};

struct stretch {
    uint64_t first, last; /* pages */
};

/* --- Points ---------------------------------------------------------------- */

static int
add_point(struct points *points, const struct trace_event *event)
{
    const struct trace_fault *fault = &event->record.fault;

    if (event->record.kind != TRACE_FAULT || trace_is_lookup(fault))
        return 0;
    if (points->count == points->room) {
        size_t room = points->room == 0 ? 1024 : 2 * points->room;
        struct point *list = reallocarray(points->list, room, sizeof(*list));

        if (list == NULL)
            return -ENOMEM;
        points->list = list;
        points->room = room;
    }
    points->list[points->count++] = (struct point){
        .page = fault->gpa >> PAGE_SHIFT,
        .time = event->time,
        .region = event->region,
        .duration = fault->duration < UINT32_MAX ? (uint32_t)fault->duration : UINT32_MAX,
        .outcome = (uint16_t)trace_outcome(fault),
    };
    return 0;
}

static int
read_points(struct points *points, struct trace_input *input)
{
    struct trace_event event;
    int found, error = 0;

    while (error == 0 && (found = trace_input_next(input, &event)) != 0)
        error = found < 0 ? found : add_point(points, &event);
    return error;
}

static int
compare_pages(const void *left, const void *right)
{
    const struct point *a = left, *b = right;

    return a->page < b->page ? -1 : a->page > b->page;
}

/* --- Rows ------------------------------------------------------------------ */

/* Stretches with at most `gap` pages between neighbours; the points are by page.  Returns how many;
 * those that fit go to the list. */
static size_t
find_stretches(const struct points *points, uint64_t gap, struct stretch *list, size_t most)
{
    size_t count = 0;

    for (size_t i = 0; i < points->count; i++) {
        uint64_t page = points->list[i].page;

        if (i == 0 || page - points->list[i - 1].page > gap) {
            if (count < most)
                list[count].first = page;
            count++;
        }
        if (count <= most)
            list[count - 1].last = page;
    }
    return count;
}

/* How many rows a stretch gets: at least one, at most one a page. */
static unsigned
rows_of(const struct stretch *stretch, uint64_t pages, unsigned rows)
{
    uint64_t size = stretch->last - stretch->first + 1;
    uint64_t share = (uint64_t)((double)size * rows / (double)pages);

    share = share < size ? share : size;
    return share > 0 ? (unsigned)share : 1;
}

static void
make_rows(struct trace_grid *grid, const struct stretch *list, size_t count, unsigned height)
{
    unsigned spare = height > count ? height - (unsigned)count : 0;
    uint64_t pages = 0;

    for (size_t i = 0; i < count; i++)
        pages += list[i].last - list[i].first + 1;
    for (size_t i = 0; i < count; i++) {
        uint64_t size = list[i].last - list[i].first + 1;
        unsigned rows = rows_of(&list[i], pages, spare + 1);

        for (unsigned k = 0; k < rows && grid->rows < height; k++)
            grid->row[grid->rows++] = (struct trace_grid_row){
                .start = (list[i].first + size * k / rows) << PAGE_SHIFT,
                .end = (list[i].first + size * (k + 1) / rows) << PAGE_SHIFT,
                .gap = k == 0 && i != 0,
            };
    }
}

static int
choose_rows(struct trace_grid *grid, const struct points *points, unsigned height)
{
    size_t most = height / 2 != 0 ? height / 2 : 1;
    struct stretch *list = calloc(most, sizeof(*list));
    uint64_t gap = GAP_PAGES;
    size_t count;

    grid->row = calloc(height, sizeof(grid->row[0]));
    if (list == NULL || grid->row == NULL) {
        free(list);
        return -ENOMEM;
    }
    while ((count = find_stretches(points, gap, list, most)) > most)
        gap = gap < UINT64_MAX / 2 ? 2 * gap : UINT64_MAX;
    make_rows(grid, list, count, height);
    free(list);
    return 0;
}

/* The row that has the page; the last one that begins at or below it. */
static unsigned
row_of(const struct trace_grid *grid, uint64_t page)
{
    unsigned low = 0, high = grid->rows;

    while (high - low > 1) {
        unsigned middle = low + (high - low) / 2;

        if (grid->row[middle].start >> PAGE_SHIFT <= page)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* --- Cells ----------------------------------------------------------------- */

static size_t
cell_of(const struct trace_grid *grid, const struct point *point)
{
    double span = (double)(grid->end - grid->start) + 1;
    unsigned column = (unsigned)((double)(point->time - grid->start) * grid->columns / span);

    column = column < grid->columns ? column : grid->columns - 1;
    return (size_t)row_of(grid, point->page) * grid->columns + column;
}

/* The sum of durations becomes the mean. */
static int
fill_latency(struct trace_grid *grid, const struct points *points)
{
    size_t size = (size_t)grid->rows * grid->columns;
    uint32_t *counts = calloc(size, sizeof(*counts));

    if (counts == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < points->count; i++) {
        size_t cell = cell_of(grid, &points->list[i]);

        grid->cells[cell] += points->list[i].duration;
        counts[cell]++;
    }
    for (size_t i = 0; i < size; i++)
        grid->cells[i] = counts[i] != 0 ? grid->cells[i] / counts[i] + 1 : 0;
    free(counts);
    return 0;
}

static int
fill_outcome(struct trace_grid *grid, const struct points *points)
{
    size_t size = (size_t)grid->rows * grid->columns;
    uint32_t *counts = calloc(size * TRACE_OUTCOMES, sizeof(*counts));

    if (counts == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < points->count; i++)
        counts[cell_of(grid, &points->list[i]) * TRACE_OUTCOMES + points->list[i].outcome]++;
    for (size_t i = 0; i < size; i++) {
        const uint32_t *cell = counts + i * TRACE_OUTCOMES;
        unsigned best = 0;

        for (unsigned k = 1; k < TRACE_OUTCOMES; k++)
            best = cell[k] > cell[best] ? k : best;
        grid->cells[i] = cell[best] != 0 ? best + 1 : 0;
    }
    free(counts);
    return 0;
}

static void
find_range(struct trace_grid *grid)
{
    for (size_t i = 0; i < (size_t)grid->rows * grid->columns; i++) {
        uint64_t cell = grid->cells[i];

        grid->most = cell > grid->most ? cell : grid->most;
        if (cell != 0 && (grid->least == 0 || cell < grid->least))
            grid->least = cell;
    }
}

static int
fill(struct trace_grid *grid, const struct points *points, enum trace_grid_kind kind)
{
    int error = 0;

    grid->cells = calloc((size_t)grid->rows * grid->columns + 1, sizeof(grid->cells[0]));
    if (grid->cells == NULL)
        return -ENOMEM;
    if (kind == TRACE_GRID_LATENCY)
        error = fill_latency(grid, points);
    else if (kind == TRACE_GRID_OUTCOME)
        error = fill_outcome(grid, points);
    else
        for (size_t i = 0; i < points->count; i++)
            grid->cells[cell_of(grid, &points->list[i])]++;
    find_range(grid);
    return error;
}

static void
find_times(struct trace_grid *grid, const struct points *points)
{
    grid->start = UINT64_MAX;
    for (size_t i = 0; i < points->count; i++) {
        uint64_t time = points->list[i].time;

        grid->start = time < grid->start ? time : grid->start;
        grid->end = time > grid->end ? time : grid->end;
    }
}

/*
 * A row has the name of what was touched in it; the windows of guests are in no header.  Where nothing
 * was touched and the header knows nothing it is more of what is below: stretches begin with a page
 * that was touched.
 */
static void
name_rows(struct trace_grid *grid, const struct points *points, const struct trace_input *input)
{
    for (size_t i = 0; i < points->count; i++)
        grid->row[row_of(grid, points->list[i].page)].region =
            trace_input_region(input, points->list[i].region);
    for (unsigned i = 0; i < grid->rows; i++) {
        size_t region = trace_input_region_at(input, grid->row[i].start);

        if (grid->row[i].region == NULL)
            grid->row[i].region = region < input->nregions || i == 0
                                      ? trace_input_region(input, region)
                                      : grid->row[i - 1].region;
    }
}

int
trace_grid_read(struct trace_grid *grid, struct trace_input *input, enum trace_grid_kind kind,
                unsigned width, unsigned height)
{
    struct points points = { .list = NULL };
    int error = read_points(&points, input);

    *grid = (struct trace_grid){ .columns = width, .faults = points.count };
    if (error == 0 && points.count != 0) {
        find_times(grid, &points);
        qsort(points.list, points.count, sizeof(points.list[0]), compare_pages);
        error = choose_rows(grid, &points, height);
        if (error == 0)
            error = fill(grid, &points, kind);
        if (error == 0)
            name_rows(grid, &points, input);
    }
    free(points.list);
    if (error != 0)
        trace_grid_fini(grid);
    return error;
}

void
trace_grid_fini(struct trace_grid *grid)
{
    free(grid->row);
    free(grid->cells);
    *grid = (struct trace_grid){ .rows = 0 };
}

enum trace_grid_kind
trace_grid_kind_of(const char *name)
{
    return strcmp(name, "latency") == 0   ? TRACE_GRID_LATENCY
           : strcmp(name, "outcome") == 0 ? TRACE_GRID_OUTCOME
                                          : TRACE_GRID_COUNT;
}

static unsigned
bits_of(uint64_t cell)
{
    return 63 - (unsigned)__builtin_clzll(cell);
}

/* Bits are steps: a shade darker is twice as many when there are enough shades. */
unsigned
trace_grid_shade(const struct trace_grid *grid, uint64_t cell, unsigned steps)
{
    unsigned bits, all, least;

    if (cell == 0)
        return 0;
    least = bits_of(grid->least);
    bits = bits_of(cell) - least;
    all = bits_of(grid->most) - least;
    return all == 0 ? steps : 1 + bits * (steps - 1) / all;
}

uint64_t
trace_grid_next_shade(const struct trace_grid *grid, uint64_t cell, unsigned steps)
{
    unsigned shade = trace_grid_shade(grid, cell, steps);

    if (cell == 0)
        return grid->least;
    do {
        if (bits_of(cell) >= bits_of(grid->most))
            return 0;
        cell = (uint64_t)1 << (bits_of(cell) + 1);
    } while (trace_grid_shade(grid, cell, steps) == shade);
    return cell;
}
