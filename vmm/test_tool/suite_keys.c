/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keys of a test: a row of a table each.  Those of kvm-unit-tests mean what they mean there, the
 * others stand for options of vkvm run.
 *
 * Source: kvm-unit-tests, docs/unittests.txt.
 */
#include "vmm/test_tool/suite_build.h"

#include "vmm/cli/value.h"
#include "vmm/test_tool/kernel_version.h"

#include <errno.h>
#include <regex.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define CPUS_MAX 64u          /* vkvm run's */
#define FOREIGN_MEMORY "128M" /* what kvm-unit-tests' machines have, unless they say otherwise */

/* --- Helpers --------------------------------------------------------------- */

int
suite_build_fail(const struct suite_build *build, struct failure *failure, const char *format, ...)
{
    char text[700];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return failure_set(failure, -EINVAL, "%.200s:%u: %.40s: %s", build->file, build->pair->line,
                       build->pair->key, text);
}

void
suite_build_option(struct suite_build *build, const char *word)
{
    char **options = build->test->options;

    if (word == NULL)
        return;
    if (build->noptions + 1 >= build->room) {
        size_t room = build->room == 0 ? 16 : build->room * 2;

        options = arena_grow(build->arena, options, build->noptions * sizeof(*options),
                             room * sizeof(*options));
        if (options == NULL)
            return;
        build->test->options = options;
        build->room = room;
    }
    options[build->noptions] = arena_strndup(build->arena, word, strlen(word));
    if (options[build->noptions] != NULL)
        build->noptions++;
}

const char *
suite_build_path(const struct suite_build *build, const char *here, const char *name)
{
    if (*name == '/')
        return name;
    return arena_printf(build->arena, "%s/%s", here, name);
}

int
suite_build_cpus(struct suite_build *build, const char *value, struct failure *failure)
{
    struct failure inner = { .message = "" };
    unsigned n;

    if (value_count(build->pair->key, value, 1, CPUS_MAX, &n, &inner) != CLI_OK)
        return suite_build_fail(build, failure, "'%.100s' is no number of processors: give 1 to %u",
                                value, CPUS_MAX);
    suite_build_option(build, "--cpus");
    suite_build_option(build, value);
    return 0;
}

/* --- What a guest is given ------------------------------------------------- */

static int
set_file(struct suite_build *build, const char *value, struct failure *failure)
{
    if (*value == '\0')
        return suite_build_fail(build, failure, "no name: give an image");
    build->test->image = suite_build_path(build, build->images, value);
    return 0;
}

static int
set_program(struct suite_build *build, const char *value, struct failure *failure)
{
    build->test->program = true;
    return set_file(build, value, failure);
}

static int
set_cpus(struct suite_build *build, const char *value, struct failure *failure)
{
    return suite_build_cpus(build, value, failure);
}

static int
set_arguments(struct suite_build *build, const char *value, struct failure *failure)
{
    if (suite_text_words(build->arena, value, failure) == NULL)
        return suite_build_fail(build, failure, "a quote has no end: close it");
    build->test->arguments = value;
    return 0;
}

static int
set_size(struct suite_build *build, const char *value, struct failure *failure)
{
    uint64_t size;

    if (value_size(value, &size) != 0)
        return suite_build_fail(build, failure, "'%.100s' is no size: give one like 64M", value);
    suite_build_option(build, arena_printf(build->arena, "--%s=%s", build->pair->key, value));
    return 0;
}

/* --KEY=WORD for each word of the value. */
static int
set_words(struct suite_build *build, const char *value, struct failure *failure)
{
    char **words = suite_text_words(build->arena, value, failure);

    if (words == NULL)
        return suite_build_fail(build, failure, "a quote has no end: close it");
    if (words[0] == NULL)
        return suite_build_fail(build, failure, "no value: see 'vkvm run --help' for --%s",
                                build->pair->key);
    for (; *words != NULL; words++)
        suite_build_option(build, arena_printf(build->arena, "--%s=%s", build->pair->key, *words));
    return 0;
}

static int
set_options(struct suite_build *build, const char *value, struct failure *failure)
{
    char **words = suite_text_words(build->arena, value, failure);

    if (words == NULL)
        return suite_build_fail(build, failure, "a quote has no end: close it");
    for (; *words != NULL; words++)
        suite_build_option(build, *words);
    return 0;
}

static int
set_qemu(struct suite_build *build, const char *value, struct failure *failure)
{
    (void)value;
    return suite_qemu_options(build, failure);
}

/* Another monitor's options. */
static int
set_nothing(struct suite_build *build, const char *value, struct failure *failure)
{
    (void)build;
    (void)value;
    (void)failure;
    return 0;
}

static int
set_setup(struct suite_build *build, const char *value, struct failure *failure)
{
    (void)failure;
    build->test->setup = value;
    return 0;
}

/* --- When a test runs ------------------------------------------------------ */

static int
set_groups(struct suite_build *build, const char *value, struct failure *failure)
{
    (void)failure;
    build->test->groups = suite_text_split(build->arena, value);
    return 0;
}

static int
set_arch(struct suite_build *build, const char *value, struct failure *failure)
{
    (void)failure;
    build->test->arch = value;
    return 0;
}

static int
set_machine(struct suite_build *build, const char *value, struct failure *failure)
{
    (void)failure;
    build->test->machine = value;
    return 0;
}

static int
set_accel(struct suite_build *build, const char *value, struct failure *failure)
{
    (void)failure;
    build->test->accel = value;
    return 0;
}

static int
set_kernel(struct suite_build *build, const char *value, struct failure *failure)
{
    bool any;

    if (kernel_version_is(value, "0.0", &any) != 0)
        return suite_build_fail(build, failure,
                                "'%.100s' compares no version: give one like >= 6.4", value);
    build->test->kernel = value;
    return 0;
}

static int
set_disabled_if(struct suite_build *build, const char *value, struct failure *failure)
{
    (void)failure;
    build->test->disabled_if = value;
    return 0;
}

/* FILE=VALUE between blanks. */
static int
set_check(struct suite_build *build, const char *value, struct failure *failure)
{
    char **words = suite_text_split(build->arena, value);
    size_t n = words == NULL ? 0 : suite_text_count(words);
    struct suite_check *checks = arena_alloc(build->arena, (n + 1) * sizeof(*checks));

    for (size_t i = 0; checks != NULL && i < n; i++) {
        char *equals = strchr(words[i], '=');

        if (equals == NULL || equals == words[i])
            return suite_build_fail(build, failure, "'%.200s' compares nothing: give FILE=VALUE",
                                    words[i]);
        *equals = '\0';
        checks[i] = (struct suite_check){ .file = words[i], .value = equals + 1 };
    }
    build->test->checks = checks;
    build->test->nchecks = n;
    return 0;
}

/* Seconds, or with one of s, m, h behind them, as timeout(1) takes it. */
static int
set_timeout(struct suite_build *build, const char *value, struct failure *failure)
{
    size_t length = strlen(value);
    char unit = length == 0 ? '\0' : value[length - 1];
    unsigned times = unit == 'm' ? 60 : unit == 'h' ? 3600 : 1;
    const char *number = value;
    unsigned ms;

    if (unit == 's' || times != 1)
        number = arena_strndup(build->arena, value, length - 1);
    if (number == NULL)
        return 0;
    if (value_seconds(number, &ms) != 0 || ms == 0 || ms > UINT32_MAX / times)
        return suite_build_fail(build, failure,
                                "'%.100s' is no time: give seconds like 90, or 90s, 2m, 1h", value);
    build->test->timeout_ms = ms * times;
    return 0;
}

/* --- What a test must do --------------------------------------------------- */

static int
set_exit(struct suite_build *build, const char *value, struct failure *failure)
{
    struct failure inner = { .message = "" };
    unsigned status;

    if (value_count("exit", value, 0, 255, &status, &inner) != CLI_OK)
        return suite_build_fail(build, failure, "'%.100s' is no exit status: give 0 to 255", value);
    build->test->exit_status = (int)status;
    return 0;
}

static int
set_output(struct suite_build *build, const char *value, struct failure *failure)
{
    char why[200];
    regex_t regex;
    int error = regcomp(&regex, value, REG_EXTENDED | REG_NOSUB);

    if (error != 0) {
        regerror(error, &regex, why, sizeof(why));
        return suite_build_fail(build, failure, "'%.200s' is no regular expression: %s: correct it",
                                value, why);
    }
    regfree(&regex);
    build->test->output = value;
    return 0;
}

static int
add_expectation(struct suite_build *build, const char *text, size_t length, struct failure *failure)
{
    struct suite_test *test = build->test;
    const size_t size = sizeof(*test->expectations);

    while (length > 0 && strchr(" \t\n", *text) != NULL) {
        text++;
        length--;
    }
    while (length > 0 && strchr(" \t\n", text[length - 1]) != NULL)
        length--;
    if (length == 0)
        return suite_build_fail(build, failure,
                                "an expectation is empty: give one like cow_faults == 512");
    test->expectations = arena_grow(build->arena, test->expectations, test->nexpectations * size,
                                    (test->nexpectations + 1) * size);
    if (test->expectations != NULL)
        test->expectations[test->nexpectations++] =
            (struct suite_text){ .text = arena_strndup(build->arena, text, length),
                                 .line = build->pair->line };
    return 0;
}

/* Comparisons with commas or lines' ends between them. */
static int
set_expect(struct suite_build *build, const char *value, struct failure *failure)
{
    int error = 0;

    for (size_t length; error == 0; value += length + 1) {
        length = strcspn(value, ",\n");
        error = add_expectation(build, value, length, failure);
        if (value[length] == '\0')
            break;
    }
    return error;
}

static int
set_golden(struct suite_build *build, const char *value, struct failure *failure)
{
    if (*value == '\0')
        return suite_build_fail(build, failure, "no name: give a file");
    build->test->golden = suite_build_path(build, build->folder, value);
    build->test->golden_line = build->pair->line;
    return 0;
}

/* --- The table ------------------------------------------------------------- */

static const struct key {
    const char *name;
    bool repeats; /* may be given several times */
    int (*set)(struct suite_build *build, const char *value, struct failure *failure);
} keys[] = {
    { "file", false, set_file },
    { "program", false, set_program },
    { "smp", false, set_cpus },
    { "cpus", false, set_cpus },
    { "test_args", false, set_arguments },
    { "extra_params", true, set_qemu },
    { "qemu_params", true, set_qemu },
    { "kvmtool_params", true, set_nothing },
    { "groups", false, set_groups },
    { "arch", false, set_arch },
    { "machine", false, set_machine },
    { "accel", false, set_accel },
    { "timeout", false, set_timeout },
    { "check", false, set_check },
    { "disabled_if", false, set_disabled_if },
    { "kernel", false, set_kernel },
    { "memory", false, set_size },
    { "ram", false, set_size },
    { "swap", false, set_words },
    { "map", true, set_words },
    { "window", true, set_words },
    { "cpu", true, set_words },
    { "inject", true, set_words },
    { "options", true, set_options },
    { "setup", false, set_setup },
    { "exit", false, set_exit },
    { "output", false, set_output },
    { "expect", true, set_expect },
    { "golden", false, set_golden },
};

static const struct key *
find_key(const char *name)
{
    for (size_t i = 0; i < COUNT(keys); i++) {
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    }
    return NULL;
}

static int
read_key(struct suite_build *build, size_t i, struct failure *failure)
{
    const struct suite_pair *pair = &build->section->pairs[i];
    const struct key *key = find_key(pair->key);

    build->pair = pair;
    if (key == NULL)
        return failure_set(failure, -EINVAL,
                           "%.200s:%u: unknown key '%.100s': docs/suites.md lists the keys",
                           build->file, pair->line, pair->key);
    for (size_t j = 0; j < i && !key->repeats; j++) {
        const struct suite_pair *other = &build->section->pairs[j];

        if (strcmp(other->key, key->name) == 0)
            return suite_build_fail(build, failure, "already given in line %u: keep one of them",
                                    other->line);
    }
    return key->set(build, pair->value, failure);
}

/* Keys that do not go together. */
static int
check_test(struct suite_build *build, struct failure *failure)
{
    const struct suite_test *test = build->test;

    if (test->image == NULL)
        return failure_set(failure, -EINVAL, "%.200s:%u: [%.200s] has no file: add file = IMAGE",
                           build->file, test->line, build->section->name);
    if (test->program && (build->noptions != 0 || test->golden != NULL || test->nexpectations != 0))
        return failure_set(failure, -EINVAL,
                           "%.200s:%u: [%.200s] has a program, which runs without vkvm, and keys "
                           "that are about a guest: take these away",
                           build->file, test->line, build->section->name);
    return 0;
}

int
suite_keys_read(struct suite_build *build, struct failure *failure)
{
    static char *nothing[] = { NULL };
    int error = 0;

    if (build->foreign)
        suite_build_option(build, "--memory=" FOREIGN_MEMORY);
    for (size_t i = 0; error == 0 && i < build->section->npairs; i++)
        error = read_key(build, i, failure);
    if (error == 0 && arena_failed(build->arena))
        error = failure_set(failure, -ENOMEM, "no memory for the configuration");
    if (build->test->options == NULL)
        build->test->options = nothing;
    if (build->test->groups == NULL)
        build->test->groups = nothing;
    return error != 0 ? error : check_test(build, failure);
}
