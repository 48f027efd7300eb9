/* SPDX-License-Identifier: BSD-2-Clause */
/* Reports of made-up results: what each format says of them, and what none may be led to say. */
#include "tests/unit/report_rig.h"
#include "vmm/test_tool/report_text.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static struct report_rig *rig;
static char *text; /* the last report */
static size_t size;

static void
set_up(void)
{
    rig = malloc(sizeof(*rig));
    cr_assert(rig != NULL);
}

static void
tear_down(void)
{
    free(text);
    free(rig);
}

TestSuite(suite_report, .init = set_up, .fini = tear_down);

static const char *
report(const struct report_format *format)
{
    struct reporter *reporter = format->create();

    cr_assert(reporter != NULL);
    free(text);
    reporter->to = open_memstream(&text, &size);
    cr_assert(reporter->to != NULL);
    FILE *to = reporter->to;
    cr_assert_eq(report_rig_tell(rig, reporter), 0);
    fclose(to);
    return text;
}

static unsigned
count(const char *part)
{
    unsigned n = 0;

    for (const char *p = strstr(text, part); p != NULL; p = strstr(p + 1, part))
        n++;
    return n;
}

static void
has(const char *part)
{
    cr_assert(strstr(text, part) != NULL, "no \"%s\" in:\n%s", part, text);
}

static void
has_not(const char *part)
{
    cr_assert(strstr(text, part) == NULL, "\"%s\" in:\n%s", part, text);
}

/* --- Human ----------------------------------------------------------------- */

Test(suite_report, the_last_line_for_people_has_the_counts_that_ci_adds_up)
{
    report_rig_init(rig, RIG_TESTS, RIG_TESTS);
    report(&report_human);
    has("\n6 passed, 5 failed (2 by an error), 3 skipped, 1 flaky, 3 not chosen\n");
    cr_assert(text[size - 1] == '\n');
    cr_assert_eq(strcmp(strrchr(text, 'n') - strlen("not chose"), "not chosen\n"), 0);
}

Test(suite_report, nothing_a_guest_printed_stands_where_ci_looks_for_counts)
{
    report_rig_init(rig, RIG_TESTS, RIG_TESTS);
    report(&report_human);
    cr_assert_eq(count("9 passed, 9 failed"), 5);
    cr_assert_eq(count("\n  | 9 passed, 9 failed"), 5);
}

Test(suite_report, each_failure_is_told_again_at_the_end_with_its_reason)
{
    report_rig_init(rig, RIG_TESTS, RIG_TESTS);
    report(&report_human);
    const char *again = strstr(text, "\nwhat failed:\n");

    cr_assert(again != NULL);
    for (size_t i = 0; i < RIG_TESTS; i++) {
        if (rig->results[i].verdict != VERDICT_FAIL && rig->results[i].verdict != VERDICT_ERROR)
            continue;
        cr_assert(strstr(again, rig->results[i].name) != NULL, "%s", rig->results[i].name);
    }
    cr_assert(strstr(again, "  | exit status 3, expected 0") != NULL);
    cr_assert(strstr(again, "  | x #2: lost # SKIP it") != NULL);
}

Test(suite_report, no_control_character_reaches_a_person)
{
    report_rig_init(rig, RIG_TESTS, RIG_TESTS);
    report(&report_human);
    for (const char *p = text; *p != '\0'; p++)
        cr_assert(*p == '\n' || (unsigned char)*p >= 0x20, "%d", *p);
    has_not("[31m");
}

Test(suite_report, all_skipped_is_said_to_be_no_success)
{
    report_rig_init(rig, 10, 10);
    rig->plan.ntests = 1;
    rig->chosen[0] = &rig->tests[9];
    rig->tests[0] = rig->tests[9];
    rig->results[0] = rig->results[9];
    memset(rig->totals.results, 0, sizeof(rig->totals.results));
    rig->totals.results[VERDICT_SKIP] = 1;
    report(&report_human);
    has("all was skipped: that is no success\n0 passed, 0 failed, 1 skipped");
}

Test(suite_report, a_live_line_is_one_line_that_the_next_result_takes_away)
{
    struct reporter *reporter = report_human.create();
    FILE *to;

    report_rig_init(rig, RIG_TESTS, RIG_TESTS);
    cr_assert(reporter != NULL);
    to = reporter->to = open_memstream(&text, &size);
    reporter->terminal = true;
    reporter->ops->begin(reporter, &rig->plan);
    reporter->ops->progress(reporter, &(struct report_progress){ .done = 3,
                                                                 .total = 12,
                                                                 .failed = 1,
                                                                 .nrunning = 2,
                                                                 .running = "a/plain",
                                                                 .elapsed_ns = 4000000000u });
    reporter->ops->test_end(reporter, &rig->results[0]);
    reporter->ops->destroy(reporter);
    fclose(to);
    cr_assert_str_eq(
        text, "\r\033[K[3/12, 1 bad] 4 s a/plain and 1 more\r\033[KPASS  a/plain (0.001 s)\n");
}

Test(suite_report, without_a_terminal_there_is_no_live_line)
{
    struct reporter *reporter = report_human.create();

    report_rig_init(rig, RIG_TESTS, RIG_TESTS);
    cr_assert(reporter != NULL);
    FILE *to = reporter->to = open_memstream(&text, &size);
    reporter->ops->begin(reporter, &rig->plan);
    reporter->ops->progress(reporter, &(struct report_progress){ .total = 12 });
    reporter->ops->destroy(reporter);
    fclose(to);
    cr_assert_str_eq(text, "");
}

/* --- KTAP ------------------------------------------------------------------ */

Test(suite_report, ktap_begins_with_its_version_and_its_plan)
{
    report_rig_init(rig, RIG_TESTS, RIG_TESTS);
    report(&report_ktap);
    cr_assert_eq(strncmp(text, "KTAP version 1\n1..4\n", 20), 0);
}

Test(suite_report, in_ktap_a_plan_stands_before_the_lines_of_each_level)
{
    report_rig_init(rig, RIG_TESTS, RIG_TESTS);
    report(&report_ktap);
    has("\n  KTAP version 1\n  1..8\n  ok 1 a/plain\n");
    has("\n    KTAP version 1\n    1..5\n    ok 1 b c/subtests/x\n");
}

Test(suite_report, ktap_keeps_a_suites_tests_together_whatever_the_order)
{
    report_rig_init(rig, RIG_TESTS, RIG_TESTS);
    report(&report_ktap);
    has("  ok 8 a/last\nnot ok 1 a\n  KTAP version 1\n  1..3\n    KTAP version 1\n    1..5\n");
    has("  ok 3 b c/passes\nnot ok 2 b c\n");
}

Test(suite_report, ktap_escapes_what_would_begin_a_directive_in_a_name)
{
    report_rig_init(rig, RIG_TESTS, RIG_TESTS);
    report(&report_ktap);
    has("    not ok 2 b c/subtests/x %232\n");
    has("    ok 3 b c/subtests/%23PF at 50%25 %2523PF\n");
}

Test(suite_report, in_ktap_a_reason_is_never_taken_for_a_directive)
{
    report_rig_init(rig, RIG_TESTS, RIG_TESTS);
    report(&report_ktap);
    has("  # | todo list is empty\n  not ok 2 a/fails\n");
    has("    # | SKIP it\n    not ok 2 b c/times out/two\n");
    has(" # ERROR r|eboot: System halted %23 SKIP this");
    has("    ok 5 b c/subtests/xf # XFAIL known %23 TODO\n");
}

Test(suite_report, ktap_does_not_let_a_guest_end_the_log)
{
    report_rig_init(rig, RIG_TESTS, RIG_TESTS);
    report(&report_ktap);
    has_not("reboot: System halted");
    has_not("forged");
}

Test(suite_report, in_ktap_a_time_out_is_a_leaf_beside_the_subtests)
{
    report_rig_init(rig, RIG_TESTS, RIG_TESTS);
    report(&report_ktap);
    has("    not ok 3 b c/times out/the end # ERROR not ended after 5 s\n");
    has("    not ok 3 a/status/the end of the test\n");
}

Test(suite_report, ktap_tells_a_flaky_test_and_all_its_attempts)
{
    report_rig_init(rig, RIG_TESTS, RIG_TESTS);
    report(&report_ktap);
    has("  # | attempt 1: FAIL: lost a wake\n  # | attempt 2: ERROR: not ended # SKIP\n"
        "  ok 6 a/flaky # FLAKY passed after 2 of 3 attempts failed: not ended %23 SKIP\n");
}

Test(suite_report, in_ktap_a_suite_of_which_all_was_skipped_is_skipped)
{
    report_rig_init(rig, RIG_TESTS, RIG_TESTS);
    report(&report_ktap);
    has("\nok 3 skips # SKIP all tests were skipped\n");
}

Test(suite_report, ktap_accounts_for_what_a_signal_kept_from_running)
{
    report_rig_init(rig, RIG_TESTS, 6);
    report(&report_ktap);
    has("  not ok 8 a/last # SKIP not run: interrupted by signal 2\nnot ok 1 a\n");
    has("\nnot ok 4 late\n");
    cr_assert_eq(count("# SKIP not run"), RIG_TESTS - 6);
}

Test(suite_report, ktap_of_nothing_is_a_plan_of_none)
{
    report_rig_init(rig, 0, 0);
    report(&report_ktap);
    cr_assert_eq(strncmp(text, "KTAP version 1\n1..0 # SKIP nothing was chosen\n", 46), 0);
}

Test(suite_report, repetitions_that_did_not_run_are_missing_by_their_names)
{
    report_rig_init(rig, 1, 1);
    rig->plan.repeat = 2;
    rig->plan.nresults = 2;
    rig->results[0].name = report_rig_text("a/plain #1");
    report(&report_ktap);
    has("  1..2\n  ok 1 a/plain %231\n  not ok 2 a/plain %232 # SKIP not run: the run ended "
        "early\n");
}

/* --- JUnit ----------------------------------------------------------------- */

Test(suite_report, junit_counts_leaves_and_adds_them_up)
{
    char wanted[128];

    report_rig_init(rig, RIG_TESTS, RIG_TESTS);
    report(&report_junit);
    snprintf(wanted, sizeof(wanted),
             "<testsuites name=\"vkvm test\" tests=\"%zu\" failures=\"%zu\" errors=\"%zu\" "
             "skipped=\"%zu\"",
             rig->leaves[VERDICT_PASS] + rig->leaves[VERDICT_FAIL] + rig->leaves[VERDICT_ERROR] +
                 rig->leaves[VERDICT_SKIP],
             rig->leaves[VERDICT_FAIL], rig->leaves[VERDICT_ERROR], rig->leaves[VERDICT_SKIP]);
    has(wanted);
    cr_assert_eq(count("<failure "), rig->leaves[VERDICT_FAIL]);
    cr_assert_eq(count("<error "), rig->leaves[VERDICT_ERROR]);
    cr_assert_eq(count("<skipped "), rig->leaves[VERDICT_SKIP]);
}

#define MANY 100

/* Each test with subtests is a suite of its own. */
Test(suite_report, junit_holds_any_number_of_tests_with_subtests)
{
    struct reporter *reporter = report_junit.create();
    const struct report_totals totals = { .results = { [VERDICT_PASS] = MANY } };
    static char names[MANY][16];
    static struct suite_test tests[MANY];
    const struct suite_test *chosen[MANY];

    for (unsigned i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof(names[i]), "s/test%u", i);
        tests[i].name = names[i];
        chosen[i] = &tests[i];
    }
    const struct report_plan plan = {
        .nresults = MANY, .ntests = MANY, .tests = chosen, .repeat = 1, .jobs = 1, .program = "vkvm"
    };
    cr_assert(reporter != NULL);
    reporter->to = open_memstream(&text, &size);
    FILE *to = reporter->to;
    reporter->ops->begin(reporter, &plan);
    for (unsigned i = 0; i < MANY; i++) {
        struct test_result result = { .test = &tests[i], .name = strdup(names[i]) };

        test_result_add(&result, "part", VERDICT_PASS, NULL);
        reporter->ops->test_end(reporter, &result);
        test_result_fini(&result);
    }
    cr_assert_eq(reporter->ops->end(reporter, &totals), 0);
    reporter->ops->destroy(reporter);
    fclose(to);
    cr_assert_eq(count("<testcase "), MANY);
    has("name=\"s/test99\"");
}

Test(suite_report, junit_has_no_character_that_xml_has_not)
{
    report_rig_init(rig, RIG_TESTS, RIG_TESTS);
    report(&report_junit);
    for (const char *p = text; *p != '\0'; p++)
        cr_assert(*p == '\n' || (unsigned char)*p >= 0x20, "%d", *p);
    has_not("]]>");
    has_not("[31m");
    has("red ]]&gt; &amp; &lt;tag&gt; \xef\xbf\xbd\xef\xbf\xbd \n");
    has("name=\"\xc3\xbcn\xc3\xaf &lt;tag&gt; &amp; &quot;quotes&quot; ]]&gt; red\xef\xbf\xbd\"");
}

Test(suite_report, junit_leaves_out_what_utf8_has_and_xml_has_not)
{
    report_rig_init(rig, 3, 3);
    rig->results[2].reason = report_rig_text("a\xef\xbf\xbe"
                                             "b\xef\xbf\xbf"
                                             "c\xef\xbf\xbd\td\ne");
    report(&report_junit);
    has("message=\"abc\xef\xbf\xbd&#9;d&#10;e\"");
}

Test(suite_report, junit_tells_what_did_not_run_by_a_type_of_its_own)
{
    report_rig_init(rig, RIG_TESTS, 6);
    report(&report_junit);
    cr_assert_eq(count("<skipped message=\"not run: interrupted by signal 2\" type=\"not-run\"/>"),
                 RIG_TESTS - 6);
}

Test(suite_report, junit_tells_a_flaky_test_and_its_attempts)
{
    report_rig_init(rig, RIG_TESTS, RIG_TESTS);
    report(&report_junit);
    has("<system-err>attempt 1: FAIL: lost a wake\nattempt 2: ERROR: not ended # "
        "SKIP\n</system-err>");
    has("<system-err>flaky: a/flaky: passed after 2 of 3 attempts failed: not ended # "
        "SKIP\n</system-err>");
}

/* --- JSON lines ------------------------------------------------------------ */

Test(suite_report, json_lines_come_as_things_happen)
{
    struct reporter *reporter = report_jsonl.create();

    report_rig_init(rig, RIG_TESTS, RIG_TESTS);
    cr_assert(reporter != NULL);
    FILE *to = reporter->to = open_memstream(&text, &size);
    reporter->ops->begin(reporter, &rig->plan);
    cr_assert_eq(count("\n"), 1);
    reporter->ops->test_begin(reporter, &rig->tests[0], 0);
    cr_assert_eq(count("\n"), 2);
    reporter->ops->test_end(reporter, &rig->results[0]);
    cr_assert_eq(count("\n"), 3);
    reporter->ops->end(reporter, &rig->totals);
    reporter->ops->destroy(reporter);
    fclose(to);
    has("{\"event\":\"start\",\"test\":\"a/plain\",\"repeat\":0}\n");
    has("\"results\":{\"PASS\":6,\"FAIL\":3,\"ERROR\":2,\"SKIP\":3,\"XFAIL\":0}");
}

Test(suite_report, json_lines_have_verdict_reason_flaky_and_subtests_apart)
{
    report_rig_init(rig, RIG_TESTS, RIG_TESTS);
    report(&report_jsonl);
    has("{\"name\":\"s\",\"verdict\":\"SKIP\",\"reason\":\"no #UD\"}");
    has("\"verdict\":\"PASS\",\"flaky\":true,");
    has("\"attempts\":[{\"verdict\":\"FAIL\",\"reason\":\"lost a wake\",");
    cr_assert_eq(count("\n"), 2 + 2 * RIG_TESTS);
}

/* --- Full disks ------------------------------------------------------------ */

Test(suite_report, a_disk_that_is_full_is_told_at_the_end_by_each_format)
{
    const struct report_format *formats[] = { &report_human, &report_ktap, &report_junit,
                                              &report_jsonl };

    report_rig_init(rig, RIG_TESTS, RIG_TESTS);
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        struct reporter *reporter = formats[i]->create();
        FILE *to = fopen("/dev/full", "w");

        cr_assert(reporter != NULL && to != NULL);
        reporter->to = to;
        cr_assert_eq(report_rig_tell(rig, reporter), -ENOSPC, "%s", formats[i]->name);
        fclose(to);
    }
}

Test(suite_report, a_piece_that_found_no_room_is_taken_out_whole_and_is_the_last)
{
    static char piece[200];
    const struct rlimit limit = { 100, 100 };
    FILE *to = tmpfile();
    struct stat status;
    int error = 0;

    cr_assert(to != NULL);
    memset(piece, 'x', sizeof(piece));
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    report_write(to, "one\n", 4, &error);
    cr_assert_eq(error, 0);
    report_write(to, piece, sizeof(piece), &error);
    cr_assert_eq(error, -EFBIG);
    report_write(to, "two\n", 4, &error);
    cr_assert_eq(error, -EFBIG);
    cr_assert_eq(fstat(fileno(to), &status), 0);
    cr_assert_eq(status.st_size, 4);
    fclose(to);
}
