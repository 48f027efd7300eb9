/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `vkvm trace wset`: the pages that faults have touched, in the order of the first touch; or how many
 * there were in each window of time.  docs/trace-format.md, Working sets, says what the lines mean.
 */
#include "vmm/base/json.h"
#include "vmm/trace_tool/tool.h"
#include "vmm/trace_tool/trace_input.h"
#include "vmm/trace_tool/trace_tally.h"

#include <errno.h>
#include <inttypes.h>

#define WSET_VERSION 1

struct wset {
    FILE *to;
    const struct trace_input *input;
    bool json;
    struct json out;
    uint64_t window;            /* ns; 0 = print pages */
    struct trace_tally touched; /* pages, ever */
    struct trace_tally current; /* pages in this window */
    uint64_t number;            /* of the window */
    uint64_t fresh;             /* pages that had not been touched before */
    uint64_t faults;
};

static void
print_seconds(FILE *to, uint64_t ns)
{
    fprintf(to, "%" PRIu64 ".%09" PRIu64, ns / 1000000000u, ns % 1000000000u);
}

static void
print_page(struct wset *wset, const struct trace_event *event)
{
    const struct trace_fault *fault = &event->record.fault;
    const char *region = trace_input_region(wset->input, event->region);

    if (wset->json) {
        json_object(&wset->out, NULL);
        json_u64(&wset->out, "gpa", fault->gpa & ~PAGE_MASK);
        json_string(&wset->out, "access", trace_access_name(fault->access));
        json_u64(&wset->out, "time_ns", event->time);
        json_string(&wset->out, "region", region);
        json_end(&wset->out);
        return;
    }
    fprintf(wset->to, "0x%" PRIx64 " %s ", fault->gpa & ~PAGE_MASK,
            trace_access_name(fault->access));
    print_seconds(wset->to, event->time);
    fprintf(wset->to, " %s\n", region);
}

static void
print_window(struct wset *wset)
{
    uint64_t start = wset->number * wset->window;

    if (wset->json) {
        json_object(&wset->out, NULL);
        json_u64(&wset->out, "time_ns", start);
        json_u64(&wset->out, "pages", wset->current.count);
        json_u64(&wset->out, "fresh", wset->fresh);
        json_u64(&wset->out, "faults", wset->faults);
        json_end(&wset->out);
        return;
    }
    print_seconds(wset->to, start);
    fprintf(wset->to, " %zu %" PRIu64 " %" PRIu64 "\n", wset->current.count, wset->fresh,
            wset->faults);
}

/* Windows without a fault are left out: time may be long. */
static void
turn_window(struct wset *wset, uint64_t number)
{
    if (number == wset->number)
        return;
    if (wset->faults != 0)
        print_window(wset);
    trace_tally_fini(&wset->current);
    trace_tally_init(&wset->current, false);
    wset->number = number;
    wset->fresh = wset->faults = 0;
}

static int
touch(struct wset *wset, const struct trace_event *event)
{
    const struct trace_fault *fault = &event->record.fault;
    struct trace_tally_row *row;

    if (event->record.kind != TRACE_FAULT || trace_is_lookup(fault) || fault->result != VM_OK)
        return 0;
    row = trace_tally_add(&wset->touched, fault->gpa >> PAGE_SHIFT, 0);
    if (row == NULL)
        return -ENOMEM;
    if (wset->window == 0) {
        if (row->count == 1)
            print_page(wset, event);
        return 0;
    }
    if (event->time / wset->window > wset->number)
        turn_window(wset, event->time / wset->window);
    wset->faults++;
    wset->fresh += row->count == 1;
    return trace_tally_add(&wset->current, fault->gpa >> PAGE_SHIFT, 0) != NULL ? 0 : -ENOMEM;
}

static int
read_all(struct wset *wset, struct trace_input *input)
{
    struct trace_event event;
    int found, error = 0;

    if (wset->json) {
        json_init(&wset->out, wset->to);
        json_array(&wset->out, NULL);
    } else {
        fprintf(wset->to, "# vkvm wset %d: %s\n", WSET_VERSION,
                wset->window == 0 ? "gpa access seconds region" : "seconds pages fresh faults");
    }
    while (error == 0 && (found = trace_input_next(input, &event)) != 0)
        error = found < 0 ? found : touch(wset, &event);
    if (wset->faults != 0)
        print_window(wset);
    if (wset->json)
        json_end(&wset->out);
    return error;
}

static int
run_wset(const struct tool_options *options, FILE *to, struct failure *failure)
{
    struct trace_input input;
    struct wset wset = { .to = to, .json = options->json, .window = options->window };
    int status = trace_input_open(&input, options, 0, failure);

    if (status != CLI_OK)
        return status;
    wset.input = &input;
    trace_tally_init(&wset.touched, false);
    trace_tally_init(&wset.current, false);
    status = trace_input_verdict(&input, read_all(&wset, &input), failure);
    trace_tally_fini(&wset.touched);
    trace_tally_fini(&wset.current);
    trace_input_close(&input);
    return status;
}

const struct tool_verb trace_wset_verb = {
    .name = "wset",
    .summary = "Print the pages touched, in first-touch order, or how many over time",
    .words = "FILE",
    .bit = TOOL_WSET,
    .nfiles = 1,
    .run = run_wset,
};
