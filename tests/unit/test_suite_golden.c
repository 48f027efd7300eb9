/* SPDX-License-Identifier: BSD-2-Clause */
/* Golden traces: what is the same, how a difference is told, and when there is nothing to compare. */
#include "vmm/test_tool/suite_golden.h"

#include "tests/unit/trace_rig.h"
#include "vmm/test_tool/suite_expect.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sys/stat.h>

#define HEAD "# vkvm canon 1 portable\n"
#define ONE "vcpu0 read 0x1000 window zero-fill -/A"
#define TWO "vcpu0 write 0x1000 window resident -/M"
#define THREE "vcpu0 write 0x2000 window copy -"

static char why[2048];

static int
compare(const char *golden, const char *came)
{
    why[0] = '\0';
    return golden_compare(golden, came, why, sizeof(why));
}

Test(suite_golden, notes_and_comments_are_no_difference)
{
    cr_assert_eq(compare(HEAD "# by hand\n" ONE "\n\n" TWO "\n",
                         HEAD ONE " # window touch+0x4\n" TWO " # window touch+0x8\n"),
                 0);
}

Test(suite_golden, the_first_difference_is_told_with_page_region_symbol_and_the_two_before)
{
    cr_assert_eq(compare(HEAD ONE "\n" ONE "\n" TWO "\n" THREE "\n", HEAD ONE
                         " # window a+0x0\n" ONE " # window b+0x0\n" TWO
                         " # window c+0x0\nvcpu0 write 0x3000 window copy - # window d+0x4\n"),
                 1);
    cr_assert_str_eq(why, "fault 4: expected write by vcpu0 of page 0x2000 (window): copy; "
                          "came write by vcpu0 of page 0x3000 (window): copy [window d+0x4]; "
                          "before: read by vcpu0 of page 0x1000 (window): zero-fill, set -/A "
                          "[window b+0x0], then write by vcpu0 of page 0x1000 (window): resident, "
                          "set -/M [window c+0x0]");
}

Test(suite_golden, a_bit_that_was_not_set_is_a_difference)
{
    cr_assert_eq(compare(HEAD ONE "\n", HEAD "vcpu0 read 0x1000 window zero-fill -\n"), 1);
    cr_assert(strstr(why,
                     "expected read by vcpu0 of page 0x1000 (window): zero-fill, set -/A; came "
                     "read by vcpu0 of page 0x1000 (window): zero-fill") != NULL,
              "%s", why);
}

Test(suite_golden, a_fault_more_and_a_fault_less_are_differences)
{
    cr_assert_eq(compare(HEAD ONE "\n", HEAD ONE "\n" TWO "\n"), 1);
    cr_assert(strstr(why, "fault 2: expected no more; came write by vcpu0") == why, "%s", why);
    cr_assert_eq(compare(HEAD ONE "\n" TWO "\n", HEAD ONE "\n"), 1);
    cr_assert(strstr(why, "fault 2: expected write by vcpu0 of page 0x1000 (window): resident, set "
                          "-/M; came no more; before: read") == why,
              "%s", why);
}

Test(suite_golden, another_form_is_refused)
{
    cr_assert_eq(compare("# vkvm canon 2 portable\n" ONE "\n", HEAD ONE "\n"), 1);
    cr_assert(strstr(why, "not of the form that came") != NULL, "%s", why);
    cr_assert_eq(compare("", HEAD ONE "\n"), 1);
}

Test(suite_golden, what_is_no_line_of_a_trace_is_told_as_it_stands)
{
    cr_assert_eq(compare(HEAD "nonsense\n", HEAD ONE "\n"), 1);
    cr_assert(strstr(why, "expected 'nonsense'; came") != NULL, "%s", why);
}

/* --- With files ------------------------------------------------------------ */

static struct trace_rig *rig;
static char trace[] = "/tmp/vkvm-golden-XXXXXX";
static char golden[] = "/tmp/vkvm-golden-XXXXXX";
static struct suite_test test;
static struct test_result result;

static void
make_trace(bool in_window)
{
    struct trace_record records[2] = { trace_rig_fault(0, 0, 0x40000000, 0),
                                       trace_rig_fault(1, 0, 0x40001000, 1) };

    for (unsigned i = 0; i < 2; i++)
        records[i].fault.window = in_window;
    if (!in_window) {
        records[0].fault.gpa = 0x1000;
        records[1].fault.gpa = 0x2000;
    }
    trace_rig_init(rig, "vcpus=1\nram=0x0+0x100000\n", 0);
    trace_rig_records(rig, 0, records, 2, 0);
    cr_assert(trace_rig_write(rig, trace, rig->size));
}

static void
set_up(void)
{
    rig = malloc(sizeof(*rig));
    cr_assert(rig != NULL);
    close(mkstemp(trace));
    close(mkstemp(golden));
    unlink(golden);
    make_trace(true);
    test =
        (struct suite_test){ .name = "s/one", .file = "s.cfg", .golden = golden, .golden_line = 9 };
    result = (struct test_result){ .test = &test, .trace = trace };
}

static void
tear_down(void)
{
    unlink(trace);
    unlink(golden);
    test_result_fini(
        &(struct test_result){ .subtests = result.subtests, .nsubtests = result.nsubtests });
    free(rig);
}

TestSuite(suite_golden_file, .init = set_up, .fini = tear_down);

static void
judged(enum verdict verdict, const char *part)
{
    const struct subtest *subtest = &result.subtests[result.nsubtests - 1];

    cr_assert(result.nsubtests != 0);
    cr_assert_str_eq(subtest->name, result.nsubtests == 1 ? "golden" : subtest->name);
    cr_assert_eq(subtest->verdict, verdict, "%s", subtest->reason);
    if (part != NULL)
        cr_assert(strstr(subtest->reason, part) != NULL, "%s", subtest->reason);
}

Test(suite_golden_file, a_blessed_trace_is_the_same_the_next_time)
{
    golden_check(&test, true, &result);
    judged(VERDICT_PASS, NULL);
    golden_check(&test, false, &result);
    judged(VERDICT_PASS, NULL);
}

Test(suite_golden_file, a_trace_that_changed_fails_and_the_golden_one_stays)
{
    struct stat before, after;

    golden_check(&test, true, &result);
    cr_assert_eq(stat(golden, &before), 0);
    rig->size = 0;
    trace_rig_init(rig, "vcpus=1\nram=0x0+0x100000\n", 0);
    struct trace_record record = trace_rig_fault(0, 0, 0x40000000, 0);
    record.fault.window = true;
    record.fault.resolution = TRACE_COPIED;
    trace_rig_records(rig, 0, &record, 1, 0);
    cr_assert(trace_rig_write(rig, trace, rig->size));
    golden_check(&test, false, &result);
    judged(VERDICT_FAIL, "fault 1: expected write by vcpu0 of page 0x40000000 (window): zero-fill; "
                         "came write by vcpu0 of page 0x40000000 (window): copy [window]");
    cr_assert_eq(stat(golden, &after), 0);
    cr_assert_eq(before.st_ino, after.st_ino);
}

Test(suite_golden_file, a_golden_trace_that_is_not_there_is_an_error_that_says_how_to_make_it)
{
    golden_check(&test, false, &result);
    judged(VERDICT_ERROR, "vkvm test --bless writes it");
}

Test(suite_golden_file, a_golden_trace_that_cannot_be_written_is_an_error)
{
    test.golden = "/nowhere/golden";
    golden_check(&test, true, &result);
    judged(VERDICT_ERROR, "cannot be written: No such file or directory");
}

Test(suite_golden_file, a_run_without_a_trace_is_an_error)
{
    result.trace = NULL;
    golden_check(&test, false, &result);
    judged(VERDICT_ERROR, "has written no trace");
}

Test(suite_golden_file, a_trace_of_plain_ram_alone_compares_nothing_and_is_an_error)
{
    make_trace(false);
    golden_check(&test, true, &result);
    judged(VERDICT_ERROR, "the test needs a window");
    cr_assert_eq(access(golden, F_OK), -1);
}

Test(suite_golden_file, a_golden_trace_needs_the_number_of_prefaulted_pages)
{
    struct failure failure;
    static char a[] = "--memory=64M", b[] = "--prefault", c[] = "0", d[] = "--prefault=0";
    char *without[] = { a, NULL }, *two[] = { a, b, c, NULL }, *one[] = { d, NULL };

    test.options = without;
    cr_assert_eq(golden_validate(&test, &failure), -EINVAL);
    cr_assert(strstr(failure.message, "s.cfg:9: golden: ") == failure.message, "%s",
              failure.message);
    cr_assert(strstr(failure.message, "add --prefault 0") != NULL);
    test.options = two;
    cr_assert_eq(golden_validate(&test, &failure), 0);
    test.options = one;
    cr_assert_eq(golden_validate(&test, &failure), 0);
    cr_assert(expect_wants_trace(&test) && !expect_wants_stats(&test));
}
