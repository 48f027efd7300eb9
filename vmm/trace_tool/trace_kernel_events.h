/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's events of a trace, and which fault is whose.
 *
 * An event is of the moment when a vCPU left its guest; the vCPU waits, so each of its faults between
 * two events is the former's.  The order of the records says nothing: events come late.
 */
#ifndef TRACE_KERNEL_EVENTS_H
#define TRACE_KERNEL_EVENTS_H

#include "vmm/trace/trace_record.h"

struct trace_kernel_event {
    uint64_t time;
    unsigned vcpu;
    struct trace_registers registers;
};

struct trace_kernel_events {
    struct trace_kernel_event *list; /* owned: when sorted, by vCPU and time */
    size_t count;
    size_t room;
};

/* Keep the record if it is an event of the kernel's.  Returns 0 or -ENOMEM. */
int trace_kernel_events_add(struct trace_kernel_events *events, const struct trace_record *record)
    __attribute__((warn_unused_result));

/* All are there: sort them. */
void trace_kernel_events_sort(struct trace_kernel_events *events);

void trace_kernel_events_free(struct trace_kernel_events *events);

/* The vCPU's newest event at that time, or NULL.  Once they are sorted. */
const struct trace_kernel_event *trace_kernel_events_at(const struct trace_kernel_events *events,
                                                        unsigned vcpu, uint64_t time);

/* TRACE_READ, TRACE_WRITE or TRACE_FETCH: what the error code says. */
enum trace_access trace_kernel_access(const struct trace_registers *registers);

#endif
