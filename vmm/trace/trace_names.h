/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the values in a record are called: by reports, exports and filters alike
 * (docs/trace-format.md lists them).  None is NULL, also for a value outside its range.
 */
#ifndef TRACE_NAMES_H
#define TRACE_NAMES_H

#include "vmm/trace/trace_record.h"

/*
 * The outcome of a fault, one number for what resolved it or why it failed:
 * enum trace_resolution, or TRACE_RESOLUTION_COUNT + enum vm_result.
 */
#define TRACE_OUTCOMES (TRACE_RESOLUTION_COUNT + VM_RESULT_COUNT)

unsigned trace_outcome(const struct trace_fault *fault);

/* How its address was mapped. */
enum trace_map {
    TRACE_MAP_NONE,   /* by no entry */
    TRACE_MAP_NORMAL, /* plainly */
    TRACE_MAP_WINDOW, /* through virtual page tables */
    TRACE_MAP_COUNT
};

enum trace_map trace_map_of(const struct trace_fault *fault);

/* A look-up of the monitor's or a debugger's access: --stats does not count it as a fault. */
bool trace_is_lookup(const struct trace_fault *fault);

const char *trace_kind_name(unsigned kind);
const char *trace_who_name(unsigned who);
const char *trace_access_name(unsigned access);
const char *trace_arrival_name(unsigned arrival);
const char *trace_outcome_name(unsigned outcome);
const char *trace_map_name(unsigned map);
const char *trace_step_name(unsigned step);
const char *trace_wait_name(unsigned errand);

#endif
