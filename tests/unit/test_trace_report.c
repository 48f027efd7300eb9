/* SPDX-License-Identifier: BSD-2-Clause */
/* Sums of hand-made traces, filters, what --stats is compared with. */
#include "vmm/trace_tool/trace_report.h"

#include "tests/unit/trace_rig.h"

#include <criterion/criterion.h>

static struct trace_rig *rig;
static char path[] = "/tmp/vkvm-trace-XXXXXX";
static struct trace_sums *sums;
static struct trace_input input;

static void
set_up(void)
{
    int fd = mkstemp(path);

    cr_assert(fd >= 0);
    close(fd);
    rig = malloc(sizeof(*rig));
    sums = malloc(sizeof(*sums));
    cr_assert(rig != NULL && sums != NULL);
    trace_rig_init(rig, "ram=0x0+0x10000\nfile=0x20000+0x1000 /tmp/some file\n", 0);
}

static void
tear_down(void)
{
    trace_sums_fini(sums);
    trace_input_close(&input);
    unlink(path);
    free(rig);
    free(sums);
}

TestSuite(trace_report, .init = set_up, .fini = tear_down);

/* Sum up what the rig holds, with the options of a command line. */
static void
sum_up(int argc, const char **words)
{
    struct tool_options options;
    struct failure failure = { .message = "" };
    char *argv[8] = { (char *)(uintptr_t) "report" };

    for (int i = 0; i < argc; i++)
        argv[1 + i] = (char *)(uintptr_t)words[i];
    argv[1 + argc] = path;
    cr_assert(trace_rig_write(rig, path, rig->size));
    cr_assert_eq(tool_options_parse(&trace_report_verb, argc + 2, argv, &options, &failure), CLI_OK,
                 "%s", failure.message);
    cr_assert_eq(trace_input_open(&input, &options, 0, &failure), CLI_OK, "%s", failure.message);
    trace_sums_init(sums);
    cr_assert_eq(trace_sums_read(sums, &input), 0);
}

static uint64_t
count_of(enum trace_dimension dimension, uint64_t key)
{
    const struct trace_tally_row *row = trace_tally_find(&sums->by[dimension], key);

    return row != NULL ? row->count : 0;
}

/* Four faults: two of zeros, a copy by vCPU 1, one refused in the file. */
static void
put_four(void)
{
    struct trace_record records[4];

    for (unsigned i = 0; i < 4; i++)
        records[i] = trace_rig_fault(i, i % 2, i << 12, 10 * i);
    records[1].fault.access = TRACE_READ;
    records[2].fault.arrival = TRACE_WRITE_PROTECT;
    records[3].fault.resolution = TRACE_COPIED;
    records[3].fault.duration = 5000;
    records[2].fault.gpa = 0x20000;
    records[2].fault.result = VM_VPTE_INVALID;
    records[2].fault.window = true;
    records[2].fault.nvptes = 2;
    records[2].fault.vptes[0] = (struct trace_vpte){ VPTE_V, VPTE_V };
    records[2].fault.vptes[1] = (struct trace_vpte){ VPTE_V, VPTE_V | VPTE_A | VPTE_M };
    trace_rig_records(rig, 0, records, 4, 0);
}

/* A VM whose faults are not exact: some come from threads of the kernel's. */
Test(trace_report, faults_of_kernel_threads_are_counted_apart_and_their_access_is_unknown)
{
    struct trace_record records[3];
    char text[32];

    for (unsigned i = 0; i < 3; i++)
        records[i] = trace_rig_fault(i, 0, i << 12, 10 * i);
    records[1].who = records[2].who = TRACE_KERNEL;
    records[1].fault.access = records[2].fault.access = TRACE_UNKNOWN;
    trace_rig_records(rig, 0, records, 3, 0);
    sum_up(0, NULL);
    cr_assert_eq(count_of(TRACE_BY_WHO, 0), 1);
    cr_assert_eq(count_of(TRACE_BY_WHO, (uint64_t)TRACE_KERNEL << 32), 2);
    cr_assert_eq(count_of(TRACE_BY_ACCESS, TRACE_UNKNOWN), 2);
    for (size_t i = 0; i < sums->by[TRACE_BY_WHO].count; i++) {
        const struct trace_tally_row *row = &sums->by[TRACE_BY_WHO].rows[i];
        cr_expect_str_eq(trace_row_name(&input, TRACE_BY_WHO, row, text),
                         row->count == 2 ? "kernel" : "vcpu0");
    }
}

Test(trace_report, faults_are_counted_by_each_dimension)
{
    put_four();
    sum_up(0, NULL);
    cr_assert_eq(sums->faults, 4);
    cr_assert_eq(count_of(TRACE_BY_OUTCOME, TRACE_ZERO_FILL), 2);
    cr_assert_eq(count_of(TRACE_BY_OUTCOME, TRACE_COPIED), 1);
    cr_assert_eq(count_of(TRACE_BY_OUTCOME, TRACE_RESOLUTION_COUNT + VM_VPTE_INVALID), 1);
    cr_assert_eq(count_of(TRACE_BY_ACCESS, TRACE_READ), 1);
    cr_assert_eq(count_of(TRACE_BY_ACCESS, TRACE_WRITE), 3);
    cr_assert_eq(count_of(TRACE_BY_ARRIVAL, TRACE_WRITE_PROTECT), 1);
    cr_assert_eq(count_of(TRACE_BY_MAP, TRACE_MAP_WINDOW), 1);
    cr_assert_eq(count_of(TRACE_BY_MAP, TRACE_MAP_NORMAL), 3);
    cr_assert_eq(count_of(TRACE_BY_WHO, 0), 2);
    cr_assert_eq(count_of(TRACE_BY_WHO, 1), 2);
    cr_assert_eq(count_of(TRACE_BY_REGION, 0), 3);
    cr_assert_eq(count_of(TRACE_BY_REGION, 1), 1);
    cr_assert_str_eq(trace_input_region(&input, 0), "ram");
    cr_assert_str_eq(trace_input_region(&input, 1), "file:some_file");
    cr_assert_eq(sums->latency.sum, 8000);
    cr_assert_eq(sums->latency_log2[1], 3); /* 1 us */
    cr_assert_eq(sums->latency_log2[3], 1); /* 5 us: from 4 to below 8 */
    cr_assert_eq(sums->pages.count, 4);
}

Test(trace_report, levels_of_walks_are_counted_with_the_bits_they_set)
{
    put_four();
    sum_up(0, NULL);
    cr_assert_eq(sums->levels[0].read, 1);
    cr_assert_eq(sums->levels[0].a_set, 0);
    cr_assert_eq(sums->levels[1].read, 1);
    cr_assert_eq(sums->levels[1].a_set, 1);
    cr_assert_eq(sums->levels[1].m_set, 1);
    cr_assert_eq(sums->levels[2].read, 0);
}

Test(trace_report, lookups_and_debuggers_are_no_faults)
{
    struct trace_record records[2] = { trace_rig_fault(0, 0, 0, 0), trace_rig_fault(1, 0, 0, 0) };

    records[0].fault.flags = VM_FAULT_QUIET;
    records[1].fault.flags = VM_FAULT_DEBUGGER;
    trace_rig_records(rig, 0, records, 2, 0);
    sum_up(0, NULL);
    cr_assert_eq(sums->faults, 0);
    cr_assert_eq(sums->lookups, 1);
    cr_assert_eq(sums->debugger, 1);
}

Test(trace_report, a_page_that_comes_back_after_its_page_out_is_a_refault)
{
    struct trace_record records[4] = {
        trace_rig_fault(0, 0, 0x5000, 0),
        { .kind = TRACE_PAGEOUT,
          .sequence = 1,
          .time = TRACE_RIG_STARTED + 100000,
          .who = TRACE_MONITOR,
          .pageout = { .object = 1, .pindex = 5, .written = true, .freed = true } },
        trace_rig_fault(2, 0, 0x6000, 200),
        trace_rig_fault(3, 0, 0x5000, 400),
    };

    trace_rig_records(rig, 0, records, 4, 0);
    sum_up(0, NULL);
    cr_assert_eq(sums->refaults.count, 1);
    cr_assert_eq(sums->refaults.sum, 300000);
    cr_assert_eq(sums->written, 1);
    cr_assert_eq(sums->freed, 1);
}

Test(trace_report, counts_are_compared_with_those_of_stats)
{
    struct trace_check checks[TRACE_CHECKS];
    unsigned count, known = 0;

    put_four();
    trace_rig_text(rig, "v_vm_faults=4\nv_kind_zero_fill=2\nv_kind_cow=1\nv_kind_failed=2\n");
    sum_up(0, NULL);
    count = trace_sums_check(sums, trace_reader_last_words(input.reader), checks);
    for (unsigned i = 0; i < count; i++) {
        known += checks[i].known;
        if (checks[i].known)
            cr_assert_eq(checks[i].counted == checks[i].told,
                         strcmp(checks[i].key, "v_kind_failed") != 0);
    }
    cr_assert_eq(known, 4);
}

Test(trace_report, filters_leave_what_is_wanted)
{
    static const struct {
        const char *words[2];
        uint64_t faults;
    } cases[] = {
        { { "--vcpu", "1" }, 2 },
        { { "--vcpu", "2" }, 0 },
        { { "--gpa", "0x1000-0x4000" }, 2 },
        { { "--gpa", "4K-8K" }, 1 },
        { { "--access", "read" }, 1 },
        { { "--outcome", "zero-fill,copy" }, 3 },
        { { "--outcome", "vpte-invalid" }, 1 },
        { { "--since", "0.00002" }, 2 },
        { { "--until", "0.00002" }, 2 },
        { { "--symbol", "*" }, 0 },
    };

    put_four();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *words[2] = { cases[i].words[0], cases[i].words[1] };

        sum_up(2, words);
        cr_assert_eq(sums->faults, cases[i].faults, "%s %s", words[0], words[1]);
        trace_sums_fini(sums);
        trace_input_close(&input);
    }
    sum_up(0, NULL);
}

Test(trace_report, how_much_of_the_records_there_is_is_said)
{
    char text[256];

    put_four();
    sum_up(0, NULL);
    trace_input_scope(&input, text, sizeof(text));
    cr_assert(strstr(text, "all of 4 records") != NULL, "%s", text);
    trace_sums_fini(sums);
    trace_input_close(&input);
    rig->total = 10;
    trace_rig_records(rig, 1, NULL, 0, 6);
    sum_up(0, NULL);
    trace_input_scope(&input, text, sizeof(text));
    cr_assert(strstr(text, "4 of 10 records: 6 found no room") != NULL, "%s", text);
}

Test(trace_report, a_faults_registers_are_found_though_they_stand_behind_it)
{
    struct trace_record records[2] = {
        trace_rig_fault(0, 0, 0x1000, 0),
        { .kind = TRACE_REGISTERS,
          .sequence = 1,
          .time = TRACE_RIG_STARTED,
          .who = TRACE_VCPU,
          .registers = { .fault = 0, .rip = 0x1234, .cpl = 3, .linear = TRACE_NONE } },
    };

    trace_rig_records(rig, 0, records, 2, 0);
    sum_up(0, NULL);
    cr_assert_eq(sums->sites.count, 1);
    cr_assert_eq(sums->sites.rows[0].key, 0x1234);
}
