/* SPDX-License-Identifier: BSD-2-Clause */
/* Rows, columns and shades of a heat map. */
#include "vmm/trace_tool/trace_grid.h"

#include "tests/unit/trace_rig.h"

#include <criterion/criterion.h>

static struct trace_rig *rig;
static char path[] = "/tmp/vkvm-grid-XXXXXX";
static struct trace_grid grid;
static struct trace_input input;

static void
set_up(void)
{
    rig = trace_rig_create(path, "ram=0x0+0x100000\n");
    cr_assert(rig != NULL);
}

static void
tear_down(void)
{
    trace_grid_fini(&grid);
    trace_input_close(&input);
    unlink(path);
    free(rig);
}

TestSuite(trace_grid, .init = set_up, .fini = tear_down);

static void
draw(const struct trace_record *records, size_t count, enum trace_grid_kind kind)
{
    const struct tool_options options = { .files = { path }, .nfiles = 1 };
    struct failure failure;

    trace_rig_records(rig, 0, records, (uint32_t)count, 0);
    cr_assert(trace_rig_write(rig, path, rig->size));
    cr_assert_eq(trace_input_open(&input, &options, 0, &failure), CLI_OK);
    cr_assert_eq(trace_grid_read(&grid, &input, kind, 10, 8), 0);
}

static uint64_t
cell(unsigned row, unsigned column)
{
    return grid.cells[row * grid.columns + column];
}

Test(trace_grid, memory_that_nothing_touched_is_left_out)
{
    const struct trace_record records[] = {
        trace_rig_fault(0, 0, 0x1000, 0),
        trace_rig_fault(1, 0, 0x2000, 50),
        trace_rig_fault(2, 0, 0x4000000000, 99),
    };

    draw(records, 3, TRACE_GRID_COUNT);
    cr_assert_eq(grid.rows, 3);
    cr_expect_eq(grid.row[0].start, 0x1000);
    cr_expect_eq(grid.row[1].start, 0x2000);
    cr_expect_eq(grid.row[2].start, 0x4000000000);
    cr_expect(!grid.row[0].gap && !grid.row[1].gap && grid.row[2].gap);
    cr_expect_eq(cell(0, 0), 1);
    cr_expect_eq(cell(1, 5), 1);
    cr_expect_eq(cell(2, 9), 1);
    cr_expect_eq(cell(2, 0), 0);
}

Test(trace_grid, rows_are_named_by_what_was_touched_there_and_others_as_those_below)
{
    struct trace_record records[] = {
        trace_rig_fault(0, 0, 0x1000, 0),
        trace_rig_fault(1, 0, 0x1000000000, 10),
        trace_rig_fault(2, 0, 0x1000020000, 20),
    };

    records[1].fault.window = records[2].fault.window = true;
    draw(records, 3, TRACE_GRID_COUNT);
    cr_assert_gt(grid.rows, 3);
    cr_expect_str_eq(grid.row[0].region, "ram");
    for (unsigned i = 1; i < grid.rows; i++)
        cr_expect_str_eq(grid.row[i].region, "window", "row %u", i);
}

Test(trace_grid, latency_is_a_cells_mean_and_an_outcome_its_most_frequent)
{
    struct trace_record records[] = {
        trace_rig_fault(0, 0, 0x1000, 0),
        trace_rig_fault(1, 0, 0x1000, 0),
        trace_rig_fault(2, 0, 0x1000, 0),
    };

    records[0].fault.duration = 100;
    records[1].fault.duration = 200;
    records[2].fault.duration = 300;
    records[0].fault.resolution = TRACE_COPIED;
    draw(records, 3, TRACE_GRID_LATENCY);
    cr_expect_eq(cell(0, 0), 201, "0 is nothing");
    trace_grid_fini(&grid);
    trace_reader_rewind(input.reader);
    cr_assert_eq(trace_grid_read(&grid, &input, TRACE_GRID_OUTCOME, 10, 8), 0);
    cr_expect_eq(cell(0, 0), TRACE_ZERO_FILL + 1);
}

Test(trace_grid, shades_go_from_the_least_to_the_most)
{
    grid = (struct trace_grid){ .least = 1000, .most = 64000 };
    cr_expect_eq(trace_grid_shade(&grid, 0, 9), 0, "nothing");
    cr_expect_eq(trace_grid_shade(&grid, 1000, 9), 1);
    cr_expect_eq(trace_grid_shade(&grid, 8000, 9), 5);
    cr_expect_eq(trace_grid_shade(&grid, 64000, 9), 9);
    grid.most = 1000;
    cr_expect_eq(trace_grid_shade(&grid, 1000, 9), 9, "there is one shade only");
}

Test(trace_grid, a_legend_has_each_shade_once_with_its_least)
{
    static const uint64_t wanted[] = { 3, 8, 16, 32, 128, 256, 512, 1024, 0 };
    uint64_t cell = 0;

    grid = (struct trace_grid){ .least = 3, .most = 1100 };
    for (unsigned i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        cell = trace_grid_next_shade(&grid, cell, 8);
        cr_expect_eq(cell, wanted[i], "%lu, not %lu", (unsigned long)cell,
                     (unsigned long)wanted[i]);
        cr_expect_eq(trace_grid_shade(&grid, cell, 8), cell != 0 ? i + 1 : 0);
    }
    grid = (struct trace_grid){ .least = 5, .most = 7 };
    cr_expect_eq(trace_grid_next_shade(&grid, 0, 8), 5);
    cr_expect_eq(trace_grid_next_shade(&grid, 5, 8), 0);
    grid = (struct trace_grid){ .least = 1, .most = UINT64_MAX };
    cr_expect_eq(trace_grid_next_shade(&grid, (uint64_t)1 << 63, 8), 0);
}

Test(trace_grid, the_least_is_that_of_the_cells_with_something)
{
    struct trace_record records[] = {
        trace_rig_fault(0, 0, 0x1000, 0),
        trace_rig_fault(1, 0, 0x2000, 99),
    };

    records[0].fault.duration = 700;
    records[1].fault.duration = 900;
    draw(records, 2, TRACE_GRID_LATENCY);
    cr_expect_eq(grid.least, 701);
    cr_expect_eq(grid.most, 901);
}
