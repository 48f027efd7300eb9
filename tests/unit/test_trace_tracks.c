/* SPDX-License-Identifier: BSD-2-Clause */
/* Tracks whose slices nest, counters along the time, and counts by key. */
#include "vmm/trace_tool/trace_tally.h"
#include "vmm/trace_tool/trace_tracks.h"

#include "tests/unit/trace_rig.h"

#include <criterion/criterion.h>

/* --- Tracks ---------------------------------------------------------------- */

static ssize_t
put(struct trace_tracks *tracks, enum trace_who who, unsigned number, uint64_t begin, uint64_t end)
{
    const struct trace_event event = { .record = { .who = who, .number = number } };

    return trace_tracks_place(tracks, &event, begin, end);
}

Test(trace_tracks, slices_behind_inside_and_around_others_share_a_track)
{
    struct trace_tracks tracks = { .list = NULL };

    cr_expect_eq(put(&tracks, TRACE_VCPU, 0, 10, 20), 0);
    cr_expect_eq(put(&tracks, TRACE_VCPU, 0, 20, 30), 0, "behind");
    cr_expect_eq(put(&tracks, TRACE_VCPU, 0, 5, 40), 0, "around");
    cr_expect_eq(put(&tracks, TRACE_VCPU, 0, 40, 40), 0, "a moment at its end");
    cr_expect_eq(tracks.count, 1);
    trace_tracks_fini(&tracks);
}

Test(trace_tracks, slices_that_overlap_get_tracks_of_their_own)
{
    struct trace_tracks tracks = { .list = NULL };

    cr_expect_eq(put(&tracks, TRACE_MONITOR, 0, 10, 20), 0);
    cr_expect_eq(put(&tracks, TRACE_MONITOR, 0, 15, 25), 1);
    cr_expect_eq(put(&tracks, TRACE_MONITOR, 0, 18, 30), 2, "both others reach into it");
    cr_expect_eq(put(&tracks, TRACE_MONITOR, 0, 22, 35), 0, "the first has room again");
    trace_tracks_fini(&tracks);
}

Test(trace_tracks, a_slice_that_ends_before_what_it_is_around_goes_elsewhere)
{
    struct trace_tracks tracks = { .list = NULL };

    cr_expect_eq(put(&tracks, TRACE_MONITOR, 0, 10, 20), 0);
    cr_expect_eq(put(&tracks, TRACE_MONITOR, 0, 9, 19), 1);
    trace_tracks_fini(&tracks);
}

Test(trace_tracks, a_slice_around_more_than_a_track_remembers_goes_elsewhere)
{
    struct trace_tracks tracks = { .list = NULL };

    for (uint64_t i = 1; i <= TRACE_TRACK_DEPTH; i++)
        cr_expect_eq(put(&tracks, TRACE_VCPU, 0, 10 * i, 10 * i + 5), 0);
    cr_expect_eq(put(&tracks, TRACE_VCPU, 0, 1000, 1005), 0);
    cr_expect_eq(put(&tracks, TRACE_VCPU, 0, 12, 2000), 1, "the first slice is forgotten");
    cr_expect_eq(put(&tracks, TRACE_VCPU, 0, 15, 2000), 0, "it begins behind that");
    trace_tracks_fini(&tracks);
}

Test(trace_tracks, each_vcpu_has_its_own_and_further_ones_are_numbered)
{
    struct trace_tracks tracks = { .list = NULL };
    char name[32];

    cr_expect_eq(put(&tracks, TRACE_VCPU, 1, 10, 20), 0);
    cr_expect_eq(put(&tracks, TRACE_VCPU, 0, 10, 20), 1);
    cr_expect_eq(put(&tracks, TRACE_MONITOR, 0, 10, 20), 2);
    cr_expect_eq(put(&tracks, TRACE_MONITOR, 0, 15, 25), 3);
    trace_track_name(&tracks.list[0], name);
    cr_expect_str_eq(name, "vcpu1");
    trace_track_name(&tracks.list[2], name);
    cr_expect_str_eq(name, "monitor");
    trace_track_name(&tracks.list[3], name);
    cr_expect_str_eq(name, "monitor 2");
    trace_tracks_fini(&tracks);
}

/* --- Counters -------------------------------------------------------------- */

static struct trace_event
fault_at(uint64_t ns)
{
    struct trace_event event = { .record = trace_rig_fault(0, 0, 0x1000, 0), .time = ns };

    event.record.fault.duration = 0;
    return event;
}

Test(trace_tracks, faults_per_second_are_those_of_a_step_of_time)
{
    struct trace_counters counters = { .step = 0 };
    struct trace_event event = fault_at(1000);
    uint64_t at, rate;

    cr_expect_not(trace_counters_add(&counters, &event, &at, &rate));
    event.record.fault.flags = VM_FAULT_QUIET;
    cr_expect_not(trace_counters_add(&counters, &event, &at, &rate), "a look-up is no fault");
    event = fault_at(3 * TRACE_COUNTER_STEP_NS - 1);
    event.record.fault.duration = 1;
    cr_expect(trace_counters_add(&counters, &event, &at, &rate), "it ends in the fourth step");
    cr_expect_eq(at, 0);
    cr_expect_eq(rate, 100, "one in 10 ms");
    trace_counters_last(&counters, &at, &rate);
    cr_expect_eq(at, 3 * TRACE_COUNTER_STEP_NS);
    cr_expect_eq(rate, 100);
}

Test(trace_tracks, resident_pages_are_those_brought_in_less_those_paged_out)
{
    struct trace_counters counters = { .step = 0 };
    struct trace_event event = fault_at(0);
    struct trace_event out = { .record = { .kind = TRACE_PAGEOUT } };
    uint64_t at, rate;

    for (enum trace_resolution how = 0; how < TRACE_RESOLUTION_COUNT; how++) {
        event.record.fault.resolution = how;
        (void)trace_counters_add(&counters, &event, &at, &rate);
    }
    cr_expect_eq(counters.resident, 4, "not those that were there, or moved");
    event.record.fault.result = VM_VPTE_INVALID;
    (void)trace_counters_add(&counters, &event, &at, &rate);
    cr_expect_eq(counters.resident, 4, "nor what failed");
    (void)trace_counters_add(&counters, &out, &at, &rate);
    cr_expect_eq(counters.resident, 4, "written, but still there");
    out.record.pageout.freed = true;
    (void)trace_counters_add(&counters, &out, &at, &rate);
    cr_expect_eq(counters.resident, 3);
}

/* --- Counts by key --------------------------------------------------------- */

#define KEYS 1000u

Test(trace_tally, any_number_of_keys_is_counted_and_found)
{
    struct trace_tally tally;

    trace_tally_init(&tally, false);
    cr_expect(trace_tally_find(&tally, 7) == NULL);
    for (uint64_t i = 0; i < 3 * KEYS; i++)
        cr_assert(trace_tally_add(&tally, i % KEYS << 32, i) != NULL);
    cr_expect_eq(tally.count, KEYS);
    for (uint64_t i = 0; i < KEYS; i++) {
        const struct trace_tally_row *row = trace_tally_find(&tally, i << 32);

        cr_assert(row != NULL && row->key == i << 32);
        cr_expect_eq(row->count, 3);
        cr_expect_eq(row->sum, 3 * i + 3 * KEYS);
        cr_expect(row->latency == NULL);
    }
    cr_expect(trace_tally_find(&tally, 1) == NULL);
    trace_tally_fini(&tally);
}

Test(trace_tally, latencies_are_kept_by_key)
{
    struct trace_tally tally;

    trace_tally_init(&tally, true);
    for (uint64_t i = 1; i <= 4; i++)
        cr_assert(trace_tally_add(&tally, i % 2, 1000 * i) != NULL);
    cr_expect_eq(trace_tally_find(&tally, 1)->latency->max, 3000);
    cr_expect_eq(trace_tally_find(&tally, 0)->latency->max, 4000);
    trace_tally_fini(&tally);
}

Test(trace_tally, rows_are_sorted_by_count_and_equal_ones_by_key)
{
    static const uint64_t keys[] = { 9, 5, 7, 7, 5, 3, 7 };
    static const uint64_t sorted[] = { 7, 5, 3, 9 };
    struct trace_tally tally;

    trace_tally_init(&tally, false);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        cr_assert(trace_tally_add(&tally, keys[i], 0) != NULL);
    trace_tally_sort(&tally);
    cr_assert_eq(tally.count, 4);
    for (size_t i = 0; i < 4; i++)
        cr_expect_eq(tally.rows[i].key, sorted[i]);
    cr_expect(trace_tally_find(&tally, 7) == NULL, "nothing is found any more");
    trace_tally_fini(&tally);
}
