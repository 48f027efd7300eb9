/* SPDX-License-Identifier: BSD-2-Clause */
/* The latency histogram: bucket borders, percentiles, merging. */
#include "vmm/base/histogram.h"

#include <criterion/criterion.h>

static struct histogram
filled(uint64_t first, uint64_t last, uint64_t step)
{
    struct histogram h;

    histogram_init(&h);
    for (uint64_t v = first; v <= last; v += step)
        histogram_add(&h, v);
    return h;
}

Test(histogram, an_empty_one_answers_zero_everywhere)
{
    struct histogram h;

    histogram_init(&h);
    cr_assert_eq(h.count, 0);
    cr_assert_eq(h.min, 0);
    cr_assert_eq(histogram_percentile(&h, 0), 0);
    cr_assert_eq(histogram_percentile(&h, 50), 0);
    cr_assert_eq(histogram_percentile(&h, 100), 0);
}

Test(histogram, count_sum_min_and_max_are_exact)
{
    struct histogram h = filled(7, 1007, 10);

    cr_assert_eq(h.count, 101);
    cr_assert_eq(h.sum, (7 + 1007) * 101 / 2);
    cr_assert_eq(h.min, 7);
    cr_assert_eq(h.max, 1007);
}

Test(histogram, small_values_are_exact)
{
    struct histogram h = filled(0, 15, 1);

    for (unsigned i = 0; i < 16; i++)
        cr_assert_eq(h.bucket[i], 1, "value %u", i);
    cr_assert_eq(histogram_percentile(&h, 50), 7);
}

Test(histogram, a_percentile_is_at_most_one_sixteenth_above_the_value)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t near[3] = { ((uint64_t)1 << bit) - 1, (uint64_t)1 << bit,
                             ((uint64_t)1 << bit) + ((uint64_t)1 << bit) / 3 };
        for (unsigned i = 0; i < 3; i++) {
            struct histogram h;
            histogram_init(&h);
            histogram_add(&h, near[i]);
            histogram_add(&h, UINT64_MAX);
            uint64_t p = histogram_percentile(&h, 50);
            cr_assert_geq(p, near[i], "bit %u case %u", bit, i);
            cr_assert_leq(p - near[i], near[i] / 16, "bit %u case %u", bit, i);
        }
    }
}

Test(histogram, the_largest_value_has_a_bucket)
{
    struct histogram h;

    histogram_init(&h);
    histogram_add(&h, UINT64_MAX);
    cr_assert_eq(h.bucket[HISTOGRAM_BUCKETS - 1], 1);
    cr_assert_eq(histogram_percentile(&h, 100), UINT64_MAX);
}

Test(histogram, percentiles_of_a_ramp_are_in_order_and_near)
{
    struct histogram h = filled(1, 100000, 1);
    uint64_t p50 = histogram_percentile(&h, 50);
    uint64_t p99 = histogram_percentile(&h, 99);

    cr_assert(p50 >= 50000 && p50 <= 53125, "p50 %lu", (unsigned long)p50);
    cr_assert(p99 >= 99000 && p99 <= 100000, "p99 %lu", (unsigned long)p99);
    cr_assert_eq(histogram_percentile(&h, 100), 100000);
}

Test(histogram, a_percentile_is_never_above_the_maximum)
{
    struct histogram h;

    histogram_init(&h);
    histogram_add(&h, 1000001);
    cr_assert_eq(histogram_percentile(&h, 50), 1000001);
}

Test(histogram, merging_equals_adding_everything_to_one)
{
    struct histogram a = filled(5, 500, 3);
    struct histogram b = filled(2, 90000, 77);
    struct histogram both = filled(5, 500, 3);

    for (uint64_t v = 2; v <= 90000; v += 77)
        histogram_add(&both, v);
    histogram_merge(&a, &b);
    cr_assert_arr_eq(&a, &both, sizeof(a));
}

Test(histogram, merging_an_empty_one_changes_nothing)
{
    struct histogram a = filled(5, 500, 3);
    struct histogram before = a;
    struct histogram empty;

    histogram_init(&empty);
    histogram_merge(&a, &empty);
    cr_assert_arr_eq(&a, &before, sizeof(a));
    histogram_merge(&empty, &a);
    cr_assert_eq(empty.min, 5);
}
