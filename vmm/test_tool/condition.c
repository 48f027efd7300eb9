/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Conditions, in the order in which a person would ask: is it for this kind of machine at all, is it
 * switched off, is the host as it wants it, is there an image.
 */
#include "vmm/test_tool/condition.h"

#include "vmm/test_tool/kernel_version.h"
#include "vmm/test_tool/shell.h"
#include "vmm/test_tool/suite_text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define ARCH "x86_64"
#define ACCEL "kvm"
#define OUTPUT_MAX 65536

/* Is the word the text's whole, or what stands before its comma? */
static bool
is_word(const char *text, const char *word)
{
    size_t length = strlen(word);

    return strncmp(text, word, length) == 0 && (text[length] == '\0' || text[length] == ',');
}

static enum verdict
check_machine(const struct suite_test *test, char reason[CONDITION_REASON])
{
    if (test->arch != NULL && *test->arch != '\0' && strcmp(test->arch, ARCH) != 0)
        snprintf(reason, CONDITION_REASON, "%.100s only", test->arch);
    else if (test->machine != NULL && *test->machine != '\0' && !is_word(test->machine, "pc") &&
             !is_word(test->machine, "q35"))
        snprintf(reason, CONDITION_REASON, "machine %.100s only", test->machine);
    else if (test->accel != NULL && *test->accel != '\0' && !is_word(test->accel, ACCEL))
        snprintf(reason, CONDITION_REASON, "%.100s only, and this is " ACCEL, test->accel);
    else if (test->refused != NULL)
        snprintf(reason, CONDITION_REASON, "%.500s", test->refused);
    else
        return VERDICT_PASS;
    return VERDICT_SKIP;
}

static enum verdict
check_kernel(const struct suite_test *test, char reason[CONDITION_REASON])
{
    struct utsname host;
    bool is = false;

    if (test->kernel == NULL)
        return VERDICT_PASS;
    if (uname(&host) != 0 || kernel_version_is(test->kernel, host.release, &is) != 0 || !is) {
        snprintf(reason, CONDITION_REASON, "for Linux %.100s, and this is %.100s", test->kernel,
                 host.release);
        return VERDICT_SKIP;
    }
    return VERDICT_PASS;
}

static enum verdict
check_disabled(const struct suite_test *test, char reason[CONDITION_REASON])
{
    struct failure failure;
    size_t length;
    int status;

    if (test->disabled_if == NULL || *test->disabled_if == '\0')
        return VERDICT_PASS;
    if (shell_run(test->disabled_if, NULL, 0, &length, &status, &failure) != 0) {
        snprintf(reason, CONDITION_REASON, "disabled_if: %.400s", failure.message);
        return VERDICT_ERROR;
    }
    if (status != 0)
        return VERDICT_PASS;
    snprintf(reason, CONDITION_REASON, "disabled because: %.400s", test->disabled_if);
    return VERDICT_SKIP;
}

/* The file's text without the ends of its last lines, as $(cat FILE) has it, is this. */
static bool
holds(const struct suite_check *check)
{
    char text[512];
    FILE *file = fopen(check->file, "re");
    size_t n;

    if (file == NULL)
        return false;
    n = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    while (n > 0 && text[n - 1] == '\n')
        n--;
    text[n] = '\0';
    return strcmp(text, check->value) == 0;
}

static enum verdict
check_files(const struct suite_test *test, char reason[CONDITION_REASON])
{
    for (size_t i = 0; i < test->nchecks; i++) {
        const struct suite_check *check = &test->checks[i];

        if (!holds(check)) {
            snprintf(reason, CONDITION_REASON, "%.300s is not %.100s", check->file, check->value);
            return VERDICT_SKIP;
        }
    }
    return VERDICT_PASS;
}

static enum verdict
check_image(const struct suite_test *test, char reason[CONDITION_REASON])
{
    if (access(test->image, test->program ? X_OK : R_OK) == 0)
        return VERDICT_PASS;
    snprintf(reason, CONDITION_REASON,
             "%.120s:%u: cannot %s '%.180s': %s: build it, or say by --images where it is",
             test->file, test->line, test->program ? "run" : "read", test->image, strerror(errno));
    return VERDICT_ERROR;
}

enum verdict
condition_check(const struct suite_test *test, char reason[CONDITION_REASON])
{
    static enum verdict (*const checks[])(const struct suite_test *test, char *reason) = {
        check_machine, check_kernel, check_disabled, check_files, check_image,
    };
    enum verdict verdict = VERDICT_PASS;

    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]) && verdict == VERDICT_PASS; i++)
        verdict = checks[i](test, reason);
    return verdict;
}

/* The words that a shell's printf has put a NUL behind. */
static char **
take_words(struct arena *arena, const char *text, size_t length)
{
    char **words = arena_alloc(arena, (length + 1) * sizeof(*words));
    size_t n = 0;

    for (const char *word = text; words != NULL && word < text + length; word += strlen(word) + 1)
        words[n++] = arena_strndup(arena, word, strlen(word));
    return words;
}

char **
condition_arguments(struct arena *arena, const struct suite_test *test, struct failure *failure)
{
    char output[OUTPUT_MAX];
    const char *command;
    size_t length = 0;
    int status = 0;

    if (strchr(test->arguments, '`') == NULL && strstr(test->arguments, "$(") == NULL)
        return suite_text_words(arena, test->arguments, failure);
    command = arena_printf(arena, "printf '%%s\\0' %s", test->arguments);
    if (command == NULL) {
        failure_set(failure, -ENOMEM, "no memory");
        return NULL;
    }
    if (shell_run(command, output, sizeof(output), &length, &status, failure) != 0)
        return NULL;
    if (status != 0) {
        failure_set(failure, -EINVAL, "the shell cannot make words of %.200s", test->arguments);
        return NULL;
    }
    if (length + 1 == sizeof(output)) {
        failure_set(failure, -E2BIG, "the shell makes too many words of %.200s", test->arguments);
        return NULL;
    }
    return take_words(arena, output, length);
}
