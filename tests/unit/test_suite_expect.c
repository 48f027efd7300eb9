/* SPDX-License-Identifier: BSD-2-Clause */
/* Expectations: what is understood, what is refused and how, and what is told when one does not hold. */
#include "vmm/test_tool/suite_expect.h"

#include "vmm/cli/report.h"
#include "vmm/test_tool/expect_floor.h"
#include "vmm/test_tool/expect_parse.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct expectation e;
static struct failure failure;

static void
understood(const char *text)
{
    cr_assert_eq(expect_parse(text, &e, &failure), 0, "%s: %s", text, failure.message);
}

static void
refused(const char *text, int error, const char *part)
{
    cr_assert_eq(expect_parse(text, &e, &failure), error, "%s", text);
    cr_assert(strstr(failure.message, part) != NULL, "%s: %s", text, failure.message);
}

static const char *
path_of(size_t factor)
{
    const struct figure *list;

    figures_list(&list);
    return list[e.factors[factor].figure].path;
}

/* --- Names ----------------------------------------------------------------- */

Test(suite_expect, a_counter_may_be_called_by_its_path_or_its_end_or_without_v)
{
    static const char *const same[] = { "faults.v_cow_faults == 1", "v_cow_faults == 1",
                                        "cow_faults == 1" };

    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        understood(same[i]);
        cr_assert_str_eq(path_of(0), "faults.v_cow_faults");
    }
    understood("zero_fill <= 4096");
    cr_assert_str_eq(path_of(0), "faults.v_kind_zero_fill");
    understood("p99.9 <= floor");
    cr_assert_str_eq(path_of(0), "latency_us.p99.9");
}

Test(suite_expect, an_unknown_counter_is_refused_with_the_nearest_one)
{
    refused("cow_fault == 1", -ENOENT, "'cow_fault' is no counter: did you mean cow_faults?");
    refused("zerofill == 1", -ENOENT, "did you mean zero_fill?");
    refused("messages.minr == 1", -ENOENT, "did you mean messages.minor?");
}

Test(suite_expect, a_name_that_fits_several_counters_is_refused_with_them)
{
    refused("failed == 0", -EINVAL,
            "'failed' may be faults.v_kind_failed or messages.failed: write which");
    understood("messages.failed == 0");
}

Test(suite_expect, each_number_that_vkvm_run_writes_has_a_name)
{
    struct vm_report *report = calloc(1, sizeof(*report));
    struct vm_outcome outcome = { .end = VM_END_GUEST };
    const struct figure *list;
    size_t n = figures_list(&list), size = 0;
    struct figures *figures = calloc(1, sizeof(*figures));
    char *text = NULL;
    FILE *to = open_memstream(&text, &size);
    size_t known = 0;

    cr_assert(report != NULL && figures != NULL && to != NULL);
    report_json(to, &outcome, 0, report);
    fclose(to);
    cr_assert_eq(figures_read(text, figures), 0);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i].path, "signal") != 0) /* only of a run that was interrupted */
            cr_assert(figures->known[i], "%s is not in %s", list[i].path, text);
        known += figures->known[i];
    }
    /* Every value that begins with a digit. */
    size_t numbers = 0;
    for (const char *p = text; (p = strchr(p, ':')) != NULL; p++)
        numbers += p[1] >= '0' && p[1] <= '9';
    cr_assert_eq(numbers, known, "%s", text);
    free(text);
    free(figures);
    free(report);
}

/* --- Grammar --------------------------------------------------------------- */

Test(suite_expect, every_relation_is_understood_and_decided)
{
    static const struct {
        const char *text;
        bool less, equal, more;
    } rows[] = { { "==", 0, 1, 0 }, { "!=", 1, 0, 1 }, { "<", 1, 0, 0 },
                 { "<=", 1, 1, 0 }, { ">", 0, 0, 1 },  { ">=", 0, 1, 1 } };
    char text[64];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        snprintf(text, sizeof(text), "inval%s1", rows[i].text);
        understood(text);
        cr_assert_str_eq(expect_relation_text(e.relation), rows[i].text);
        cr_assert_eq(expect_holds(e.relation, 1, 2), rows[i].less);
        cr_assert_eq(expect_holds(e.relation, 2, 2), rows[i].equal);
        cr_assert_eq(expect_holds(e.relation, 3, 2), rows[i].more);
    }
}

Test(suite_expect, sums_products_and_other_tests_are_understood)
{
    understood("zero_fill + cow - 2*page_in <= 3.5 * zero_fill( other test ) + 1");
    cr_assert_eq(e.nfactors, 7);
    cr_assert_eq(e.factors[2].sign, '-');
    cr_assert_eq(e.factors[3].sign, '*');
    cr_assert(!e.factors[3].right && e.factors[4].right);
    cr_assert_eq(e.factors[4].number, 3.5);
    cr_assert_eq(e.factors[5].length, strlen("other test"));
    cr_assert_eq(strncmp(e.factors[5].test, "other test", 10), 0);
    cr_assert_eq(e.relation, EXPECT_AT_MOST);
}

Test(suite_expect, what_is_no_comparison_is_refused_with_the_place)
{
    refused("", -EINVAL, "ends where a number or a counter should stand");
    refused("cow == ", -EINVAL, "ends where a number or a counter should stand");
    refused("cow", -EINVAL, "ends where one of == != < <= > >= should stand");
    refused("cow = 5", -EINVAL, "'= 5' stands where one of ==");
    refused("cow == 5 == 6", -EINVAL, "'== 6' stands where the end should");
    refused("cow == 5x", -EINVAL, "'5x' is no number");
    refused("cow == (5)", -EINVAL, "'(5)' stands where a number or a counter should");
    refused("p99(x == 1", -EINVAL, "has no ')' behind it");
    refused("p99() == floor", -EINVAL, "'()' has no test");
    refused("p99 / p50 < 3", -EINVAL, "has a '/': write a product");
}

Test(suite_expect, too_many_parts_are_refused)
{
    char text[512] = "cow == 1";

    for (int i = 0; i < EXPECT_TERMS_MAX - 2; i++)
        strcat(text, " + 1");
    understood(text);
    strcat(text, " + 1");
    refused(text, -EINVAL, "more than 32 parts");
}

Test(suite_expect, a_time_is_compared_with_times_only)
{
    understood("p99 <= 3.0 * p99(other)");
    cr_assert(e.time);
    understood("p50 <= 2 * floor");
    understood("p99 - p50 <= 10 * floor");
    understood("cow <= 2 * zero_fill");
    cr_assert(!e.time);
    refused("p99 <= 50", -EINVAL, "compares a time with a number");
    refused("p99 <= cow", -EINVAL, "compares a time with a number");
    refused("p99 + 1 <= floor", -EINVAL, "compares a time with a number");
    refused("p99 * p50 <= floor", -EINVAL, "multiplies times");
}

/* --- Reports --------------------------------------------------------------- */

Test(suite_expect, a_report_that_is_no_json_is_refused)
{
    static const char *const bad[] = { "",         "[1]",        "{\"a\":1",         "{\"a\" 1}",
                                       "{\"a\"",   "{\"a\":1}x", "{\"a\":{\"b\":}}", "{\"a\":1,}",
                                       "{\"a\":\"" };
    static struct figures figures;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(figures_read(bad[i], &figures), -EBADMSG, "%s", bad[i]);
    cr_assert_eq(
        figures_read(" {\"a\" : [1, {\"b\":null}, \"x\\\"}\"], \"vcpus\" : 3 }\n", &figures), 0);
}

Test(suite_expect, a_report_that_is_nested_without_end_is_refused)
{
    static char text[4096];
    static struct figures figures;

    text[0] = '{';
    for (size_t i = 1; i + 5 < sizeof(text); i += 5)
        strcpy(text + i, "\"a\":{");
    cr_assert_eq(figures_read(text, &figures), -EBADMSG);
}

Test(suite_expect, the_floor_is_more_than_nothing_and_less_than_a_second)
{
    double us = 0;

    if (expect_floor(&us, &failure) != 0)
        cr_skip_test("%s", failure.message);
    cr_assert(us > 0 && us < 1e6, "%f", us);
}

/* --- Tests ----------------------------------------------------------------- */

static char stats[] = "/tmp/vkvm-expect-XXXXXX";
static char other_stats[] = "/tmp/vkvm-expect-XXXXXX";
static struct suite_text texts[2];
static struct suite_test tests[3];
static struct suite suite = { .name = "s", .ntests = 3, .tests = tests };
static struct suite *suite_list[] = { &suite };
static struct suites suites = { .nsuites = 1, .suites = suite_list };

static void
write_file(char *path, const char *text)
{
    int fd = mkstemp(path);

    cr_assert(fd >= 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

/* s/one with an expectation, s/two, s/three. */
static void
set_up(void)
{
    tests[0] = (struct suite_test){ .name = "s/one", .file = "s.cfg", .expectations = &texts[0] };
    tests[1] = (struct suite_test){ .name = "s/two", .file = "s.cfg", .expectations = &texts[1] };
    tests[2] = (struct suite_test){ .name = "s/three", .file = "s.cfg" };
    write_file(stats, "{\"faults\":{\"v_cow_faults\":511},\"latency_us\":{\"p99\":60.5}}");
    write_file(other_stats, "{\"faults\":{\"v_cow_faults\":100},\"latency_us\":{\"p99\":20.0}}");
}

static void
tear_down(void)
{
    unlink(stats);
    unlink(other_stats);
}

static void
expect(unsigned test, const char *text)
{
    texts[test] = (struct suite_text){ .text = text, .line = 7 };
    tests[test].nexpectations = 1;
}

static const char *
stats_of(void *context, const char *name)
{
    (void)context;
    return strcmp(name, "s/two") == 0 ? other_stats : NULL;
}

/* Check s/one.  Returns its first subtest. */
static struct subtest
check(void)
{
    static struct test_result result;
    const struct expect_run run = { .stats_of = stats_of };

    result = (struct test_result){ .test = &tests[0], .stats = stats };
    expect_check(&tests[0], &run, &result);
    cr_assert_eq(result.nsubtests, 1);
    return result.subtests[0];
}

TestSuite(suite_expect_run, .init = set_up, .fini = tear_down);

Test(suite_expect_run, what_holds_is_a_subtest_that_passed)
{
    expect(0, "cow_faults == 512 - 1");
    cr_assert_eq(check().verdict, VERDICT_PASS);
    cr_assert_str_eq(check().name, "expect: cow_faults == 512 - 1");
}

Test(suite_expect_run, what_does_not_hold_tells_the_counter_the_bound_and_what_came)
{
    expect(0, "cow_faults == 512");
    cr_assert_eq(check().verdict, VERDICT_FAIL);
    cr_assert_str_eq(check().reason, "cow_faults is 511, wanted == 512");
}

Test(suite_expect_run, figures_of_another_test_are_taken_from_its_report)
{
    expect(0, "p99 <= 3.0 * p99(two)");
    cr_assert_str_eq(check().reason, "p99 is 60.500 us, wanted <= 60.000 us");
    expect(0, "p99 <= 3.1 * p99(s/two)");
    cr_assert_eq(check().verdict, VERDICT_PASS);
    expect(0, "cow_faults - 5 * cow_faults(two) == 11");
    cr_assert_eq(check().verdict, VERDICT_PASS);
}

Test(suite_expect_run, figures_of_a_test_that_did_not_end_are_an_error_with_its_name)
{
    expect(0, "cow_faults == cow_faults(three)");
    cr_assert_eq(check().verdict, VERDICT_ERROR);
    cr_assert_str_eq(check().reason, "s/three has no figures: it did not run to its end");
}

Test(suite_expect_run, a_counter_that_the_report_has_not_is_an_error)
{
    expect(0, "zero_fill == 1");
    cr_assert_eq(check().verdict, VERDICT_ERROR);
    cr_assert_str_eq(check().reason, "the report has no faults.v_kind_zero_fill");
}

Test(suite_expect_run, a_report_that_is_missing_is_an_error)
{
    unlink(stats);
    expect(0, "cow_faults == 511");
    cr_assert_eq(check().verdict, VERDICT_ERROR);
    cr_assert_str_eq(check().name, "expect");
}

Test(suite_expect_run, a_test_needs_the_tests_that_it_names)
{
    expect(0, "p99 <= 3.0 * p99(two)");
    cr_assert(expect_needs(&tests[0], &tests[1]));
    cr_assert(!expect_needs(&tests[0], &tests[2]));
    cr_assert(!expect_needs(&tests[1], &tests[0]));
    expect(0, "p99 <= 3.0 * p99(s/three)");
    cr_assert(expect_needs(&tests[0], &tests[2]));
}

/* What validation says of s/one. */
static void
invalid(const char *part)
{
    cr_assert_eq(expect_validate(&tests[0], &suites, &failure), -EINVAL);
    cr_assert(strstr(failure.message, part) != NULL, "%s", failure.message);
}

Test(suite_expect_run, what_cannot_be_understood_is_refused_with_file_and_line)
{
    expect(0, "cow_fault == 1");
    invalid(
        "s.cfg:7: expect = cow_fault == 1: 'cow_fault' is no counter: did you mean cow_faults?");
    expect(0, "cow_faults == 1");
    cr_assert_eq(expect_validate(&tests[0], &suites, &failure), 0);
}

Test(suite_expect_run, a_test_that_is_not_there_is_refused)
{
    expect(0, "p99 < p99(four)");
    invalid("s.cfg:7: expect = p99 < p99(four): there is no test 'four'");
}

Test(suite_expect_run, a_test_is_not_compared_with_itself)
{
    expect(0, "p99 < p99(one)");
    invalid("compares the test with itself");
}

Test(suite_expect_run, tests_that_are_compared_make_no_circle)
{
    expect(0, "p99 < p99(two)");
    expect(1, "p99 < p99(one)");
    invalid("'two' is compared with another test itself");
    expect(1, "cow_faults == 1");
    cr_assert_eq(expect_validate(&tests[0], &suites, &failure), 0);
}

Test(suite_expect_run, a_program_by_itself_has_nothing_to_expect)
{
    expect(0, "cow_faults == 1");
    tests[0].program = true;
    invalid("s.cfg:7: expect: a program by itself has no faults");
}
