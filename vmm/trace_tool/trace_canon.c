/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `vkvm trace canon`: the faults of a trace without what chance decides, for comparison.
 *
 * Left out: times and durations, sequence numbers, which thread of vkvm's served the fault, retries,
 * objects' numbers and frames, neighbours, look-ups, and how a fault arrived.  Each vCPU's
 * faults stand in their order; those of the monitor and of the kernel's threads, whose order chance
 * decides, are a set with how often each was.
 */
#include "vmm/trace_tool/tool.h"
#include "vmm/trace_tool/trace_input.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define CANON_VERSION 1

struct canon_fault {
    uint64_t gpa;
    uint64_t index; /* among all: the order */
    uint32_t number;
    uint8_t who;
    uint8_t access;
    uint8_t map;
    uint8_t outcome;
};

struct canon {
    struct canon_fault *list; /* owned */
    size_t count;
    size_t room;
};

static int
compare_values(const struct canon_fault *a, const struct canon_fault *b)
{
    const uint64_t left[] = { a->gpa, a->access, a->map, a->outcome };
    const uint64_t right[] = { b->gpa, b->access, b->map, b->outcome };

    for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
        if (left[i] != right[i])
            return left[i] < right[i] ? -1 : 1;
    }
    return 0;
}

static int
compare_owners(const struct canon_fault *a, const struct canon_fault *b)
{
    if (a->who != b->who)
        return a->who < b->who ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

static int
compare_sets(const void *left, const void *right)
{
    int order = compare_owners(left, right);

    return order != 0 ? order : compare_values(left, right);
}

/* vCPUs' faults by order, the others' by value. */
static int
compare_orders(const void *left, const void *right)
{
    const struct canon_fault *a = left, *b = right;
    int order = compare_owners(a, b);

    if (order != 0)
        return order;
    if (a->who != TRACE_VCPU)
        return compare_values(a, b);
    return a->index < b->index ? -1 : a->index > b->index;
}

static int
keep(struct canon *canon, const struct trace_event *event)
{
    const struct trace_fault *fault = &event->record.fault;

    if (event->record.kind != TRACE_FAULT || trace_is_lookup(fault))
        return 0;
    if (canon->count == canon->room) {
        size_t room = canon->room == 0 ? 1024 : 2 * canon->room;
        struct canon_fault *list = reallocarray(canon->list, room, sizeof(*list));

        if (list == NULL)
            return -ENOMEM;
        canon->list = list;
        canon->room = room;
    }
    canon->list[canon->count] = (struct canon_fault){ .gpa = fault->gpa & ~PAGE_MASK,
                                                      .index = canon->count,
                                                      .number = event->record.number,
                                                      .who = (uint8_t)event->record.who,
                                                      .access = (uint8_t)fault->access,
                                                      .map = (uint8_t)trace_map_of(fault),
                                                      .outcome = (uint8_t)trace_outcome(fault) };
    canon->count++;
    return 0;
}

static int
read_all(struct canon *canon, struct trace_input *input)
{
    struct trace_event event;
    int found, error = 0;

    while (error == 0 && (found = trace_input_next(input, &event)) != 0)
        error = found < 0 ? found : keep(canon, &event);
    return error;
}

static void
print_fault(FILE *to, const struct canon_fault *fault)
{
    if (fault->who == TRACE_VCPU)
        fprintf(to, "vcpu%" PRIu32, fault->number);
    else
        fputs(trace_who_name(fault->who), to);
    fprintf(to, " %s 0x%" PRIx64 " %s %s", trace_access_name(fault->access), fault->gpa,
            trace_map_name(fault->map), trace_outcome_name(fault->outcome));
}

static void
print_all(const struct canon *canon, FILE *to, bool sets)
{
    fprintf(to, "# vkvm canon %d%s\n", CANON_VERSION, sets ? " sets" : "");
    for (size_t i = 0, next; i < canon->count; i = next) {
        const struct canon_fault *fault = &canon->list[i];

        next = i + 1;
        print_fault(to, fault);
        if (sets || fault->who != TRACE_VCPU) {
            while (next < canon->count && compare_sets(fault, &canon->list[next]) == 0)
                next++;
            fprintf(to, " %zu", next - i);
        }
        putc('\n', to);
    }
}

static int
run_canon(const struct tool_options *options, FILE *to, struct failure *failure)
{
    struct canon canon = { .list = NULL };
    struct trace_input input;
    int status = trace_input_open(&input, options, 0, failure);

    if (status != CLI_OK)
        return status;
    status = trace_input_verdict(&input, read_all(&canon, &input), failure);
    if (status != CLI_FAILED) {
        if (canon.count != 0)
            qsort(canon.list, canon.count, sizeof(canon.list[0]),
                  options->sets ? compare_sets : compare_orders);
        print_all(&canon, to, options->sets);
    }
    free(canon.list);
    trace_input_close(&input);
    return status;
}

const struct tool_verb trace_canon_verb = {
    .name = "canon",
    .summary = "Print the faults without what chance decides, to compare runs",
    .words = "FILE",
    .bit = TOOL_CANON,
    .nfiles = 1,
    .run = run_canon,
};
