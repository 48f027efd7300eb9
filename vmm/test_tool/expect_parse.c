/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The parser of expectations: recursive descent over a text that it points into.
 */
#include "vmm/test_tool/expect_parse.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct parser {
    const char *at;
    bool right;
    struct expectation *expectation;
    struct failure *failure;
};

/* Longer ones first: "<" begins "<=". */
static const struct {
    const char *text;
    enum expect_relation relation;
} relations[] = {
    { "==", EXPECT_EQUAL },    { "!=", EXPECT_UNEQUAL }, { "<=", EXPECT_AT_MOST },
    { ">=", EXPECT_AT_LEAST }, { "<", EXPECT_LESS },     { ">", EXPECT_MORE },
};

const char *
expect_relation_text(enum expect_relation relation)
{
    for (size_t i = 0; i < COUNT(relations); i++) {
        if (relations[i].relation == relation)
            return relations[i].text;
    }
    return "?";
}

bool
expect_holds(enum expect_relation relation, double left, double right)
{
    switch (relation) {
    case EXPECT_EQUAL:
        return left == right;
    case EXPECT_UNEQUAL:
        return left != right;
    case EXPECT_LESS:
        return left < right;
    case EXPECT_AT_MOST:
        return left <= right;
    case EXPECT_MORE:
        return left > right;
    case EXPECT_AT_LEAST:
        return left >= right;
    }
    return false;
}

/* --- Words ----------------------------------------------------------------- */

static void
skip_blanks(struct parser *p)
{
    p->at += strspn(p->at, " \t");
}

/* What stands here, for a message. */
static int
refuse(struct parser *p, const char *wanted)
{
    if (*p->at == '\0')
        return failure_set(p->failure, -EINVAL, "ends where %s should stand", wanted);
    return failure_set(p->failure, -EINVAL, "'%.32s' stands where %s should", p->at, wanted);
}

static bool
is_name(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.';
}

/* --- Factors --------------------------------------------------------------- */

static int
parse_number(struct parser *p, struct expect_factor *factor)
{
    char *end;

    factor->kind = EXPECT_NUMBER;
    factor->number = strtod(p->at, &end);
    if (is_name(*end))
        return failure_set(p->failure, -EINVAL,
                           "'%.32s' is no number: write digits, with a point if need be", p->at);
    p->at = end;
    return 0;
}

/* "(TEST)". */
static int
parse_test(struct parser *p, struct expect_factor *factor)
{
    const char *end = strchr(p->at, ')');

    if (end == NULL)
        return failure_set(p->failure, -EINVAL, "'%.32s': the name of a test has no ')' behind it",
                           p->at);
    p->at++;
    skip_blanks(p);
    factor->test = p->at;
    factor->length = (size_t)(end - p->at);
    while (factor->length > 0 && isblank((unsigned char)factor->test[factor->length - 1]))
        factor->length--;
    if (factor->length == 0)
        return failure_set(p->failure, -EINVAL, "'()' has no test: write its name in it");
    p->at = end + 1;
    return 0;
}

static int
parse_figure(struct parser *p, struct expect_factor *factor)
{
    size_t length = 0;
    int error;

    while (is_name(p->at[length]))
        length++;
    if (length == strlen("floor") && strncmp(p->at, "floor", length) == 0) {
        factor->kind = EXPECT_FLOOR;
        p->at += length;
        return 0;
    }
    factor->kind = EXPECT_FIGURE;
    error = figures_find(p->at, length, &factor->figure, p->failure);
    if (error != 0)
        return error;
    p->at += length;
    skip_blanks(p);
    return *p->at == '(' ? parse_test(p, factor) : 0;
}

/* One factor, which begins or goes on with a term. */
static int
parse_factor(struct parser *p, char sign)
{
    struct expectation *e = p->expectation;
    struct expect_factor *factor = &e->factors[e->nfactors];

    if (e->nfactors == EXPECT_TERMS_MAX)
        return failure_set(p->failure, -EINVAL, "has more than %d parts: write several",
                           EXPECT_TERMS_MAX);
    *factor = (struct expect_factor){ .sign = sign, .right = p->right };
    skip_blanks(p);
    e->nfactors++;
    if (isdigit((unsigned char)*p->at))
        return parse_number(p, factor);
    if (is_name(*p->at))
        return parse_figure(p, factor);
    return refuse(p, "a number or a counter");
}

/* --- Sums ------------------------------------------------------------------ */

static int
parse_sum(struct parser *p)
{
    char sign = '+';
    int error;

    skip_blanks(p);
    if (*p->at == '-') { /* of the first term */
        sign = '-';
        p->at++;
    }
    while ((error = parse_factor(p, sign)) == 0) {
        skip_blanks(p);
        if (*p->at == '/')
            return failure_set(p->failure, -EINVAL,
                               "has a '/': write a product, like p99 <= 3 * p99(other)");
        if (*p->at == '\0' || strchr("+-*", *p->at) == NULL)
            break;
        sign = *p->at++;
    }
    return error;
}

static int
parse_relation(struct parser *p)
{
    for (size_t i = 0; i < COUNT(relations); i++) {
        size_t length = strlen(relations[i].text);

        if (strncmp(p->at, relations[i].text, length) == 0) {
            p->expectation->relation = relations[i].relation;
            p->at += length;
            return 0;
        }
    }
    return refuse(p, "one of == != < <= > >=");
}

/* --- What is compared with what -------------------------------------------- */

static bool
is_time(const struct expect_factor *factor)
{
    const struct figure *list;

    figures_list(&list);
    return factor->kind == EXPECT_FLOOR ||
           (factor->kind == EXPECT_FIGURE && list[factor->figure].time);
}

/* Each term of the comparison has as many times as factors as the first has: none, or one. */
static int
check_kinds(struct expectation *e, struct failure *failure)
{
    size_t times = 0;
    bool have_first = false;

    for (size_t i = 0; i < e->nfactors; i++) {
        times += is_time(&e->factors[i]);
        if (i + 1 < e->nfactors && e->factors[i + 1].sign == '*')
            continue;
        if (times > 1)
            return failure_set(failure, -EINVAL, "multiplies times: multiply a time with a number");
        if (have_first && (times == 1) != e->time)
            return failure_set(failure, -EINVAL,
                               "compares a time with a number, which is another one on each host: "
                               "compare it with a time, like 2 * floor or 3 * p99(other)");
        e->time = times == 1;
        have_first = true;
        times = 0;
    }
    return 0;
}

int
expect_parse(const char *text, struct expectation *expectation, struct failure *failure)
{
    struct parser parser = { .at = text, .expectation = expectation, .failure = failure };
    int error;

    *expectation = (struct expectation){ .nfactors = 0 };
    error = parse_sum(&parser);
    if (error == 0)
        error = parse_relation(&parser);
    parser.right = true;
    if (error == 0)
        error = parse_sum(&parser);
    if (error == 0 && *parser.at != '\0')
        error = refuse(&parser, "the end");
    return error != 0 ? error : check_kinds(expectation, failure);
}
