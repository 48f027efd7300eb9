/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `vkvm trace check`: the record against the kernel's own events of the same run.
 *
 *     a vCPU's fault     the kernel's newest event of that vCPU at its begin is of the same page and access;
 *                        or KVM made the access itself, for the guest: then that event's page is there,
 *                        so the vCPU had gone on and left the guest for another reason; or KVM
 *                        was asked what the instruction of that event needs, and read page tables
 *     a kernel's event   has such a fault; or the page was there, and the guest looked a second time;
 *                        or it is a device's address
 *
 * What is there is played back: a fault enters its page and neighbours, INVAL and SETMAP take theirs away.
 * An event is judged twice, when it came and when the vCPU's next one did, since another vCPU's
 * fault may have brought the page in between.
 */
#include "vmm/base/json.h"
#include "vmm/trace_tool/tool.h"
#include "vmm/trace_tool/trace_input.h"
#include "vmm/trace_tool/trace_tally.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What became of a fault of a vCPU's, or of an event. */
enum check_fault {
    FAULT_AGREES,
    FAULT_EMULATED, /* the instruction was KVM's emulator's: another event, or none, began it */
    FAULT_OWN,      /* an access of KVM's for the guest: no event */
    FAULT_OTHER_ACCESS,
    FAULT_WITHOUT, /* and no reason for it */
    FAULT_COUNT
};

enum check_event {
    EVENT_AGREES,
    EVENT_DECODED, /* too, and the instruction said what it needs */
    EVENT_SECOND_LOOK,
    EVENT_DEVICE,
    EVENT_UNEXPLAINED,
    EVENT_COUNT
};

enum check_step {
    STEP_REMOVE, /* of the same time, these come in this order */
    STEP_ORPHAN, /* a fault without an event */
    STEP_ENTER,
    STEP_JUDGE
};

struct check_action {
    uint64_t time;
    enum check_step step;
    uint64_t first, last; /* REMOVE, ENTER: pages, both included */
    uint64_t until;       /* REMOVE: when they are gone */
    uint64_t page;        /* ENTER: the fault's own */
    bool writable;        /* ENTER: it can be written to ... */
    bool all_writable;    /* ... and its neighbours; both: perhaps */
    size_t index;         /* JUDGE: of the event; ORPHAN: in `orphans` */
};

struct check {
    const struct trace_kernel_events *events; /* borrowed */
    uint8_t *verdicts;                        /* owned: enum check_event, of each event */
    struct check_action *actions;             /* owned */
    size_t nactions, room;
    struct trace_record *orphans; /* owned */
    size_t norphans, orphans_room;
    struct trace_tally there, writable; /* by page: `sum` is until when it is */
    uint64_t faults[FAULT_COUNT];
    uint64_t judged[EVENT_COUNT];
    uint64_t started;
    uint64_t monitor; /* faults that no vCPU made */
    unsigned top;     /* lines that may still be printed */
    bool as_json;
    struct json json; /* as_json: within the array "differences" until all is judged */
    FILE *to;
};

/* --- Faults ---------------------------------------------------------------- */

static bool
same_access(const struct trace_registers *event, const struct trace_fault *fault)
{
    enum trace_access access = trace_kernel_access(event);

    /* A message does not tell a fetch from a read. */
    return access == fault->access || (access == TRACE_FETCH && fault->access == TRACE_READ);
}

/* A member of "differences": what, when, whose, which access. */
static void
tell_json(struct check *check, const char *what, uint64_t time, unsigned vcpu,
          enum trace_access access, uint64_t gpa)
{
    json_object(&check->json, NULL);
    json_string(&check->json, "what", what);
    json_thousandths(&check->json, "time_us", time - check->started);
    json_u64(&check->json, "vcpu", vcpu);
    json_string(&check->json, "access", trace_access_name(access));
    json_u64(&check->json, "gpa", gpa);
    json_end(&check->json);
}

static void
tell_fault(struct check *check, const struct trace_record *record,
           const struct trace_kernel_event *newest)
{
    const struct trace_fault *fault = &record->fault;

    if (check->top == 0)
        return;
    check->top--;
    if (check->as_json) {
        tell_json(check, "fault", record->time, record->number, fault->access, fault->gpa);
        return;
    }
    fprintf(check->to, "  fault %" PRIu64 " at %.9f s: vcpu%u %s 0x%" PRIx64 " %s",
            record->sequence, (double)(record->time - check->started) / 1e9, record->number,
            trace_access_name(fault->access), fault->gpa, trace_arrival_name(fault->arrival));
    if (newest == NULL)
        fputs("; no event before it\n", check->to);
    else
        fprintf(check->to, "; the newest event is a %s of 0x%" PRIx64 " %.9f s before\n",
                trace_access_name(trace_kernel_access(&newest->registers)), newest->registers.gpa,
                (double)(record->time - newest->time) / 1e9);
}

/* --- What is there --------------------------------------------------------- */

static int
add_action(struct check *check, const struct check_action *action)
{
    if (check->nactions == check->room) {
        size_t room = check->room == 0 ? 4096 : 2 * check->room;
        struct check_action *list = reallocarray(check->actions, room, sizeof(*list));

        if (list == NULL)
            return -ENOMEM;
        check->actions = list;
        check->room = room;
    }
    check->actions[check->nactions++] = *action;
    return 0;
}

/* A fault that no event is of: what KVM had to do for the guest then is judged when all is played back. */
static int
add_orphan(struct check *check, const struct trace_record *record)
{
    const struct check_action action = { .time = record->time,
                                         .step = STEP_ORPHAN,
                                         .index = check->norphans };

    if (check->norphans == check->orphans_room) {
        size_t room = check->orphans_room == 0 ? 64 : 2 * check->orphans_room;
        struct trace_record *list = reallocarray(check->orphans, room, sizeof(*list));

        if (list == NULL)
            return -ENOMEM;
        check->orphans = list;
        check->orphans_room = room;
    }
    check->orphans[check->norphans++] = *record;
    return add_action(check, &action);
}

/* Did the vCPU's thread look what instruction that was, to carry it out or to inject an exception? */
static bool
is_decoded(const struct trace_fault *fault)
{
    return fault->arrival == TRACE_EFAULT || fault->arrival == TRACE_MMIO || fault->result != VM_OK;
}

static int
check_fault(struct check *check, const struct trace_event *event)
{
    const struct trace_record *record = &event->record;
    const struct trace_kernel_event *newest =
        trace_kernel_events_at(check->events, record->number, record->time);

    if (event->kernel == NULL && record->fault.arrival != TRACE_MMIO)
        return add_orphan(check, record);
    if (event->kernel == NULL) {
        check->faults[FAULT_EMULATED]++;
    } else if (same_access(event->kernel, &record->fault)) {
        check->faults[FAULT_AGREES]++;
        check->verdicts[newest - check->events->list] =
            is_decoded(&record->fault) ? EVENT_DECODED : EVENT_AGREES;
    } else {
        check->faults[FAULT_OTHER_ACCESS]++;
        tell_fault(check, record, newest);
    }
    return 0;
}

/* Does the fault map its page?  The monitor's own mostly do not. */
static bool
enters(const struct trace_record *record)
{
    return record->fault.result == VM_OK &&
           (record->who == TRACE_VCPU || record->who == TRACE_KERNEL ||
            (record->fault.flags & (VM_FAULT_BURST | VM_FAULT_WIRE_MASK)) != 0);
}

/*
 * May the page be written to after the fault?  That depends on what a record does not say, so this
 * says no only where it certainly cannot (vm_fault.h).
 */
static bool
may_write(const struct trace_fault *fault)
{
    if (fault->access == TRACE_WRITE || fault->access == TRACE_UNKNOWN)
        return true;
    if ((fault->entry_prot & VM_PROT_WRITE) == 0 || fault->depth != 0)
        return false;
    return fault->nvptes == 0 || (fault->vptes[fault->nvptes - 1].after & VPTE_M) != 0;
}

static int
note_fault(struct check *check, const struct trace_record *record)
{
    const struct trace_fault *fault = &record->fault;
    uint64_t page = fault->gpa >> PAGE_SHIFT;
    const struct check_action action = {
        .time = record->time,
        .step = STEP_ENTER,
        .first = page > fault->below ? page - fault->below : 0,
        .last = page + fault->above,
        .page = page,
        .writable = may_write(fault),
        .all_writable = (fault->entry_prot & VM_PROT_WRITE) != 0,
    };

    return enters(record) ? add_action(check, &action) : 0;
}

static int
note_range(struct check *check, const struct trace_record *record)
{
    const struct trace_range *range = &record->range;
    const struct check_action action = {
        .time = record->time,
        .step = STEP_REMOVE,
        .first = range->gpa >> PAGE_SHIFT,
        .last = (range->gpa + range->size - 1) >> PAGE_SHIFT,
        .until = record->time + range->duration,
    };

    return range->size == 0 || range->status != 0 ? 0 : add_action(check, &action);
}

static int
note_event(struct check *check, size_t i)
{
    const struct trace_kernel_event *event = &check->events->list[i];
    bool last = i + 1 == check->events->count || event[1].vcpu != event->vcpu;
    struct check_action action = { .time = event->time, .step = STEP_JUDGE, .index = i };
    int error = add_action(check, &action);

    action.time = last ? UINT64_MAX : event[1].time;
    return error != 0 ? error : add_action(check, &action);
}

static int
compare_actions(const void *left, const void *right)
{
    const struct check_action *a = left, *b = right;

    if (a->time != b->time)
        return a->time < b->time ? -1 : 1;
    return (int)a->step - (int)b->step;
}

static int
enter_page(struct trace_tally *tally, uint64_t page)
{
    struct trace_tally_row *row = trace_tally_add(tally, page, 0);

    if (row == NULL)
        return -ENOMEM;
    row->sum = UINT64_MAX;
    return 0;
}

static int
enter_pages(struct check *check, const struct check_action *action)
{
    int error = 0;

    for (uint64_t page = action->first; error == 0 && page <= action->last; page++) {
        error = enter_page(&check->there, page);
        if (error == 0 && (page == action->page ? action->writable : action->all_writable))
            error = enter_page(&check->writable, page);
    }
    return error;
}

static void
remove_pages(struct trace_tally *tally, const struct check_action *action)
{
    for (size_t i = 0; i < tally->count; i++) {
        struct trace_tally_row *row = &tally->rows[i];
        if (row->key >= action->first && row->key <= action->last && row->sum == UINT64_MAX)
            row->sum = action->until;
    }
}

/* Was the event's page there, for its access, when it came or later? */
static bool
is_there(const struct check *check, const struct trace_kernel_event *event)
{
    bool write = trace_kernel_access(&event->registers) == TRACE_WRITE;
    const struct trace_tally_row *row = trace_tally_find(write ? &check->writable : &check->there,
                                                         event->registers.gpa >> PAGE_SHIFT);

    return row != NULL && row->sum >= event->time;
}

static void
judge(struct check *check, size_t index)
{
    if (check->verdicts[index] == EVENT_UNEXPLAINED && is_there(check, &check->events->list[index]))
        check->verdicts[index] = EVENT_SECOND_LOOK;
}

static void
judge_orphan(struct check *check, const struct trace_record *record)
{
    const struct trace_kernel_event *newest =
        trace_kernel_events_at(check->events, record->number, record->time);

    if (newest != NULL && (is_there(check, newest) ||
                           check->verdicts[newest - check->events->list] == EVENT_DECODED)) {
        check->faults[FAULT_OWN]++;
    } else {
        check->faults[FAULT_WITHOUT]++;
        tell_fault(check, record, newest);
    }
}

/* --- All of it ------------------------------------------------------------- */

static int
read_all(struct check *check, struct trace_input *input)
{
    struct trace_event event;
    int found, error = 0;

    while (error == 0 && (found = trace_input_next(input, &event)) != 0) {
        const struct trace_record *record = &event.record;

        if (found < 0)
            return found;
        if (record->kind == TRACE_INVAL || record->kind == TRACE_SETMAP)
            error = note_range(check, record);
        if (record->kind != TRACE_FAULT)
            continue;
        error = note_fault(check, record);
        if (trace_is_lookup(&record->fault))
            continue;
        if (error == 0 && record->who == TRACE_VCPU)
            error = check_fault(check, &event);
        else
            check->monitor++;
    }
    return error;
}

static int
play(struct check *check)
{
    int error = 0;

    for (size_t i = 0; error == 0 && i < check->events->count; i++)
        error = note_event(check, i);
    if (check->nactions != 0)
        qsort(check->actions, check->nactions, sizeof(check->actions[0]), compare_actions);
    for (size_t i = 0; error == 0 && i < check->nactions; i++) {
        const struct check_action *action = &check->actions[i];
        if (action->step == STEP_ENTER)
            error = enter_pages(check, action);
        else if (action->step == STEP_REMOVE) {
            remove_pages(&check->there, action);
            remove_pages(&check->writable, action);
        } else if (action->step == STEP_ORPHAN) {
            judge_orphan(check, &check->orphans[action->index]);
        } else {
            judge(check, action->index);
        }
    }
    return error;
}

static void
tell_event(struct check *check, const struct trace_kernel_event *event)
{
    const struct trace_registers *registers = &event->registers;
    enum trace_access access = trace_kernel_access(registers);

    if (check->top == 0)
        return;
    check->top--;
    if (check->as_json) {
        tell_json(check, "event", event->time, event->vcpu, access, registers->gpa);
        return;
    }
    fprintf(check->to,
            "  event at %.9f s: vcpu%u %s 0x%" PRIx64 ", error code 0x%" PRIx64 ", rip 0x%" PRIx64
            "\n",
            (double)(event->time - check->started) / 1e9, event->vcpu, trace_access_name(access),
            registers->gpa, registers->error_code, registers->rip);
}

static void
sum_up(struct check *check, const struct trace_input *input)
{
    for (size_t i = 0; i < check->events->count; i++) {
        const struct trace_kernel_event *event = &check->events->list[i];
        uint64_t gpa = event->registers.gpa;

        if (check->verdicts[i] == EVENT_UNEXPLAINED &&
            trace_input_region_at(input, gpa) == input->nregions)
            check->verdicts[i] = EVENT_DEVICE;
        check->judged[check->verdicts[i]]++;
        if (check->verdicts[i] == EVENT_UNEXPLAINED)
            tell_event(check, event);
    }
}

/* A table's title, or the object that it is. */
static void
title(struct check *check, const char *key, const char *text)
{
    if (check->as_json)
        json_object(&check->json, key);
    else
        fprintf(check->to, "%s\n", text);
}

static void
row(struct check *check, const char *key, const char *text, uint64_t count)
{
    if (check->as_json)
        json_u64(&check->json, key, count);
    else
        fprintf(check->to, "  %-46s %10" PRIu64 "\n", text, count);
}

static void
table_ends(struct check *check)
{
    if (check->as_json)
        json_end(&check->json);
}

static void
print_head(struct check *check, const struct trace_input *input, uint64_t lost)
{
    struct trace_coverage coverage;
    char scope[256];

    trace_reader_coverage(input->reader, &coverage);
    trace_input_scope(input, scope, sizeof(scope));
    if (!check->as_json) {
        fprintf(check->to, "vkvm trace check\n  %s; %zu events of the kernel, %" PRIu64 " lost\n",
                scope, check->events->count, lost);
        return;
    }
    json_u64(&check->json, "records", coverage.records);
    json_u64(&check->json, "records_made", coverage.total);
    json_u64(&check->json, "events", check->events->count);
    json_u64(&check->json, "events_lost", lost);
}

static void
print_sums(struct check *check)
{
    const uint64_t *faults = check->faults, *judged = check->judged;

    title(check, "faults", "faults of vCPUs");
    row(check, "agree", "with an event of the same page and access", faults[FAULT_AGREES]);
    row(check, "emulated", "of an instruction that KVM emulates", faults[FAULT_EMULATED]);
    row(check, "kvm_own", "of KVM itself, for the guest", faults[FAULT_OWN]);
    row(check, "other_access", "with an event of another access", faults[FAULT_OTHER_ACCESS]);
    row(check, "without_event", "without an event", faults[FAULT_WITHOUT]);
    table_ends(check);
    title(check, "others", "faults of the monitor and of kernel threads");
    row(check, "faults", "no event is expected", check->monitor);
    table_ends(check);
    title(check, "events_of", "events of the kernel");
    row(check, "fault", "of a fault", judged[EVENT_AGREES] + judged[EVENT_DECODED]);
    row(check, "second_look", "a second look at a page that is there", judged[EVENT_SECOND_LOOK]);
    row(check, "device", "at a device's address", judged[EVENT_DEVICE]);
    row(check, "unexplained", "not explained", judged[EVENT_UNEXPLAINED]);
    table_ends(check);
}

static void
print_verdict(struct check *check, bool whole, bool agrees)
{
    if (check->as_json) {
        json_bool(&check->json, "whole", whole);
        json_bool(&check->json, "agree", agrees);
        json_end(&check->json);
        return;
    }
    fprintf(check->to, "%s\n",
            agrees  ? "they agree"
            : whole ? "THEY DO NOT AGREE"
                    : "not all was recorded");
}

static int
compare(struct check *check, struct trace_input *input, struct failure *failure)
{
    const char *last_words = trace_reader_last_words(input->reader);
    struct trace_coverage coverage;
    uint64_t lost = 0;
    bool whole, agrees;
    int status;

    if (check->as_json) {
        json_init(&check->json, check->to);
        json_object(&check->json, NULL);
        json_array(&check->json, "differences");
    }
    status = trace_input_verdict(input, read_all(check, input), failure);
    if (status == CLI_FAILED)
        return status;
    if (play(check) != 0)
        return failure_set(failure, CLI_FAILED, "out of memory to check a trace");
    sum_up(check, input);
    trace_reader_coverage(input->reader, &coverage);
    whole = trace_text_number(last_words, "kernel_lost", &lost) && lost == 0 &&
            coverage.records == coverage.total;
    agrees = whole && check->faults[FAULT_OTHER_ACCESS] == 0 && check->faults[FAULT_WITHOUT] == 0 &&
             check->judged[EVENT_UNEXPLAINED] == 0;
    table_ends(check); /* of differences */
    print_head(check, input, lost);
    print_sums(check);
    print_verdict(check, whole, agrees);
    return status != CLI_OK ? status : agrees ? CLI_OK : TOOL_DIFFERENT;
}

static int
refuse(const struct trace_input *input, struct failure *failure)
{
    const char *why;
    ssize_t size = trace_text_find(trace_reader_text(input->reader), "kernel", &why);

    return failure_set(failure, CLI_FAILED, FAILURE_NAME " has no events of the kernel's: %.*s",
                       input->path, size > 0 ? (int)size : 53,
                       size > 0 ? why : "give --trace-kernel to vkvm run when it is recorded");
}

static int
run_check(const struct tool_options *options, FILE *to, struct failure *failure)
{
    struct check check = { .to = to, .top = options->top, .as_json = options->json };
    struct trace_input input;
    int status = trace_input_open(&input, options, 0, failure);

    if (status != CLI_OK)
        return status;
    check.events = &input.kernel;
    check.started = input.started;
    trace_tally_init(&check.there, false);
    trace_tally_init(&check.writable, false);
    check.verdicts = malloc(input.kernel.count + 1);
    if (input.kernel.count == 0)
        status = refuse(&input, failure);
    else if (check.verdicts == NULL)
        status = failure_set(failure, CLI_FAILED, "out of memory to check a trace");
    else {
        memset(check.verdicts, EVENT_UNEXPLAINED, input.kernel.count);
        status = compare(&check, &input, failure);
    }
    trace_tally_fini(&check.there);
    trace_tally_fini(&check.writable);
    free(check.orphans);
    free(check.actions);
    free(check.verdicts);
    trace_input_close(&input);
    return status;
}

const struct tool_verb trace_check_verb = {
    .name = "check",
    .summary = "Compare what was recorded with the kernel's own events of the same run",
    .words = "FILE",
    .bit = TOOL_CHECK,
    .nfiles = 1,
    .run = run_check,
};
