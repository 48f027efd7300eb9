/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The report of a run.
 *
 * The engine's counters are printed from VM_METER_FIELDS, so that a new counter
 * appears in both forms by itself, and a new v_kind_* one enters the sum.
 */
#include "vmm/cli/report.h"

#include "vmm/base/json.h"
#include "vmm/cli/cli.h"

#include <inttypes.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define KIND_PREFIX "v_kind_"

static const struct {
    const char *name;
    const char *text;
} meter_fields[] = {
#define METER_FIELD(name, text) { #name, text },
    VM_METER_FIELDS(METER_FIELD)
#undef METER_FIELD
};
_Static_assert(COUNT(meter_fields) <= COUNT(((struct vm_report *)0)->meter),
               "vm_report has room for every counter");

enum {
#define METER_FIELD(name, text) METER_##name,
    VM_METER_FIELDS(METER_FIELD)
#undef METER_FIELD
};

static const struct {
    const char *name;
    double percent;
} percentiles[] = {
    { "p50", 50 },
    { "p90", 90 },
    { "p99", 99 },
    { "p99.9", 99.9 },
};

static bool
is_kind(size_t field)
{
    return strncmp(meter_fields[field].name, KIND_PREFIX, strlen(KIND_PREFIX)) == 0;
}

void
report_sums(const struct vm_report *report, struct report_sums *sums)
{
    const struct fault_report *faults = &report->faults;

    *sums = (struct report_sums){
        .faults = report->meter[METER_v_vm_faults],
        .messages = faults->messages,
        .message_kinds = faults->missing + faults->minor + faults->write_protect,
    };
    for (size_t i = 0; i < COUNT(meter_fields); i++) {
        if (is_kind(i))
            sums->fault_kinds += report->meter[i];
    }
    sums->add_up = sums->faults == sums->fault_kinds && sums->messages == sums->message_kinds;
}

const char *
report_end_name(enum vm_end end)
{
    static const char *const names[] = {
        [VM_END_GUEST] = "guest",
        [VM_END_TIMEOUT] = "timeout",
        [VM_END_INTERRUPTED] = "interrupted",
        [VM_END_CRASHED] = "crashed",
        [VM_END_RESET] = "reset",
        [VM_END_FAILED] = "failed",
    };

    return (size_t)end < COUNT(names) ? names[end] : "failed";
}

int
report_exit_status(const struct vm_outcome *outcome)
{
    switch (outcome->end) {
    case VM_END_GUEST:
        return outcome->status & 0xff;
    case VM_END_TIMEOUT:
        return CLI_TIMEOUT;
    case VM_END_INTERRUPTED:
        return CLI_SIGNAL_BASE + outcome->status;
    case VM_END_CRASHED:
        return CLI_CRASHED;
    case VM_END_RESET:
        return CLI_RESET;
    case VM_END_FAILED:
        break;
    }
    return CLI_FAILED;
}

static void
text_count(FILE *to, const char *name, uint64_t value)
{
    fprintf(to, "  %-52s %12" PRIu64 "\n", name, value);
}

/* Nanoseconds as units of 1000 or 1000000 of them, three decimals. */
static void
text_time(FILE *to, const char *name, uint64_t thousandths, const char *unit)
{
    fprintf(to, "  %-52s %8" PRIu64 ".%03" PRIu64 " %s\n", name, thousandths / 1000,
            thousandths % 1000, unit);
}

/* The terms are what precedes this line. */
static void
text_sum(FILE *to, const char *name, uint64_t total, uint64_t sum)
{
    fprintf(to, "  %s: total %" PRIu64 ", sum of kinds %" PRIu64 ": %s\n", name, total, sum,
            total == sum ? "adds up" : "DOES NOT ADD UP");
}

static void
text_end(FILE *to, const struct vm_outcome *outcome, int exit_status)
{
    if (outcome == NULL)
        fputs("vkvm report\n  running\n", to);
    else
        fprintf(to, "vkvm report\n  ended by: %s, exit status %d\n", report_end_name(outcome->end),
                exit_status);
}

static void
text_run(FILE *to, const struct vm_report *report)
{
    fputs("run\n", to);
    text_time(to, "time to make the VM", report->create_ns / 1000, "ms");
    text_time(to, "run time", report->run_ns / 1000, "ms");
    text_count(to, "virtual CPUs", report->nvcpus);
    text_count(to, "guest memory, pages", report->memory_size >> PAGE_SHIFT);
    text_count(to, "resident pages at the end", report->resident_pages);
    text_count(to, "mapped pages at the end", report->mapped_pages);
    if (report->ram_budget != 0)
        text_count(to, "RAM budget, pages", report->ram_budget);
    if (report->swap_pages != 0)
        text_count(to, "pages in swap at the end", report->swap_used);
}

static void
text_faults(FILE *to, const struct vm_report *report, const struct report_sums *sums)
{
    fputs("engine\n", to);
    for (size_t i = 0; i < COUNT(meter_fields); i++)
        text_count(to, meter_fields[i].text, report->meter[i]);
    text_sum(to, "faults by kind", sums->faults, sums->fault_kinds);
}

static void
text_messages(FILE *to, const struct fault_report *faults, const struct report_sums *sums)
{
    fputs("userfaultfd\n", to);
    text_count(to, "messages", faults->messages);
    text_count(to, "  ... frame missing", faults->missing);
    text_count(to, "  ... frame there, not mapped (minor)", faults->minor);
    text_count(to, "  ... write to a protected page", faults->write_protect);
    if (faults->foreign != 0)
        text_count(to, "messages of the kernel's own threads", faults->foreign);
    text_sum(to, "messages by kind", sums->messages, sums->message_kinds);
    text_count(to, "answered by a mapping", faults->resolved);
    text_count(to, "answered by an exception", faults->failed);
}

/* The way that fault threads wait, and what each way took where there was a choice. */
static void
text_placement(FILE *to, const struct fault_report *faults)
{
    fprintf(to, "placement: %s%s\n", fault_way_name(faults->way),
            !faults->tuned    ? ""
            : faults->looking ? ", looking for the best"
                              : ", the best here");
    if (faults->tuned)
        text_count(to, "choices made", faults->looks);
    for (unsigned i = 0; i < FAULT_WAYS; i++) {
        if (faults->way_ns[i] != 0)
            text_time(to, fault_way_name((enum fault_way)i), faults->way_ns[i],
                      "us from fault to fault");
    }
}

static void
text_latency(FILE *to, const struct histogram *latency)
{
    if (latency->count == 0)
        return;
    fputs("latency of a message, read to answered\n", to);
    text_time(to, "min", latency->min, "us");
    for (size_t i = 0; i < COUNT(percentiles); i++)
        text_time(to, percentiles[i].name, histogram_percentile(latency, percentiles[i].percent),
                  "us");
    text_time(to, "max", latency->max, "us");
}

static void
text_exits(FILE *to, const struct vm_report *report)
{
    fputs("exits\n", to);
    text_count(to, "doorbell calls", report->exits_doorbell);
    text_count(to, "console", report->exits_console);
    text_count(to, "emulated accesses (KVM_EXIT_MMIO)", report->exits_mmio);
    text_count(to, "failed accesses (EFAULT)", report->exits_efault);
    text_count(to, "page-fault exceptions injected (#PF)", report->exceptions_pf);
    text_count(to, "virtualization exceptions injected (#VE)", report->exceptions_ve);
}

static void
text_injections(FILE *to, const struct vm_report *report)
{
    if (report->ninjections == 0)
        return;
    fputs("injected faults: of those that a rule was about\n", to);
    for (unsigned i = 0; i < report->ninjections; i++) {
        const struct vm_injection_report *rule = &report->injections[i];

        fprintf(to, "  %s: %" PRIu64 " of %" PRIu64 "\n", rule->text, rule->injected,
                rule->matched);
    }
}

static void
text_pmap(FILE *to, const struct kvm_pmap_statistics *pmap)
{
    fputs("mappings\n", to);
    text_count(to, "windows", pmap->windows);
    text_count(to, "enter calls", pmap->enter_calls);
    text_count(to, "pages entered at their natural frame", pmap->natural_pages);
    text_count(to, "pages entered at a foreign frame", pmap->foreign_pages);
    text_count(to, "filled pages write-protected as they were entered", pmap->continued_pages);
    text_count(to, "foreign mappings dropped for room", pmap->foreign_evictions);
    text_count(to, "superpages that became huge pages", pmap->superpages);
    text_count(to, "superpages that the kernel made of small ones", pmap->superpages_refused);
}

void
report_text(FILE *to, const struct vm_outcome *outcome, int exit_status,
            const struct vm_report *report)
{
    struct report_sums sums;

    report_sums(report, &sums);
    text_end(to, outcome, exit_status);
    text_run(to, report);
    text_faults(to, report, &sums);
    text_messages(to, &report->faults, &sums);
    text_latency(to, &report->faults.latency);
    text_placement(to, &report->faults);
    text_exits(to, report);
    text_injections(to, report);
    text_pmap(to, &report->pmap);
}

static void
json_end_of_run(struct json *json, const struct vm_outcome *outcome, int exit_status)
{
    json_string(json, "vkvm", VKVM_VERSION);
    json_string(json, "end", report_end_name(outcome->end));
    json_u64(json, "exit_status", (uint64_t)exit_status);
    if (outcome->end == VM_END_GUEST)
        json_u64(json, "guest_status", (uint64_t)outcome->status);
    json_string(json, "message", outcome->message);
    if (outcome->end == VM_END_INTERRUPTED)
        json_u64(json, "signal", (uint64_t)outcome->status);
}

static void
json_run(struct json *json, const struct vm_report *report)
{
    json_thousandths(json, "create_us", report->create_ns);
    json_thousandths(json, "run_us", report->run_ns);
    json_u64(json, "vcpus", report->nvcpus);
    json_object(json, "memory");
    json_u64(json, "size", report->memory_size);
    json_u64(json, "resident_pages", report->resident_pages);
    json_u64(json, "mapped_pages", report->mapped_pages);
    json_u64(json, "budget_pages", report->ram_budget);
    json_u64(json, "swap_pages", report->swap_pages);
    json_u64(json, "swap_used", report->swap_used);
    json_end(json);
}

static void
json_faults(struct json *json, const struct vm_report *report)
{
    json_object(json, "faults");
    for (size_t i = 0; i < COUNT(meter_fields); i++)
        json_u64(json, meter_fields[i].name, report->meter[i]);
    json_end(json);
}

static void
json_messages(struct json *json, const struct fault_report *faults)
{
    json_object(json, "messages");
    json_u64(json, "total", faults->messages);
    json_u64(json, "foreign", faults->foreign);
    json_u64(json, "missing", faults->missing);
    json_u64(json, "minor", faults->minor);
    json_u64(json, "write_protect", faults->write_protect);
    json_u64(json, "resolved", faults->resolved);
    json_u64(json, "failed", faults->failed);
    json_end(json);
}

static void
json_placement(struct json *json, const struct fault_report *faults)
{
    json_object(json, "placement");
    json_string(json, "way", fault_way_name(faults->way));
    json_u64(json, "choices", faults->looks);
    json_object(json, "fault_us");
    for (unsigned i = 0; i < FAULT_WAYS; i++)
        json_thousandths(json, fault_way_name((enum fault_way)i), faults->way_ns[i]);
    json_end(json);
    json_end(json);
}

static void
json_latency(struct json *json, const struct histogram *latency)
{
    json_object(json, "latency_us");
    json_u64(json, "count", latency->count);
    json_thousandths(json, "min", latency->min);
    for (size_t i = 0; i < COUNT(percentiles); i++)
        json_thousandths(json, percentiles[i].name,
                         histogram_percentile(latency, percentiles[i].percent));
    json_thousandths(json, "max", latency->max);
    json_end(json);
}

static void
json_exits(struct json *json, const struct vm_report *report)
{
    json_object(json, "exits");
    json_u64(json, "doorbell", report->exits_doorbell);
    json_u64(json, "console", report->exits_console);
    json_u64(json, "mmio", report->exits_mmio);
    json_u64(json, "efault", report->exits_efault);
    json_end(json);
    json_object(json, "exceptions");
    json_u64(json, "pf", report->exceptions_pf);
    json_u64(json, "ve", report->exceptions_ve);
    json_end(json);
}

static void
json_injections(struct json *json, const struct vm_report *report)
{
    json_array(json, "injections");
    for (unsigned i = 0; i < report->ninjections; i++) {
        json_object(json, NULL);
        json_string(json, "rule", report->injections[i].text);
        json_u64(json, "matched", report->injections[i].matched);
        json_u64(json, "injected", report->injections[i].injected);
        json_end(json);
    }
    json_end(json);
}

static void
json_pmap(struct json *json, const struct kvm_pmap_statistics *pmap)
{
    json_object(json, "pmap");
    json_u64(json, "windows", pmap->windows);
    json_u64(json, "enter_calls", pmap->enter_calls);
    json_u64(json, "natural_pages", pmap->natural_pages);
    json_u64(json, "foreign_pages", pmap->foreign_pages);
    json_u64(json, "continued_pages", pmap->continued_pages);
    json_u64(json, "foreign_evictions", pmap->foreign_evictions);
    json_u64(json, "superpages", pmap->superpages);
    json_u64(json, "superpages_refused", pmap->superpages_refused);
    json_end(json);
}

void
report_json(FILE *to, const struct vm_outcome *outcome, int exit_status,
            const struct vm_report *report)
{
    struct report_sums sums;
    struct json json;

    json_init(&json, to);
    json_object(&json, NULL);
    json_end_of_run(&json, outcome, exit_status);
    if (report != NULL) {
        report_sums(report, &sums);
        json_run(&json, report);
        json_faults(&json, report);
        json_messages(&json, &report->faults);
        json_bool(&json, "adds_up", sums.add_up);
        json_latency(&json, &report->faults.latency);
        json_placement(&json, &report->faults);
        json_exits(&json, report);
        json_injections(&json, report);
        json_pmap(&json, &report->pmap);
    }
    json_end(&json);
}
