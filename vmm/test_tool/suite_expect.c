/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Expectations of a test: understood before anything runs, and compared when the test has ended.
 *
 * They are parsed each time they are asked for: a suite has few, and the parser needs no memory.
 */
#include "vmm/test_tool/suite_expect.h"

#include "vmm/test_tool/expect_floor.h"
#include "vmm/test_tool/expect_parse.h"
#include "vmm/test_tool/suite_golden.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* --- Names ----------------------------------------------------------------- */

/* Does the expectation's factor mean this test?  A name without a slash is of the same suite. */
static bool
means(const struct suite_test *test, const struct expect_factor *factor,
      const struct suite_test *other)
{
    const char *slash = strchr(test->name, '/');
    size_t prefix = slash != NULL ? (size_t)(slash - test->name) + 1 : 0;
    const char *name = other->name;

    if (factor->test == NULL)
        return false;
    if (memchr(factor->test, '/', factor->length) == NULL) {
        if (strncmp(name, test->name, prefix) != 0)
            return false;
        name += prefix;
    }
    return strlen(name) == factor->length && strncmp(name, factor->test, factor->length) == 0;
}

static const struct suite_test *
find_test(const struct suites *suites, const struct suite_test *test,
          const struct expect_factor *factor)
{
    for (size_t i = 0; i < suites->nsuites; i++) {
        for (size_t k = 0; k < suites->suites[i]->ntests; k++) {
            if (means(test, factor, &suites->suites[i]->tests[k]))
                return &suites->suites[i]->tests[k];
        }
    }
    return NULL;
}

bool
expect_compares(const struct suite_test *test)
{
    struct expectation e;
    struct failure ignored;

    for (size_t i = 0; i < test->nexpectations; i++) {
        if (expect_parse(test->expectations[i].text, &e, &ignored) != 0)
            continue;
        for (size_t k = 0; k < e.nfactors; k++) {
            if (e.factors[k].test != NULL)
                return true;
        }
    }
    return false;
}

bool
expect_needs(const struct suite_test *test, const struct suite_test *other)
{
    struct expectation e;
    struct failure ignored;

    for (size_t i = 0; i < test->nexpectations; i++) {
        if (expect_parse(test->expectations[i].text, &e, &ignored) != 0)
            continue;
        for (size_t k = 0; k < e.nfactors; k++) {
            if (means(test, &e.factors[k], other))
                return true;
        }
    }
    return false;
}

/* --- Before the run -------------------------------------------------------- */

static int
validate_tests(const struct suite_test *test, const struct expectation *e,
               const struct suites *suites, struct failure *failure)
{
    for (size_t i = 0; i < e->nfactors; i++) {
        const struct expect_factor *factor = &e->factors[i];
        const struct suite_test *other;

        if (factor->test == NULL)
            continue;
        other = find_test(suites, test, factor);
        if (other == NULL)
            return failure_set(failure, -EINVAL,
                               "there is no test '%.*s': write TEST of this suite, or SUITE/TEST",
                               (int)factor->length, factor->test);
        if (other == test)
            return failure_set(failure, -EINVAL,
                               "compares the test with itself: leave out '(%.*s)'",
                               (int)factor->length, factor->test);
        if (expect_compares(other))
            return failure_set(failure, -EINVAL,
                               "'%.*s' is compared with another test itself: compare with that",
                               (int)factor->length, factor->test);
    }
    return 0;
}

/* Put FILE:LINE in front. */
static int
place_failure(const struct suite_test *test, unsigned line, const char *text,
              struct failure *failure)
{
    struct failure cause = *failure;

    return failure_set(failure, -EINVAL, "%.256s:%u: expect = %.128s: %.500s", test->file, line,
                       text, cause.message);
}

int
expect_validate(const struct suite_test *test, const struct suites *suites, struct failure *failure)
{
    struct expectation e;

    for (size_t i = 0; i < test->nexpectations; i++) {
        const struct suite_text *text = &test->expectations[i];

        if (test->program)
            return failure_set(
                failure, -EINVAL,
                "%.256s:%u: expect: a program by itself has no faults to count: take "
                "it out",
                test->file, text->line);
        if (expect_parse(text->text, &e, failure) != 0 ||
            validate_tests(test, &e, suites, failure) != 0)
            return place_failure(test, text->line, text->text, failure);
    }
    return test->golden != NULL ? golden_validate(test, failure) : 0;
}

bool
expect_wants_stats(const struct suite_test *test)
{
    return test->nexpectations != 0;
}

bool
expect_wants_trace(const struct suite_test *test)
{
    return test->golden != NULL;
}

/* --- After the run --------------------------------------------------------- */

struct evaluation {
    const struct suite_test *test;
    const struct expect_run *run;
    const struct figures *figures; /* the test's own */
    double sides[2];
    bool floor_known;
    double floor;
    struct failure *failure;
};

/* Figures of the test that the factor names. */
static int
read_other(const struct evaluation *v, const struct expect_factor *factor, struct figures *figures)
{
    char name[SUITE_NAME_MAX + 1];
    const char *slash = strchr(v->test->name, '/');
    int prefix = slash != NULL && memchr(factor->test, '/', factor->length) == NULL
                     ? (int)(slash - v->test->name) + 1
                     : 0;
    const char *path;

    snprintf(name, sizeof(name), "%.*s%.*s", prefix, v->test->name, (int)factor->length,
             factor->test);
    path = v->run->stats_of(v->run->context, name);
    if (path == NULL)
        return failure_set(v->failure, -ENOENT, "%s has no figures: it did not run to its end",
                           name);
    return figures_read_file(path, figures, v->failure);
}

static int
value_of_figure(const struct evaluation *v, const struct expect_factor *factor, double *value)
{
    const struct figure *list;
    struct figures other;
    const struct figures *figures = v->figures;
    int error;

    if (factor->test != NULL) {
        error = read_other(v, factor, &other);
        if (error != 0)
            return error;
        figures = &other;
    }
    figures_list(&list);
    if (!figures->known[factor->figure])
        return failure_set(v->failure, -ENOENT, "the report has no %s", list[factor->figure].path);
    *value = figures->values[factor->figure];
    return 0;
}

static int
value_of(struct evaluation *v, const struct expect_factor *factor, double *value)
{
    int error = 0;

    switch (factor->kind) {
    case EXPECT_NUMBER:
        *value = factor->number;
        break;
    case EXPECT_FIGURE:
        return value_of_figure(v, factor, value);
    case EXPECT_FLOOR:
        if (!v->floor_known)
            error = expect_floor(&v->floor, v->failure);
        v->floor_known = error == 0;
        *value = v->floor;
        break;
    }
    return error;
}

static int
evaluate(struct evaluation *v, const struct expectation *e)
{
    double term = 0;

    for (size_t i = 0; i < e->nfactors; i++) {
        const struct expect_factor *factor = &e->factors[i];
        double value = 0;
        int error = value_of(v, factor, &value);

        if (error != 0)
            return error;
        term = factor->sign == '*' ? term * value : factor->sign == '-' ? -value : value;
        if (i + 1 == e->nfactors || e->factors[i + 1].sign != '*')
            v->sides[factor->right] += term;
    }
    return 0;
}

/* "cow_faults is 511, wanted == 512". */
static void
tell(const struct evaluation *v, const struct expectation *e, const char *text, char *reason,
     size_t size)
{
    const char *relation = expect_relation_text(e->relation);
    const char *at = strstr(text, relation);
    int left = at != NULL ? (int)(at - text) : 0;

    while (left > 0 && text[left - 1] == ' ')
        left--;
    if (e->time)
        snprintf(reason, size, "%.*s is %.3f us, wanted %s %.3f us", left, text, v->sides[0],
                 relation, v->sides[1]);
    else
        snprintf(reason, size, "%.*s is %.15g, wanted %s %.15g", left, text, v->sides[0], relation,
                 v->sides[1]);
}

static void
check_one(struct evaluation *v, const char *text, struct test_result *result)
{
    char name[RESULT_NAME_MAX], reason[1024];
    struct expectation e;
    struct failure failure = { .message = "" };

    v->failure = &failure;
    v->sides[0] = v->sides[1] = 0;
    snprintf(name, sizeof(name), "expect: %s", text);
    if (expect_parse(text, &e, &failure) != 0 || evaluate(v, &e) != 0) {
        test_result_add(result, name, VERDICT_ERROR, failure.message);
    } else if (expect_holds(e.relation, v->sides[0], v->sides[1])) {
        test_result_add(result, name, VERDICT_PASS, NULL);
    } else {
        tell(v, &e, text, reason, sizeof(reason));
        test_result_add(result, name, VERDICT_FAIL, reason);
    }
    v->failure = NULL;
}

void
expect_check(const struct suite_test *test, const struct expect_run *run,
             struct test_result *result)
{
    struct failure failure = { .message = "" };
    struct figures figures;
    struct evaluation evaluation = { .test = test, .run = run, .figures = &figures };

    if (test->nexpectations == 0)
        return;
    if (result->stats == NULL)
        failure_set(&failure, -ENOENT, "vkvm run has written no report");
    if (result->stats == NULL || figures_read_file(result->stats, &figures, &failure) != 0) {
        test_result_add(result, "expect", VERDICT_ERROR, failure.message);
        return;
    }
    for (size_t i = 0; i < test->nexpectations; i++)
        check_one(&evaluation, test->expectations[i].text, result);
}
