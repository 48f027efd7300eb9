/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Folded stacks, as flame graphs are made from: "vcpu;mode;region;symbol;outcome COUNT".  There is
 * no call chain: the levels are what a fault is told apart by.
 */
#include "vmm/trace_tool/trace_dump.h"
#include "vmm/trace_tool/trace_tally.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static int
folded_begin(struct trace_dump *dump)
{
    struct trace_tally *tally = malloc(sizeof(*tally));

    if (tally == NULL)
        return -ENOMEM;
    trace_tally_init(tally, false);
    dump->state = tally;
    return 0;
}

static int
folded_event(struct trace_dump *dump, const struct trace_event *event)
{
    struct trace_tally *tally = dump->state;
    struct trace_tally_row *row;
    char who[32], line[512];
    int length;

    if (event->record.kind != TRACE_FAULT || trace_is_lookup(&event->record.fault))
        return 0;
    length = snprintf(line, sizeof(line), "%s;%s;%s;%s;%s", trace_event_who(event, who),
                      trace_event_mode(event), trace_input_region(dump->input, event->region),
                      event->symbol != NULL ? event->symbol : "unknown", trace_event_title(event));
    if ((size_t)length >= sizeof(line))
        length = sizeof(line) - 1;
    row = trace_tally_add(tally, XXH3_64bits(line, (size_t)length), 1);
    if (row == NULL)
        return -ENOMEM;
    if (row->name == NULL)
        row->name = strdup(line);
    return row->name != NULL ? 0 : -ENOMEM;
}

static int
compare_names(const void *left, const void *right)
{
    const struct trace_tally_row *a = left, *b = right;

    return strcmp(a->name, b->name);
}

static int
folded_end(struct trace_dump *dump)
{
    struct trace_tally *tally = dump->state;
    bool whole = true;

    for (size_t i = 0; i < tally->count; i++)
        whole &= tally->rows[i].name != NULL;
    if (whole && tally->count != 0)
        qsort(tally->rows, tally->count, sizeof(tally->rows[0]), compare_names);
    for (size_t i = 0; i < tally->count; i++) {
        if (whole)
            fprintf(dump->to, "%s %" PRIu64 "\n", tally->rows[i].name, tally->rows[i].count);
        free((char *)(uintptr_t)tally->rows[i].name);
    }
    trace_tally_fini(tally);
    free(tally);
    return 0;
}

const struct trace_dump_format trace_dump_folded = {
    .name = "folded",
    .begin = folded_begin,
    .event = folded_event,
    .end = folded_end,
};
