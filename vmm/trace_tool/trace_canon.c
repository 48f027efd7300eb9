/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `vkvm trace canon`: the faults of a trace without what chance decides, for comparison.
 *
 * Left out: times and durations, sequence numbers, which thread of vkvm's served the fault, retries,
 * objects' numbers and frames, neighbours, look-ups, and how a fault arrived.  Each vCPU's
 * faults stand in their order; those of the monitor and of the kernel's threads, whose order chance
 * decides, are a set with how often each was.
 *
 * The portable form leaves out what the host's KVM and the guest's compiler decide too: faults that found
 * their page and set no bit in the tables, the kernel's threads', and those in plain RAM, where code,
 * page tables and stacks lie; it has the bits that each fault's walk has set.  With several vCPUs it is
 * one set for all of them: which one comes first at a page is chance.
 */
#include "vmm/trace_tool/tool.h"
#include "vmm/trace_tool/trace_input.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CANON_VERSION 1

#define BIT_A 1u
#define BIT_M 2u
_Static_assert(2 * (VPTE_MAX_LEVELS + 1) <= 32, "canon_fault has bits for every level");

struct canon_fault {
    uint64_t gpa;
    uint64_t index; /* among all: the order */
    uint32_t number;
    uint8_t who;
    uint8_t access;
    uint8_t map;
    uint8_t outcome;
    uint8_t nlevels; /* portable form: those walked ... */
    uint32_t bits;   /* ... and what was set there: 2 bits for each, the root's lowest */
    /* For --notes. */
    size_t region;
    const char *symbol; /* borrowed from the input; NULL = unknown */
    uint64_t offset;    /* of the access's instruction in it */
};

struct canon {
    bool portable;
    bool merged;              /* all vCPUs are one */
    struct canon_fault *list; /* owned */
    size_t count;
    size_t room;
};

static int
compare_values(const struct canon_fault *a, const struct canon_fault *b)
{
    const uint64_t left[] = { a->gpa, a->access, a->map, a->outcome, a->nlevels, a->bits };
    const uint64_t right[] = { b->gpa, b->access, b->map, b->outcome, b->nlevels, b->bits };

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

/* What the walk has set, BIT_* for each level. */
static uint32_t
bits_set(const struct trace_fault *fault)
{
    uint32_t bits = 0;

    for (unsigned i = 0; i < fault->nvptes; i++) {
        vpte_t set = fault->vptes[i].after & ~fault->vptes[i].before;

        bits |= ((set & VPTE_A) != 0 ? BIT_A : 0) << 2 * i;
        bits |= ((set & VPTE_M) != 0 ? BIT_M : 0) << 2 * i;
    }
    return bits;
}

/* Is the fault the same on each host, and however the guest was compiled? */
static bool
is_portable(const struct trace_input *input, const struct trace_event *event)
{
    const struct trace_fault *fault = &event->record.fault;

    return event->record.who != TRACE_KERNEL && fault->access != TRACE_UNKNOWN &&
           (fault->result != VM_OK || fault->resolution != TRACE_RESIDENT ||
            bits_set(fault) != 0) &&
           strcmp(trace_input_region(input, event->region), "ram") != 0;
}

static int
keep(struct canon *canon, const struct trace_input *input, const struct trace_event *event)
{
    const struct trace_fault *fault = &event->record.fault;

    if (event->record.kind != TRACE_FAULT || trace_is_lookup(fault) ||
        (canon->portable && !is_portable(input, event)))
        return 0;
    if (canon->count == canon->room) {
        size_t room = canon->room == 0 ? 1024 : 2 * canon->room;
        struct canon_fault *list = reallocarray(canon->list, room, sizeof(*list));

        if (list == NULL)
            return -ENOMEM;
        canon->list = list;
        canon->room = room;
    }
    canon->list[canon->count] = (struct canon_fault){
        .gpa = fault->gpa & ~PAGE_MASK,
        .index = canon->count,
        .number = canon->merged ? 0 : event->record.number,
        .who = (uint8_t)event->record.who,
        .access = (uint8_t)fault->access,
        .map = (uint8_t)trace_map_of(fault),
        .outcome = (uint8_t)trace_outcome(fault),
        .nlevels = canon->portable ? (uint8_t)fault->nvptes : 0,
        .bits = canon->portable ? bits_set(fault) : 0,
        .region = event->region,
        .symbol = event->symbol,
        .offset = event->symbol != NULL ? event->registers->rip - event->symbol_start : 0,
    };
    canon->count++;
    return 0;
}

static int
read_all(struct canon *canon, struct trace_input *input)
{
    struct trace_event event;
    int found, error = 0;

    while (error == 0 && (found = trace_input_next(input, &event)) != 0)
        error = found < 0 ? found : keep(canon, input, &event);
    return error;
}

static void
print_fault(FILE *to, const struct canon *canon, const struct canon_fault *fault)
{
    fputs(trace_who_name(fault->who), to);
    if (fault->who == TRACE_VCPU && !canon->merged)
        fprintf(to, "%" PRIu32, fault->number);
    fprintf(to, " %s 0x%" PRIx64 " %s %s", trace_access_name(fault->access), fault->gpa,
            trace_map_name(fault->map), trace_outcome_name(fault->outcome));
}

/* "-/A/AM": what was set at each level, the root first; "-" = nothing at any. */
static void
print_bits(FILE *to, const struct canon_fault *fault)
{
    static const char *const names[] = { "-", "A", "M", "AM" };

    for (unsigned i = 0; i < fault->nlevels && fault->bits != 0; i++)
        fprintf(to, "%c%s", i == 0 ? ' ' : '/', names[fault->bits >> 2 * i & 3]);
    if (fault->bits == 0)
        fputs(" -", to);
}

/* What is known besides, as a comment. */
static void
print_notes(FILE *to, const struct trace_input *input, const struct canon_fault *fault)
{
    fprintf(to, " # %s", trace_input_region(input, fault->region));
    if (fault->symbol != NULL)
        fprintf(to, " %s+0x%" PRIx64, fault->symbol, fault->offset);
}

static void
print_all(const struct canon *canon, const struct trace_input *input,
          const struct tool_options *options, FILE *to)
{
    bool sets = options->sets || canon->merged;

    fprintf(to, "# vkvm canon %d%s%s\n", CANON_VERSION, canon->portable ? " portable" : "",
            sets ? " sets" : "");
    for (size_t i = 0, next; i < canon->count; i = next) {
        const struct canon_fault *fault = &canon->list[i];

        next = i + 1;
        print_fault(to, canon, fault);
        if (canon->portable)
            print_bits(to, fault);
        if (sets || fault->who != TRACE_VCPU) {
            while (next < canon->count && compare_sets(fault, &canon->list[next]) == 0)
                next++;
            fprintf(to, " %zu", next - i);
        }
        if (options->notes)
            print_notes(to, input, fault);
        putc('\n', to);
    }
}

/* More than one vCPU, or nobody knows. */
static bool
has_several_vcpus(const struct trace_input *input)
{
    uint64_t vcpus;

    return !trace_text_number(trace_reader_text(input->reader), "vcpus", &vcpus) || vcpus > 1;
}

/* A form that others are compared with must have all there was. */
static int
check_whole(const struct trace_input *input, struct failure *failure)
{
    char scope[256];
    struct trace_coverage c;

    trace_reader_coverage(input->reader, &c);
    if (c.records == c.total)
        return CLI_OK;
    trace_input_scope(input, scope, sizeof(scope));
    return failure_set(failure, CLI_NOT_LOADABLE,
                       FAILURE_NAME " has only %s: record it without a limit and with less load",
                       input->path, scope);
}

static int
run_canon(const struct tool_options *options, FILE *to, struct failure *failure)
{
    struct canon canon = { .portable = options->portable };
    struct trace_input input;
    int status = trace_input_open(&input, options, 0, failure);

    if (status != CLI_OK)
        return status;
    canon.merged = canon.portable && has_several_vcpus(&input);
    status = trace_input_verdict(&input, read_all(&canon, &input), failure);
    if (status == CLI_OK && canon.portable)
        status = check_whole(&input, failure);
    if (status != CLI_FAILED) {
        if (canon.count != 0)
            qsort(canon.list, canon.count, sizeof(canon.list[0]),
                  options->sets || canon.merged ? compare_sets : compare_orders);
        print_all(&canon, &input, options, to);
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
