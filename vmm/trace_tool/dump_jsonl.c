/* SPDX-License-Identifier: BSD-2-Clause */
/* A record a line, each an object of JSON: what is not known or does not apply is left out. */
#include "vmm/base/json.h"
#include "vmm/trace_tool/trace_dump.h"

static void
json_walk(struct json *json, const struct trace_fault *fault)
{
    if (fault->nvptes == 0)
        return;
    json_array(json, "vptes");
    for (unsigned i = 0; i < fault->nvptes; i++) {
        json_object(json, NULL);
        json_u64(json, "before", fault->vptes[i].before);
        json_u64(json, "after", fault->vptes[i].after);
        json_end(json);
    }
    json_end(json);
}

static void
json_registers(struct json *json, const struct trace_event *event)
{
    const struct trace_registers *registers = event->registers;

    if (registers == NULL)
        return;
    json_u64(json, "rip", registers->rip);
    if (!registers->kernel_event) {
        json_u64(json, "cr3", registers->cr3);
        json_u64(json, "cpl", registers->cpl);
    }
    if (registers->linear != TRACE_NONE)
        json_u64(json, "linear", registers->linear);
    if (event->symbol != NULL) {
        json_string(json, "symbol", event->symbol);
        json_u64(json, "offset", registers->rip - event->symbol_start);
    }
}

static void
json_kernel(struct json *json, const struct trace_registers *kernel)
{
    json_string(json, "kernel", trace_access_name(trace_kernel_access(kernel)));
    json_bool(json, "kernel_walk", (kernel->error_code & TRACE_PFERR_GUEST_PAGE) != 0);
}

static void
json_page(struct json *json, const struct trace_fault *fault)
{
    if (fault->step >= FAULT_STEP_OBJECT) {
        json_u64(json, "object", fault->object);
        json_u64(json, "pindex", fault->pindex);
        json_u64(json, "depth", fault->depth);
    }
    if (fault->step >= FAULT_STEP_PAGE) {
        json_u64(json, "slot", fault->slot);
        json_u64(json, "source", fault->source);
    }
}

static void
json_fault(struct json *json, const struct trace_input *input, const struct trace_event *event)
{
    const struct trace_fault *fault = &event->record.fault;

    json_string(json, "access", trace_access_name(fault->access));
    json_u64(json, "gpa", fault->gpa);
    json_string(json, "region", trace_input_region(input, event->region));
    json_string(json, "arrival", trace_arrival_name(fault->arrival));
    json_string(json, "outcome", trace_event_title(event));
    json_bool(json, "ok", fault->result == VM_OK);
    json_bool(json, "lookup", trace_is_lookup(fault));
    json_u64(json, "duration_ns", fault->duration);
    json_string(json, "map", trace_map_name(trace_map_of(fault)));
    json_string(json, "step", trace_step_name(fault->step));
    json_u64(json, "flags", fault->flags);
    json_u64(json, "entry_prot", fault->entry_prot);
    json_bool(json, "injected", (fault->flags & VM_FAULT_INJECTED) != 0);
    json_bool(json, "hard", fault->hardfault);
    json_u64(json, "prefaulted", fault->prefaulted);
    json_page(json, fault);
    json_object(json, "waited");
    for (unsigned i = 0; i < VM_ERRAND_KINDS; i++) {
        if (fault->waited[i] != 0)
            json_u64(json, trace_wait_name(i), fault->waited[i]);
    }
    json_end(json);
    json_walk(json, fault);
    if (event->kernel != NULL)
        json_kernel(json, event->kernel);
    json_registers(json, event);
}

static void
json_range(struct json *json, const struct trace_record *record)
{
    const struct trace_range *range = &record->range;

    json_u64(json, "gpa", range->gpa);
    json_u64(json, "size", range->size);
    if (record->kind == TRACE_COPY)
        json_u64(json, "to", range->to);
    if (record->kind == TRACE_SETMAP)
        json_u64(json, "root", range->root);
    json_u64(json, "duration_ns", range->duration);
    json_bool(json, "ok", range->status == 0);
    if (range->status != 0)
        json_u64(json, "errno",
                 (uint64_t)(range->status < 0 ? -(int64_t)range->status : range->status));
}

static void
json_pageout(struct json *json, const struct trace_pageout *pageout)
{
    json_u64(json, "object", pageout->object);
    json_u64(json, "pindex", pageout->pindex);
    json_u64(json, "slot", pageout->slot);
    json_bool(json, "written", pageout->written);
    json_bool(json, "freed", pageout->freed);
    json_bool(json, "failed", pageout->failed);
}

static void
json_others(struct json *json, const struct trace_event *event)
{
    const struct trace_record *record = &event->record;

    switch (record->kind) {
    case TRACE_EXCEPTION:
        json_u64(json, "gpa", record->exception.gpa);
        json_u64(json, "vector", record->exception.vector);
        json_u64(json, "error_code", record->exception.error_code);
        json_string(json, "result", vm_result_name(record->exception.result));
        break;
    case TRACE_REGISTERS:
        if (record->registers.fault != TRACE_NONE)
            json_u64(json, "fault", record->registers.fault);
        json_bool(json, "kernel_event", record->registers.kernel_event);
        if (record->registers.kernel_event) {
            json_u64(json, "gpa", record->registers.gpa);
            json_u64(json, "error_code", record->registers.error_code);
            json_kernel(json, &record->registers);
        }
        json_registers(json, event);
        break;
    case TRACE_PAGEOUT:
        json_pageout(json, &record->pageout);
        break;
    case TRACE_VMSPACE:
        json_u64(json, "call", record->vmspace.call);
        json_u64(json, "id", record->vmspace.id);
        json_u64(json, "duration_ns", record->vmspace.duration);
        json_bool(json, "ok", record->vmspace.status == 0);
        break;
    case TRACE_SWITCH:
        json_bool(json, "on", record->switched.on);
        break;
    case TRACE_LOST:
        json_u64(json, "count", record->lost.count);
        break;
    case TRACE_ENTRY:
        json_u64(json, "lstar", record->entry.lstar);
        break;
    case TRACE_INVAL:
    case TRACE_SETMAP:
    case TRACE_COPY:
        json_range(json, record);
        break;
    case TRACE_FAULT:
    case TRACE_KINDS:
        break;
    }
}

static int
jsonl_event(struct trace_dump *dump, const struct trace_event *event)
{
    const struct trace_record *record = &event->record;
    struct json json;

    json_init(&json, dump->to);
    json_object(&json, NULL);
    json_u64(&json, "sequence", record->sequence);
    json_u64(&json, "time_ns", event->time);
    json_string(&json, "who", trace_who_name(record->who));
    if (record->who == TRACE_VCPU)
        json_u64(&json, "vcpu", record->number);
    json_string(&json, "kind", trace_kind_name(record->kind));
    if (record->kind == TRACE_FAULT)
        json_fault(&json, dump->input, event);
    else
        json_others(&json, event);
    json_end(&json);
    return 0;
}

const struct trace_dump_format trace_dump_jsonl = {
    .name = "jsonl",
    .event = jsonl_event,
};
