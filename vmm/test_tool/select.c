/* SPDX-License-Identifier: BSD-2-Clause */
/* The chosen keep the suites' order. */
#include "vmm/test_tool/select.h"

#include "vmm/test_tool/suite_expect.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#define NOT_BY_DEFAULT "nodefault"

static bool
in_group(const struct suite_test *test, const char *group)
{
    for (char **name = test->groups; *name != NULL; name++) {
        if (strcmp(*name, group) == 0)
            return true;
    }
    return false;
}

static bool
matches(const struct suite_test *test, const char *pattern)
{
    const char *own = strchr(test->name, '/') + 1;

    return fnmatch(pattern, test->name, 0) == 0 || fnmatch(pattern, own, 0) == 0;
}

static bool
wanted(const struct suite_test *test, const struct select_request *request)
{
    bool by_group = request->ngroups == 0, by_name = request->npatterns == 0;
    bool named = request->all || !in_group(test, NOT_BY_DEFAULT);

    for (size_t i = 0; i < request->ngroups; i++)
        by_group |= in_group(test, request->groups[i]);
    for (size_t i = 0; i < request->npatterns; i++) {
        by_name |= matches(test, request->patterns[i]);
        /* A pattern that picks out many names nobody. */
        named |= strcmp(request->patterns[i], test->name) == 0 ||
                 strcmp(request->patterns[i], strchr(test->name, '/') + 1) == 0;
    }
    return by_group && by_name && (named || request->ngroups != 0);
}

static size_t
count_tests(const struct suites *suites)
{
    size_t n = 0;

    for (size_t i = 0; i < suites->nsuites; i++)
        n += suites->suites[i]->ntests;
    return n;
}

/* The test with this number among all. */
static const struct suite_test *
test_at(const struct suites *suites, size_t n)
{
    size_t i = 0;

    while (n >= suites->suites[i]->ntests)
        n -= suites->suites[i++]->ntests;
    return &suites->suites[i]->tests[n];
}

/* Mark what the marked ones need, until nothing is added. */
static void
add_needed(const struct suites *suites, bool *chosen, size_t n)
{
    bool again = true;

    while (again) {
        again = false;
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; chosen[i] && j < n; j++) {
                if (!chosen[j] && expect_needs(test_at(suites, i), test_at(suites, j)))
                    chosen[j] = again = true;
            }
        }
    }
}

int
select_tests(const struct suites *suites, const struct select_request *request,
             struct selection *selection)
{
    size_t n = count_tests(suites);
    bool *chosen = calloc(n + 1, sizeof(*chosen));

    *selection = (struct selection){ .tests = calloc(n + 1, sizeof(*selection->tests)) };
    if (chosen == NULL || selection->tests == NULL) {
        free(chosen);
        selection_fini(selection);
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++)
        chosen[i] = wanted(test_at(suites, i), request);
    add_needed(suites, chosen, n);
    for (size_t i = 0; i < n; i++) {
        if (chosen[i])
            selection->tests[selection->ntests++] = test_at(suites, i);
    }
    selection->nfiltered = n - selection->ntests;
    free(chosen);
    return 0;
}

void
selection_fini(struct selection *selection)
{
    free(selection->tests);
    *selection = (struct selection){ 0 };
}

/* SplitMix64. */
static uint64_t
next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void
select_shuffle(size_t *numbers, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        numbers[i] = i;
    for (size_t i = n; i > 1; i--) {
        size_t j = next_random(&seed) % i;
        size_t number = numbers[i - 1];

        numbers[i - 1] = numbers[j];
        numbers[j] = number;
    }
}
