/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A record a line, for grep and awk: sequence, time in s, who, kind; then words "name=value", but
 * for a fault's five main ones, which are always there and in the same columns:
 *
 *   17 0.001234567 vcpu0 fault write 0x2000 minor zero-fill 3.250us map=window region=ram ...
 */
#include "vmm/trace_tool/trace_dump.h"

#include <inttypes.h>

static void
text_walk(FILE *to, const struct trace_fault *fault)
{
    if (fault->nvptes == 0)
        return;
    fputs(" vptes=", to);
    for (unsigned i = 0; i < fault->nvptes; i++) {
        fprintf(to, "%s0x%" PRIx64, i == 0 ? "" : ",", fault->vptes[i].before);
        if (fault->vptes[i].after != fault->vptes[i].before)
            fprintf(to, ">0x%" PRIx64, fault->vptes[i].after);
    }
}

static void
text_site(FILE *to, const struct trace_event *event)
{
    const struct trace_registers *registers = event->registers;

    if (registers == NULL)
        return;
    fprintf(to, " rip=0x%" PRIx64, registers->rip);
    if (!registers->kernel_event)
        fprintf(to, " cpl=%u", registers->cpl);
    if (event->symbol != NULL)
        fprintf(to, " symbol=%s+0x%" PRIx64, event->symbol, registers->rip - event->symbol_start);
}

/* What the kernel says of the access: it knows a fetch, and a walk of the guest's own page tables. */
static void
text_kernel(FILE *to, const struct trace_registers *kernel)
{
    fprintf(to, " kernel=%s%s", trace_access_name(trace_kernel_access(kernel)),
            (kernel->error_code & TRACE_PFERR_GUEST_PAGE) != 0 ? ",walk" : "");
}

static void
text_fault(FILE *to, const struct trace_input *input, const struct trace_event *event)
{
    const struct trace_fault *fault = &event->record.fault;

    fprintf(to, " %s 0x%" PRIx64 " %s %s %" PRIu64 ".%03uus map=%s region=%s step=%s",
            trace_access_name(fault->access), fault->gpa, trace_arrival_name(fault->arrival),
            trace_event_title(event), fault->duration / 1000, (unsigned)(fault->duration % 1000),
            trace_map_name(trace_map_of(fault)), trace_input_region(input, event->region),
            trace_step_name(fault->step));
    if (trace_is_lookup(fault))
        fputs((fault->flags & VM_FAULT_DEBUGGER) != 0 ? " debugger=1" : " lookup=1", to);
    if (fault->step >= FAULT_STEP_OBJECT)
        fprintf(to, " object=%" PRIu64 " pindex=%" PRIu64 " depth=%u", fault->object, fault->pindex,
                fault->depth);
    if (fault->step >= FAULT_STEP_PAGE)
        fprintf(to, " slot=%" PRIu64, fault->slot);
    if ((fault->flags & VM_FAULT_INJECTED) != 0)
        fputs(" injected=1", to);
    if (fault->hardfault)
        fputs(" hard=1", to);
    if (fault->prefaulted != 0)
        fprintf(to, " prefaulted=%u", fault->prefaulted);
    for (unsigned i = 0; i < VM_ERRAND_KINDS; i++) {
        if (fault->waited[i] != 0)
            fprintf(to, " %s=%u", trace_wait_name(i), fault->waited[i]);
    }
    text_walk(to, fault);
    if (event->kernel != NULL)
        text_kernel(to, event->kernel);
    text_site(to, event);
}

static void
text_range(FILE *to, const struct trace_record *record)
{
    const struct trace_range *range = &record->range;

    fprintf(to, " gpa=0x%" PRIx64 " size=0x%" PRIx64, range->gpa, range->size);
    if (record->kind == TRACE_COPY)
        fprintf(to, " to=0x%" PRIx64, range->to);
    if (record->kind == TRACE_SETMAP)
        fprintf(to, " root=0x%" PRIx64, range->root);
    fprintf(to, " status=%d duration_ns=%" PRIu64, range->status, range->duration);
}

static void
text_registers(FILE *to, const struct trace_event *event)
{
    const struct trace_registers *registers = &event->record.registers;

    if (registers->kernel_event) {
        fprintf(to, " gpa=0x%" PRIx64, registers->gpa);
        text_kernel(to, registers);
        fprintf(to, " error_code=0x%" PRIx64, registers->error_code);
    } else {
        fprintf(to, " fault=%" PRId64 " cr3=0x%" PRIx64, (int64_t)registers->fault, registers->cr3);
    }
    if (registers->linear != TRACE_NONE)
        fprintf(to, " linear=0x%" PRIx64, registers->linear);
    text_site(to, event);
}

static void
text_others(FILE *to, const struct trace_event *event)
{
    const struct trace_record *record = &event->record;

    switch (record->kind) {
    case TRACE_EXCEPTION:
        fprintf(to, " gpa=0x%" PRIx64 " vector=%u error_code=0x%x result=%s", record->exception.gpa,
                record->exception.vector, record->exception.error_code,
                vm_result_name(record->exception.result));
        break;
    case TRACE_REGISTERS:
        text_registers(to, event);
        break;
    case TRACE_PAGEOUT:
        fprintf(to,
                " object=%" PRIu64 " pindex=%" PRIu64 " slot=%" PRIu64
                " written=%d freed=%d failed=%d",
                record->pageout.object, record->pageout.pindex, record->pageout.slot,
                record->pageout.written, record->pageout.freed, record->pageout.failed);
        break;
    case TRACE_VMSPACE:
        fprintf(to, " call=%u id=%" PRIu64 " status=%d duration_ns=%" PRIu64, record->vmspace.call,
                record->vmspace.id, record->vmspace.status, record->vmspace.duration);
        break;
    case TRACE_SWITCH:
        fputs(record->switched.on ? " on=1" : " on=0", to);
        break;
    case TRACE_LOST:
        fprintf(to, " count=%" PRIu64, record->lost.count);
        break;
    case TRACE_ENTRY:
        fprintf(to, " lstar=0x%" PRIx64, record->entry.lstar);
        break;
    case TRACE_INVAL:
    case TRACE_SETMAP:
    case TRACE_COPY:
        text_range(to, record);
        break;
    case TRACE_FAULT:
    case TRACE_KINDS:
        break;
    }
}

static int
text_event(struct trace_dump *dump, const struct trace_event *event)
{
    char who[32];

    fprintf(dump->to, "%" PRIu64 " %" PRIu64 ".%09" PRIu64 " %s %s", event->record.sequence,
            event->time / 1000000000u, event->time % 1000000000u, trace_event_who(event, who),
            trace_kind_name(event->record.kind));
    if (event->record.kind == TRACE_FAULT)
        text_fault(dump->to, dump->input, event);
    else
        text_others(dump->to, event);
    putc('\n', dump->to);
    return 0;
}

const struct trace_dump_format trace_dump_text = {
    .name = "text",
    .event = text_event,
};
