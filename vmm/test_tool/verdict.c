/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Three conventions of exit statuses meet here.  vkvm's own kind of guest, and a program, ends with 0
 * for a pass and 77 for what cannot be tested.  A guest that writes a code to port 0xf4, as kvm-unit-tests'
 * do, ends with (code << 1) | 1: 0 is a pass, 38 a skip, 63 an abort.  Everything else is vkvm run's own
 * (docs/vkvm.1); its report says which of them it was.
 */
#include "vmm/test_tool/verdict.h"

#include "vmm/base/file.h"
#include "vmm/cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define OWN_MESSAGE "vkvm: "
#define SKIPPED 77     /* of a program, and of code 38 at the port */
#define PORT_PASS 1    /* code 0 */
#define PORT_ABORT 127 /* code 63 */
#define STATS_MAX (256u << 10)

/* --- Lines ----------------------------------------------------------------- */

int
verdict_begin(struct verdict_watch *watch, const struct suite_test *test,
              struct test_result *result)
{
    *watch = (struct verdict_watch){ .test = test, .result = result };
    if (test->output != NULL &&
        regcomp(&watch->output, test->output, REG_EXTENDED | REG_NOSUB) != 0)
        return -ENOMEM; /* it was tried when the suite was read */
    return 0;
}

void
verdict_end(struct verdict_watch *watch)
{
    if (watch->test->output != NULL)
        regfree(&watch->output);
}

/* "name" of "name (remark)": what is in brackets may differ from run to run. */
static void
cut_remark(char *name)
{
    size_t length = strlen(name);
    char *open;

    if (length == 0 || name[length - 1] != ')')
        return;
    open = strrchr(name, '(');
    if (open != NULL && open > name && open[-1] == ' ')
        open[-1] = '\0';
}

/* "PASS: name" is kvm-unit-tests', whose names may have colons; "PASS name: reason" is ours. */
static void
add_subtest(struct test_result *result, enum verdict verdict, const char *text)
{
    bool foreign = *text == ':';
    char name[TRANSCRIPT_LINE_MAX + 1];
    const char *reason = NULL;
    char *colon;

    text += foreign;
    while (*text == ' ' || *text == '\t')
        text++;
    snprintf(name, sizeof(name), "%s", text);
    colon = foreign ? NULL : strstr(name, ": ");
    if (colon != NULL) {
        *colon = '\0';
        reason = colon + 2;
    } else if (!foreign && verdict == VERDICT_PASS) {
        cut_remark(name);
    }
    if (*name != '\0')
        test_result_add(result, name, verdict, verdict == VERDICT_PASS ? NULL : reason);
}

void
verdict_line(void *watching, const char *line)
{
    static const enum verdict verdicts[] = { VERDICT_PASS, VERDICT_FAIL, VERDICT_SKIP,
                                             VERDICT_XFAIL };
    struct verdict_watch *watch = watching;

    if (strncmp(line, OWN_MESSAGE, strlen(OWN_MESSAGE)) == 0)
        snprintf(watch->message, sizeof(watch->message), "%s", line + strlen(OWN_MESSAGE));
    if (watch->test->output != NULL && regexec(&watch->output, line, 0, NULL, 0) == 0)
        watch->matched = true;
    for (size_t i = 0; i < COUNT(verdicts); i++) {
        const char *word = verdict_name(verdicts[i]);
        size_t length = strlen(word);

        if (strncmp(line, word, length) == 0 &&
            (line[length] == ':' || line[length] == ' ' || line[length] == '\t'))
            add_subtest(watch->result, verdicts[i], line + length);
    }
}

/* --- Ends ------------------------------------------------------------------ */

/* The report, or "". */
static char *
read_stats(const char *path)
{
    struct failure failure;
    uint64_t size;
    char *text = calloc(1, STATS_MAX + 1);
    int fd = -1;

    if (text != NULL && path != NULL && file_open(path, O_RDONLY, &fd, &size, &failure) == 0) {
        if (size > STATS_MAX || file_read_at(fd, text, size, 0) != 0)
            text[0] = '\0';
        close(fd);
    }
    return text;
}

/* Is this how the run ended?  The report is vkvm's own, one line without blanks. */
static bool
says(const char *stats, const char *key, const char *value)
{
    char member[64];

    snprintf(member, sizeof(member), "\"%s\":\"%s", key, value);
    return stats != NULL && strstr(stats, member) != NULL;
}

static const char *
message_or(const struct verdict_watch *watch, const char *otherwise)
{
    return watch->message[0] != '\0' ? watch->message : otherwise;
}

/* The guest, or a program, ended by itself. */
static void
judge_status(struct verdict_watch *watch, int status, bool port)
{
    struct test_result *result = watch->result;
    int pass = port ? PORT_PASS : 0;

    if (status == SKIPPED)
        test_result_set(result, VERDICT_SKIP, "it cannot be tested here");
    else if (port && status == PORT_ABORT)
        test_result_set(result, VERDICT_ERROR, "the guest gave up");
    else if (status != pass && port)
        test_result_set(result, VERDICT_FAIL, "the guest ended with code %d", status >> 1);
    else if (status != pass)
        test_result_set(result, VERDICT_FAIL, "exit status %d", status);
}

/* A configuration that says how the run must end. */
static void
judge_expected(struct verdict_watch *watch, int status, bool guest)
{
    int expected = watch->test->exit_status;

    if (status == expected)
        return;
    if (guest && status == SKIPPED)
        test_result_set(watch->result, VERDICT_SKIP, "it cannot be tested here");
    else
        test_result_set(watch->result, guest ? VERDICT_FAIL : VERDICT_ERROR,
                        "exit status %d, expected %d%s%s", status, expected,
                        watch->message[0] != '\0' ? ": " : "", watch->message);
}

/* vkvm itself, or what it ran on, failed. */
static void
judge_crash(struct verdict_watch *watch, int status)
{
    if (status > CLI_SIGNAL_BASE)
        test_result_set(watch->result, VERDICT_ERROR, "%s", message_or(watch, "ended by a signal"));
    else
        test_result_set(watch->result, VERDICT_ERROR, "exit status %d: %s", status,
                        message_or(watch, "it says nothing"));
}

static void
judge_vkvm(struct verdict_watch *watch, const struct verdict_ending *ending)
{
    char *stats = read_stats(ending->stats);
    bool guest = says(stats, "end", "guest");

    if (watch->test->exit_status >= 0)
        judge_expected(watch, ending->status, guest);
    else if (guest)
        judge_status(watch, ending->status, says(stats, "message", "ended by port 0xf4"));
    else
        judge_crash(watch, ending->status);
    free(stats);
}

/* The first reason of a subtest that was skipped. */
static const char *
skip_reason(const struct test_result *result)
{
    for (size_t i = 0; i < result->nsubtests; i++) {
        const struct subtest *subtest = &result->subtests[i];

        if (subtest->verdict == VERDICT_SKIP)
            return subtest->reason != NULL ? subtest->reason : subtest->name;
    }
    return NULL;
}

/* Its own words say more than "it cannot be tested here". */
static void
explain_skip(struct test_result *result)
{
    const char *why = result->verdict == VERDICT_SKIP ? skip_reason(result) : NULL;
    char *copy = why != NULL ? strdup(why) : NULL;

    if (copy != NULL) {
        free(result->reason);
        result->reason = copy;
    }
}

static bool
is_timeout(const struct verdict_watch *watch, const struct verdict_ending *ending)
{
    if (ending->overdue)
        return true;
    return !watch->test->program && ending->status == CLI_TIMEOUT &&
           watch->test->exit_status != CLI_TIMEOUT;
}

void
verdict_judge(struct verdict_watch *watch, const struct verdict_ending *ending)
{
    struct test_result *result = watch->result;

    result->exit_status = ending->status;
    if (is_timeout(watch, ending))
        test_result_set(result, VERDICT_ERROR, "not done after %u.%03u s",
                        ending->timeout_ms / 1000, ending->timeout_ms % 1000);
    else if (!watch->test->program)
        judge_vkvm(watch, ending);
    else if (ending->status > CLI_SIGNAL_BASE)
        judge_crash(watch, ending->status);
    else if (watch->test->exit_status >= 0)
        judge_expected(watch, ending->status, true);
    else
        judge_status(watch, ending->status, false);
    if (result->verdict == VERDICT_PASS && watch->test->output != NULL && !watch->matched)
        test_result_set(result, VERDICT_FAIL, "no line matches: %s", watch->test->output);
    explain_skip(result);
}
