/* SPDX-License-Identifier: BSD-2-Clause */
/* Counts by key: rows in an array, found through a table with open addressing. */
#include "vmm/trace_tool/trace_tally.h"

#include <stdlib.h>
#include <string.h>

#define ROOM_MIN 64u

void
trace_tally_init(struct trace_tally *tally, bool latencies)
{
    *tally = (struct trace_tally){ .latencies = latencies };
}

void
trace_tally_fini(struct trace_tally *tally)
{
    for (size_t i = 0; i < tally->count; i++)
        free(tally->rows[i].latency);
    free(tally->rows);
    free(tally->slots);
    *tally = (struct trace_tally){ .rows = NULL };
}

/* The slot that has the key, or the free one where it belongs.  There is always a free one. */
static size_t *
find_slot(const struct trace_tally *tally, uint64_t key)
{
    size_t mask = 2 * tally->room - 1;
    uint64_t hash = key * 0x9e3779b97f4a7c15u;
    size_t i = (size_t)(hash ^ hash >> 32) & mask;

    while (tally->slots[i] != 0 && tally->rows[tally->slots[i] - 1].key != key)
        i = (i + 1) & mask;
    return &tally->slots[i];
}

static bool
grow(struct trace_tally *tally)
{
    size_t room = tally->room == 0 ? ROOM_MIN : 2 * tally->room;
    struct trace_tally_row *rows = reallocarray(tally->rows, room, sizeof(*rows));
    size_t *slots = calloc(2 * room, sizeof(*slots));

    if (rows != NULL)
        tally->rows = rows;
    if (rows == NULL || slots == NULL) {
        free(slots);
        return false;
    }
    free(tally->slots);
    tally->slots = slots;
    tally->room = room;
    for (size_t i = 0; i < tally->count; i++)
        *find_slot(tally, rows[i].key) = i + 1;
    return true;
}

struct trace_tally_row *
trace_tally_find(const struct trace_tally *tally, uint64_t key)
{
    size_t *slot = tally->room != 0 ? find_slot(tally, key) : NULL;

    return slot != NULL && *slot != 0 ? &tally->rows[*slot - 1] : NULL;
}

struct trace_tally_row *
trace_tally_add(struct trace_tally *tally, uint64_t key, uint64_t value)
{
    struct trace_tally_row *row = trace_tally_find(tally, key);

    if (row == NULL) {
        struct histogram *latency = NULL;

        if ((tally->rows == NULL || tally->count == tally->room) && !grow(tally))
            return NULL;
        if (tally->latencies) {
            latency = malloc(sizeof(*latency));
            if (latency == NULL)
                return NULL;
            histogram_init(latency);
        }
        row = &tally->rows[tally->count++];
        *row = (struct trace_tally_row){ .key = key, .latency = latency };
        *find_slot(tally, key) = tally->count;
    }
    row->count++;
    row->sum += value;
    if (row->latency != NULL)
        histogram_add(row->latency, value);
    return row;
}

static int
compare(const void *left, const void *right)
{
    const struct trace_tally_row *a = left, *b = right;

    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    return a->key < b->key ? -1 : a->key > b->key;
}

void
trace_tally_sort(struct trace_tally *tally)
{
    if (tally->count != 0)
        qsort(tally->rows, tally->count, sizeof(tally->rows[0]), compare);
    if (tally->slots != NULL)
        memset(tally->slots, 0, 2 * tally->room * sizeof(tally->slots[0]));
}
