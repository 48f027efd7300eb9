/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of a record's values. */
#include "vmm/trace/trace_names.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const kind_names[] = {
    [TRACE_FAULT] = "fault",     [TRACE_EXCEPTION] = "exception", [TRACE_REGISTERS] = "registers",
    [TRACE_PAGEOUT] = "pageout", [TRACE_INVAL] = "inval",         [TRACE_SETMAP] = "setmap",
    [TRACE_COPY] = "copy",       [TRACE_VMSPACE] = "vmspace",     [TRACE_SWITCH] = "switch",
    [TRACE_LOST] = "lost",       [TRACE_ENTRY] = "entry",
};

static const char *const who_names[] = {
    [TRACE_VCPU] = "vcpu",
    [TRACE_MONITOR] = "monitor",
    [TRACE_KERNEL] = "kernel",
    [TRACE_DEBUGGER] = "debugger",
};

static const char *const access_names[] = {
    [TRACE_READ] = "read",
    [TRACE_WRITE] = "write",
    [TRACE_FETCH] = "fetch",
    [TRACE_UNKNOWN] = "unknown",
};

static const char *const arrival_names[] = {
    [TRACE_MISSING] = "missing", [TRACE_MINOR] = "minor", [TRACE_WRITE_PROTECT] = "write-protect",
    [TRACE_EFAULT] = "efault",   [TRACE_MMIO] = "mmio",   [TRACE_FAULT_PAGE] = "fault-page",
};

static const char *const resolution_names[] = {
    [TRACE_RESIDENT] = "resident", [TRACE_ZERO_FILL] = "zero-fill", [TRACE_COPIED] = "copy",
    [TRACE_MOVED] = "move",        [TRACE_FILE_READ] = "file-read", [TRACE_SWAP_IN] = "swap-in",
};

static const char *const map_names[] = {
    [TRACE_MAP_NONE] = "none",
    [TRACE_MAP_NORMAL] = "normal",
    [TRACE_MAP_WINDOW] = "window",
};

static const char *const step_names[] = {
    [FAULT_STEP_LOOKUP] = "lookup",
    [FAULT_STEP_WALK] = "walk",
    [FAULT_STEP_OBJECT] = "object",
    [FAULT_STEP_PAGE] = "page",
};

static const char *const wait_names[] = {
    [VM_ERRAND_NONE] = "race",     [VM_ERRAND_WAIT] = "busy",   [VM_ERRAND_PAGE_IN] = "page-in",
    [VM_ERRAND_MEMORY] = "memory", [VM_ERRAND_DELAY] = "delay",
};

static const char *
name_of(const char *const *names, size_t count, unsigned value)
{
    return value < count && names[value] != NULL ? names[value] : "unknown";
}

unsigned
trace_outcome(const struct trace_fault *fault)
{
    return fault->result == VM_OK ? fault->resolution : TRACE_RESOLUTION_COUNT + fault->result;
}

enum trace_map
trace_map_of(const struct trace_fault *fault)
{
    if (fault->window)
        return TRACE_MAP_WINDOW;
    return fault->entry_prot != 0 || fault->step > FAULT_STEP_LOOKUP ? TRACE_MAP_NORMAL
                                                                     : TRACE_MAP_NONE;
}

bool
trace_is_lookup(const struct trace_fault *fault)
{
    return (fault->flags & (VM_FAULT_QUIET | VM_FAULT_DEBUGGER)) != 0;
}

const char *
trace_kind_name(unsigned kind)
{
    return name_of(kind_names, COUNT(kind_names), kind);
}

const char *
trace_who_name(unsigned who)
{
    return name_of(who_names, COUNT(who_names), who);
}

const char *
trace_access_name(unsigned access)
{
    return name_of(access_names, COUNT(access_names), access);
}

const char *
trace_arrival_name(unsigned arrival)
{
    return name_of(arrival_names, COUNT(arrival_names), arrival);
}

const char *
trace_outcome_name(unsigned outcome)
{
    if (outcome < TRACE_RESOLUTION_COUNT)
        return resolution_names[outcome];
    return vm_result_name((enum vm_result)(outcome - TRACE_RESOLUTION_COUNT));
}

const char *
trace_map_name(unsigned map)
{
    return name_of(map_names, COUNT(map_names), map);
}

const char *
trace_step_name(unsigned step)
{
    return name_of(step_names, COUNT(step_names), step);
}

const char *
trace_wait_name(unsigned errand)
{
    return name_of(wait_names, COUNT(wait_names), errand);
}
