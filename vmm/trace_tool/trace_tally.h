/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counts by key, of any number of keys: how often, how long in all, and how it is distributed.
 */
#ifndef TRACE_TALLY_H
#define TRACE_TALLY_H

#include "vmm/base/histogram.h"

#include <stdbool.h>
#include <stddef.h>

struct trace_tally_row {
    uint64_t key;
    uint64_t count;
    uint64_t sum;
    const char *name;          /* borrowed: the adder's */
    struct histogram *latency; /* owned; NULL without `latencies` */
};

struct trace_tally {
    bool latencies;
    struct trace_tally_row *rows; /* owned */
    size_t count;
    size_t room;
    size_t *slots; /* owned: index in rows + 1 by the key's hash; 0 = free; 2 * room of them */
};

void trace_tally_init(struct trace_tally *tally, bool latencies);
void trace_tally_fini(struct trace_tally *tally);

/*
 * Count one more for the key.
 * Returns the row, which the next call may move; NULL: no memory.
 */
struct trace_tally_row *trace_tally_add(struct trace_tally *tally, uint64_t key, uint64_t value);

/* The key's row, or NULL. */
struct trace_tally_row *trace_tally_find(const struct trace_tally *tally, uint64_t key);

/* The rows with the most first; equal ones by key.  Nothing can be found or added any more. */
void trace_tally_sort(struct trace_tally *tally);

#endif
