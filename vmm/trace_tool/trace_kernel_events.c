/* SPDX-License-Identifier: BSD-2-Clause */
/* See trace_kernel_events.h. */
#include "vmm/trace_tool/trace_kernel_events.h"

#include <errno.h>
#include <stdlib.h>

int
trace_kernel_events_add(struct trace_kernel_events *events, const struct trace_record *record)
{
    if (record->kind != TRACE_REGISTERS || !record->registers.kernel_event)
        return 0;
    if (events->count == events->room) {
        size_t room = events->room == 0 ? 1024 : 2 * events->room;
        struct trace_kernel_event *list = reallocarray(events->list, room, sizeof(*list));

        if (list == NULL)
            return -ENOMEM;
        events->list = list;
        events->room = room;
    }
    events->list[events->count++] = (struct trace_kernel_event){ .time = record->time,
                                                                 .vcpu = record->number,
                                                                 .registers = record->registers };
    return 0;
}

static int
compare_events(const void *left, const void *right)
{
    const struct trace_kernel_event *a = left, *b = right;

    if (a->vcpu != b->vcpu)
        return a->vcpu < b->vcpu ? -1 : 1;
    return a->time < b->time ? -1 : a->time > b->time;
}

void
trace_kernel_events_sort(struct trace_kernel_events *events)
{
    if (events->count != 0)
        qsort(events->list, events->count, sizeof(events->list[0]), compare_events);
}

void
trace_kernel_events_free(struct trace_kernel_events *events)
{
    free(events->list);
    *events = (struct trace_kernel_events){ .list = NULL };
}

const struct trace_kernel_event *
trace_kernel_events_at(const struct trace_kernel_events *events, unsigned vcpu, uint64_t time)
{
    const struct trace_kernel_event key = { .vcpu = vcpu, .time = time };
    size_t low = 0, high = events->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare_events(&events->list[middle], &key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && events->list[low - 1].vcpu == vcpu ? &events->list[low - 1] : NULL;
}

enum trace_access
trace_kernel_access(const struct trace_registers *registers)
{
    if ((registers->error_code & TRACE_PFERR_WRITE) != 0)
        return TRACE_WRITE;
    return (registers->error_code & TRACE_PFERR_FETCH) != 0 ? TRACE_FETCH : TRACE_READ;
}
