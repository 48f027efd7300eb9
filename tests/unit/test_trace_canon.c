/* SPDX-License-Identifier: BSD-2-Clause */
/* What the canonical form keeps and what it leaves out. */
#include "tests/unit/trace_rig.h"
#include "vmm/trace_tool/tool.h"

#include <criterion/criterion.h>

static struct trace_rig *rig;
static char path[] = "/tmp/vkvm-canon-XXXXXX";
static char *text;

static void
set_up(void)
{
    rig = trace_rig_create(path, "x=y\n");
    cr_assert(rig != NULL);
}

static void
tear_down(void)
{
    free(text);
    free(rig);
    unlink(path);
}

TestSuite(trace_canon, .init = set_up, .fini = tear_down);

static const char *
canon_of(const struct trace_record *records, size_t count, bool sets)
{
    struct tool_options options = { .files = { path }, .nfiles = 1, .sets = sets };
    struct failure failure = { .message = "" };
    size_t size;
    FILE *to;

    free(text);
    trace_rig_init(rig, "x=y\n", 0);
    trace_rig_records(rig, 0, records, count, 0);
    cr_assert(trace_rig_write(rig, path, rig->size));
    to = open_memstream(&text, &size);
    cr_assert(to != NULL);
    cr_assert_eq(trace_canon_verb.run(&options, to, &failure), 0, "%s", failure.message);
    fclose(to);
    return text;
}

static void
put_two(struct trace_record records[2])
{
    records[0] = trace_rig_fault(0, 0, 0x2008, 5);
    records[1] = trace_rig_fault(1, 0, 0x1000, 7);
}

Test(trace_canon, a_vcpus_faults_stand_in_their_order_by_page)
{
    struct trace_record records[2];

    put_two(records);
    cr_expect_str_eq(canon_of(records, 2, false), "# vkvm canon 1\n"
                                                  "vcpu0 write 0x2000 normal zero-fill\n"
                                                  "vcpu0 write 0x1000 normal zero-fill\n");
}

Test(trace_canon, what_chance_decides_is_left_out)
{
    struct trace_record records[2];
    char *before;

    put_two(records);
    before = strdup(canon_of(records, 2, false));
    records[0].time += 12345;
    records[0].sequence = 17;
    records[1].sequence = 18;
    records[0].fault.duration = 9999;
    records[0].fault.arrival = TRACE_EFAULT;
    records[0].fault.gpa ^= 8;
    records[0].fault.object = 77;
    records[0].fault.slot = 4;
    records[0].fault.source = 4;
    records[0].fault.prefaulted = 15;
    records[1].fault.waited[0] = 3;
    records[1].fault.hardfault = true;
    cr_expect_str_eq(canon_of(records, 2, false), before);
    free(before);
}

Test(trace_canon, what_a_guest_did_is_kept)
{
    struct trace_record records[2], changed[5][2];
    char *before;

    put_two(records);
    before = strdup(canon_of(records, 2, false));
    for (size_t i = 0; i < 5; i++)
        memcpy(changed[i], records, sizeof(records));
    changed[0][0].fault.access = TRACE_READ;
    changed[1][0].fault.gpa = 0x3000;
    changed[2][0].fault.window = true;
    changed[3][0].fault.resolution = TRACE_COPIED;
    changed[4][0].number = 1;
    for (size_t i = 0; i < 5; i++)
        cr_expect(strcmp(canon_of(changed[i], 2, false), before) != 0, "change %zu", i);
    free(before);
}

Test(trace_canon, the_order_between_vcpus_is_left_out)
{
    struct trace_record records[2];
    char *before;

    put_two(records);
    records[1].number = 1;
    before = strdup(canon_of(records, 2, false));
    records[0] = trace_rig_fault(0, 1, 0x1000, 1);
    records[1] = trace_rig_fault(1, 0, 0x2008, 2);
    cr_expect_str_eq(canon_of(records, 2, false), before);
    free(before);
}

Test(trace_canon, what_others_than_vcpus_did_is_a_set_with_counts)
{
    struct trace_record records[4];

    for (unsigned i = 0; i < 4; i++) {
        records[i] = trace_rig_fault(i, 0, 0x5000 - 0x1000 * (i % 2), i);
        records[i].who = TRACE_MONITOR;
    }
    records[3].who = TRACE_KERNEL;
    records[3].fault.access = TRACE_UNKNOWN;
    cr_expect_str_eq(canon_of(records, 4, false), "# vkvm canon 1\n"
                                                  "monitor write 0x4000 normal zero-fill 1\n"
                                                  "monitor write 0x5000 normal zero-fill 2\n"
                                                  "kernel unknown 0x4000 normal zero-fill 1\n");
    records[2].fault.resolution = TRACE_SWAP_IN;
    cr_expect(strstr(canon_of(records, 4, false), "monitor write 0x5000 normal swap-in 1\n") !=
                  NULL,
              "another outcome is another line");
}

Test(trace_canon, sets_leave_out_a_vcpus_order_too)
{
    struct trace_record records[3];
    char *before;

    put_two(records);
    records[2] = trace_rig_fault(2, 0, 0x2000, 9);
    before = strdup(canon_of(records, 3, true));
    cr_expect_str_eq(before, "# vkvm canon 1 sets\n"
                             "vcpu0 write 0x1000 normal zero-fill 1\n"
                             "vcpu0 write 0x2000 normal zero-fill 2\n");
    records[0].fault.gpa = 0x1000;
    records[1].fault.gpa = 0x2000;
    cr_expect_str_eq(canon_of(records, 3, true), before);
    free(before);
}

Test(trace_canon, lookups_and_what_is_no_fault_are_left_out)
{
    struct trace_record records[2];

    put_two(records);
    records[0].fault.flags = VM_FAULT_QUIET;
    records[1] = (struct trace_record){ .kind = TRACE_PAGEOUT, .sequence = 1 };
    records[1].time = records[0].time;
    records[1].who = TRACE_MONITOR;
    cr_expect_str_eq(canon_of(records, 2, false), "# vkvm canon 1\n");
}
