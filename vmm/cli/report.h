/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a run did, as text for people and as one line of JSON for programs.
 */
#ifndef REPORT_H
#define REPORT_H

#include "vmm/vm/vm.h"

#include <stdio.h>

/* Sums that must hold in every report; each is printed with its terms. */
struct report_sums {
    uint64_t faults;        /* v_vm_faults ... */
    uint64_t fault_kinds;   /* ... == sum of the v_kind_* counters */
    uint64_t messages;      /* userfaultfd messages ... */
    uint64_t message_kinds; /* ... == missing + minor + write_protect */
    bool add_up;            /* both hold */
};

void report_sums(const struct vm_report *report, struct report_sums *sums);

/* How a run ended, as the JSON's "end" says it: "guest", "timeout", ... */
const char *report_end_name(enum vm_end end);

/* The exit status that tells how a VM ended (docs/vkvm.1). */
int report_exit_status(const struct vm_outcome *outcome);

/* Print the report as text; outcome is NULL while the VM runs. */
void report_text(FILE *to, const struct vm_outcome *outcome, int exit_status,
                 const struct vm_report *report);

/*
 * Print the report as one line of JSON; docs/vkvm.1 lists the members.
 * report is NULL when no VM ran: then only how it ended is told.
 */
void report_json(FILE *to, const struct vm_outcome *outcome, int exit_status,
                 const struct vm_report *report);

#endif
