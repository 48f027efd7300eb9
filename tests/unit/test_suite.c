/* SPDX-License-Identifier: BSD-2-Clause */
/* Configurations of guest tests, and what the lines of a console become. */
#include "vmm/test_tool/arena.h"
#include "vmm/test_tool/condition.h"
#include "vmm/test_tool/kernel_version.h"
#include "vmm/test_tool/suite.h"
#include "vmm/test_tool/suite_result.h"
#include "vmm/test_tool/verdict.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A configuration of this text, read.  Returns suites_add's. */
static int
read_text(const char *text, struct suites *suites, struct failure *failure)
{
    const struct suite_places places = { .images = NULL };
    char path[] = "/tmp/suite-XXXXXX.cfg";
    int fd = mkstemps(path, 4);
    int error;

    *suites = (struct suites){ 0 };
    cr_assert(fd >= 0);
    cr_assert(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    error = suites_add(suites, path, &places, failure);
    unlink(path);
    return error;
}

Test(suite, keys_of_kvm_unit_tests_become_options)
{
    struct failure failure = { .message = "" };
    struct suites suites;
    const struct suite_test *test;

    cr_assert(
        read_text("[a]\nfile = a.flat\nsmp = 2\ntest_args = 'x y'\ngroups = g h\ntimeout = 2m\n"
                  "qemu_params = -cpu max,+pku,-x2apic -m 2g -enable-kvm\n",
                  &suites, &failure) == 0,
        "%s", failure.message);
    test = &suites.suites[0]->tests[0];
    cr_expect(strcmp(test->options[0], "--cpus") == 0);
    cr_expect(strcmp(test->options[1], "2") == 0);
    cr_expect(strcmp(test->options[2], "--cpu=x2apic=off") == 0);
    cr_expect(strcmp(test->options[3], "--memory=2G") == 0);
    cr_expect(test->options[4] == NULL);
    cr_expect(test->timeout_ms == 120000);
    cr_expect(strcmp(test->groups[1], "h") == 0);
    cr_expect(test->refused == NULL);
    suites_fini(&suites);
}

Test(suite, an_option_that_vkvm_has_not_is_refused_with_its_test_alone)
{
    struct failure failure = { .message = "" };
    struct suites suites;

    cr_assert(read_text("[a]\nfile = a\nextra_params = -device edu\n[b]\nfile = b\n", &suites,
                        &failure) == 0);
    cr_assert(suites.suites[0]->tests[0].refused != NULL);
    cr_expect(strstr(suites.suites[0]->tests[0].refused, ":3: ") != NULL);
    cr_expect(suites.suites[0]->tests[1].refused == NULL);
    suites_fini(&suites);
}

Test(suite, a_quoted_value_goes_on_and_a_backslash_joins_its_lines)
{
    struct failure failure = { .message = "" };
    struct suites suites;

    cr_assert(read_text("[a]\nfile = a\nsetup = \"\"\"one \\\ntwo\nthree\"\"\"\n", &suites,
                        &failure) == 0);
    cr_expect(strcmp(suites.suites[0]->tests[0].setup, "one two\nthree") == 0);
    suites_fini(&suites);
}

Test(suite, a_matrix_makes_a_test_of_each_combination)
{
    struct failure failure = { .message = "" };
    struct suites suites;

    cr_assert(read_text("[{a}{b}]\nmatrix = a: x y; b: 1 2\nfile = {a}\ntest_args = {b}\n", &suites,
                        &failure) == 0);
    cr_assert(suites.suites[0]->ntests == 4);
    cr_expect(strcmp(strchr(suites.suites[0]->tests[2].name, '/'), "/y1") == 0);
    cr_expect(strcmp(suites.suites[0]->tests[3].arguments, "2") == 0);
    suites_fini(&suites);
}

Test(suite, a_kernels_version_is_compared_by_its_two_numbers)
{
    static const struct {
        const char *text;
        const char *release;
        bool is;
    } cases[] = {
        { ">= 6.4", "6.12.95+deb12-cloud-amd64", true },
        { ">= 6.4", "6.1.0-42-cloud-amd64", false },
        { "< 6.12", "6.12.1", false },
        { ">=6.1 , < 6.12", "6.11-rc3", true },
        { ">= 6.1, < 6.12", "6.12", false },
        { "!= 6.1", "6.10.2", true },
        { "== 6.1", "6.1.176", true },
        { ">= 5.19", "6.1.2", true },
        { ">= 6.1", "a kernel of mine", false },
    };
    static const char *const wrong[] = {
        "", "6.1", ">= 6", ">= 6.", ">= x", ">= 6.1,", ">= 6.1 6.2"
    };
    bool is;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        is = !cases[i].is;
        cr_expect(kernel_version_is(cases[i].text, cases[i].release, &is) == 0);
        cr_expect(is == cases[i].is, "%s of %s", cases[i].text, cases[i].release);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_expect(kernel_version_is(wrong[i], "6.1.1", &is) == -EINVAL, "%s", wrong[i]);
}

Test(suite, a_test_for_another_kernel_is_skipped)
{
    struct failure failure = { .message = "" };
    char reason[CONDITION_REASON] = "";
    struct suites suites;

    cr_assert(read_text("[a]\nfile = a\nkernel = < 2.0\n", &suites, &failure) == 0);
    cr_expect(condition_check(&suites.suites[0]->tests[0], reason) == VERDICT_SKIP);
    cr_expect(strncmp(reason, "for Linux < 2.0, and this is ", 29) == 0, "%s", reason);
    suites_fini(&suites);
    cr_expect(read_text("[a]\nfile = a\nkernel = 6.1\n", &suites, &failure) == -EINVAL);
    cr_expect(strstr(failure.message,
                     ":3: kernel: '6.1' compares no version: give one like >= 6.4") != NULL);
    suites_fini(&suites);
}

Test(suite, what_is_wrong_is_told_and_nothing_is_added)
{
    struct failure failure = { .message = "" };
    struct suites suites;

    cr_expect(read_text("[a]\nfile = a\nnot = it\n", &suites, &failure) == -EINVAL);
    cr_expect(strstr(failure.message, ":3: unknown key 'not'") != NULL);
    cr_expect(suites.nsuites == 0);
    cr_expect(read_text("[a]\nfile = a\n[a]\nfile = a\n", &suites, &failure) == -EEXIST);
    suites_fini(&suites);
}

Test(suite, lines_become_subtests_of_unique_names)
{
    const struct suite_test test = { .name = "s/t" };
    struct test_result result = { .test = &test };
    struct verdict_watch watch;

    cr_assert(verdict_begin(&watch, &test, &result) == 0);
    verdict_line(&watch, "PASS a write (3 us)");
    verdict_line(&watch, "PASS: a write");
    verdict_line(&watch, "SKIP a read: no such thing");
    verdict_line(&watch, "PASSED is none");
    cr_expect(result.verdict == VERDICT_PASS);
    verdict_line(&watch, "FAIL: x: y\x01");
    verdict_end(&watch);
    cr_assert(result.nsubtests == 4);
    cr_expect(strcmp(result.subtests[0].name, "a write") == 0);
    cr_expect(strcmp(result.subtests[1].name, "a write #2") == 0);
    cr_expect(strcmp(result.subtests[2].reason, "no such thing") == 0);
    cr_expect(strcmp(result.subtests[3].name, "x: y\xef\xbf\xbd") == 0);
    cr_expect(result.verdict == VERDICT_FAIL);
    test_result_fini(&result);
}

Test(suite, a_flood_of_subtests_is_counted)
{
    struct test_result result = { .verdict = VERDICT_PASS };

    for (unsigned i = 0; i < RESULT_SUBTESTS_MAX + 5; i++)
        test_result_add(&result, "same", VERDICT_PASS, NULL);
    cr_expect(result.nsubtests == RESULT_SUBTESTS_MAX);
    cr_expect(result.subtests_left_out == 5);
    test_result_fini(&result);
}
