/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A latency histogram: log-linear buckets (16 per power of two, so a percentile
 * is at most 6.25 % off), fixed size, no allocation.  One writer; merge to sum up.
 */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 4
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t count;
    uint64_t sum;
    uint64_t min; /* 0 when count is 0 */
    uint64_t max;
    uint64_t bucket[HISTOGRAM_BUCKETS];
};

void histogram_init(struct histogram *h);
void histogram_add(struct histogram *h, uint64_t value);
void histogram_merge(struct histogram *to, const struct histogram *from);

/* The value below which `percent` (0..100) of the samples lie; 0 when empty; never above max. */
uint64_t histogram_percentile(const struct histogram *h, double percent);

#endif
