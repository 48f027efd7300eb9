/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Log-linear histogram.  Values below 2^SUB_BITS have a bucket each; above, every
 * power of two is cut into 2^SUB_BITS equal buckets.
 */
#include "vmm/base/histogram.h"

#include <string.h>

#define SUB_BUCKETS ((uint64_t)1 << HISTOGRAM_SUB_BITS)

static unsigned
bucket_of(uint64_t value)
{
    if (value < SUB_BUCKETS)
        return (unsigned)value;
    unsigned shift = 63 - (unsigned)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;
    return ((shift + 1) << HISTOGRAM_SUB_BITS) + (unsigned)((value >> shift) - SUB_BUCKETS);
}

/* The largest value that falls into the bucket. */
static uint64_t
bucket_last(unsigned bucket)
{
    if (bucket < SUB_BUCKETS)
        return bucket;
    unsigned shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
    uint64_t first = (SUB_BUCKETS + (bucket & (SUB_BUCKETS - 1))) << shift;
    return first + (((uint64_t)1 << shift) - 1);
}

void
histogram_init(struct histogram *h)
{
    memset(h, 0, sizeof(*h));
}

void
histogram_add(struct histogram *h, uint64_t value)
{
    if (h->count == 0 || value < h->min)
        h->min = value;
    if (value > h->max)
        h->max = value;
    h->count++;
    h->sum += value;
    h->bucket[bucket_of(value)]++;
}

void
histogram_merge(struct histogram *to, const struct histogram *from)
{
    if (from->count == 0)
        return;
    if (to->count == 0 || from->min < to->min)
        to->min = from->min;
    if (from->max > to->max)
        to->max = from->max;
    to->count += from->count;
    to->sum += from->sum;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        to->bucket[i] += from->bucket[i];
}

uint64_t
histogram_percentile(const struct histogram *h, double percent)
{
    double wanted = (double)h->count * percent / 100.0;
    uint64_t seen = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen != 0 && (double)seen >= wanted) {
            uint64_t last = bucket_last(i);
            return last < h->max ? last : h->max;
        }
    }
    return h->max;
}
