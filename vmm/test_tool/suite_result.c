/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Results grow as a console is read, so a guest decides how many subtests there are and what they are
 * called: their number has a bound, names are found by a hash of theirs, and text is made printable here.
 */
#include "vmm/test_tool/suite_result.h"

#include "vmm/base/utf8.h"
#include "vmm/test_tool/suite.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REASON_MAX 1024

/* From the best to the worst. */
static const unsigned char rank[VERDICTS] = {
    [VERDICT_PASS] = 0, [VERDICT_XFAIL] = 0, [VERDICT_SKIP] = 1,
    [VERDICT_FAIL] = 2, [VERDICT_ERROR] = 3,
};

/* --- Text ------------------------------------------------------------------ */

/* `text` on one line of at most `max` bytes, what is no text replaced.  NULL: no memory. */
static char *
printable(const char *text, size_t max)
{
    static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
    char *line = malloc(max + 4);
    size_t n = 0;

    if (line == NULL)
        return NULL;
    while (*text != '\0' && n < max) {
        unsigned length = utf8_length(text);
        unsigned char c = (unsigned char)*text;
        bool control =
            c < 0x20 || c == 0x7f || (length == 2 && c == 0xc2 && (unsigned char)text[1] < 0xa0);

        if (length == 0 || control) {
            if (n + sizeof(replacement) - 1 > max)
                break;
            memcpy(line + n, replacement, sizeof(replacement) - 1);
            n += sizeof(replacement) - 1;
            text += length == 0 ? 1 : length;
            continue;
        }
        if (n + length > max)
            break;
        memcpy(line + n, text, length);
        n += length;
        text += length;
    }
    line[n] = '\0';
    return line;
}

/* --- Names ----------------------------------------------------------------- */

/*
 * The names that a result has, by an open hash: a slot is a subtest's number + 1, or 0.  It is at most
 * half full.
 */
struct result_names {
    size_t nslots; /* a power of two */
    uint32_t *slots;
};

/* FNV-1a. */
static uint64_t
hash_name(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (const unsigned char *p = (const unsigned char *)name; *p != '\0'; p++)
        hash = (hash ^ *p) * 0x100000001b3u;
    return hash;
}

/* The slot where the name is, or would be. */
static uint32_t *
find_slot(const struct test_result *result, const struct result_names *names, const char *name)
{
    size_t mask = names->nslots - 1;
    size_t i = hash_name(name) & mask;

    while (names->slots[i] != 0 && strcmp(result->subtests[names->slots[i] - 1].name, name) != 0)
        i = (i + 1) & mask;
    return &names->slots[i];
}

/* Returns 0, or -ENOMEM. */
static int
grow(struct test_result *result)
{
    struct result_names *old = result->names;
    size_t nslots = old == NULL ? 64 : old->nslots * 2;
    struct result_names *names = calloc(1, sizeof(*names));
    struct subtest *subtests = reallocarray(result->subtests, nslots / 2, sizeof(*subtests));

    if (subtests != NULL)
        result->subtests = subtests;
    if (names != NULL)
        names->slots = calloc(nslots, sizeof(*names->slots));
    if (subtests == NULL || names == NULL || names->slots == NULL) {
        free(names != NULL ? names->slots : NULL);
        free(names);
        return -ENOMEM;
    }
    names->nslots = nslots;
    for (size_t i = 0; i < result->nsubtests; i++)
        *find_slot(result, names, subtests[i].name) = (uint32_t)i + 1;
    if (old != NULL)
        free(old->slots);
    free(old);
    result->names = names;
    return 0;
}

/*
 * Make the name unique: "x", "x #2", ...  The first subtest of a name counts how often it came, so the
 * number is found at once unless the guest prints such numbers itself.
 */
static uint32_t *
unique_slot(struct test_result *result, char **name)
{
    uint32_t *slot = find_slot(result, result->names, *name);
    char *other;

    while (*slot != 0) {
        if (asprintf(&other, "%.*s #%u", RESULT_NAME_MAX - 16, *name,
                     ++result->subtests[*slot - 1].times) < 0)
            return NULL;
        slot = find_slot(result, result->names, other);
        if (*slot == 0) {
            free(*name);
            *name = other;
            return slot;
        }
        free(other);
        slot = find_slot(result, result->names, *name);
    }
    return slot;
}

/* --- Results --------------------------------------------------------------- */

void
test_result_set(struct test_result *result, enum verdict verdict, const char *format, ...)
{
    char text[REASON_MAX];
    va_list arguments;

    if (rank[verdict] < rank[result->verdict] ||
        (rank[verdict] == rank[result->verdict] && result->reason != NULL))
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    free(result->reason);
    result->reason = printable(text, REASON_MAX);
    result->verdict = verdict;
}

/* Takes `name` and `reason`.  Returns 0, or -ENOMEM. */
static int
add(struct test_result *result, char *name, enum verdict verdict, char *reason)
{
    uint32_t *slot;

    if ((result->names == NULL || result->nsubtests >= result->names->nslots / 2) &&
        grow(result) != 0)
        return -ENOMEM;
    slot = unique_slot(result, &name);
    if (slot == NULL)
        return -ENOMEM;
    result->subtests[result->nsubtests] =
        (struct subtest){ .name = name, .verdict = verdict, .reason = reason, .times = 1 };
    *slot = (uint32_t)++result->nsubtests;
    return 0;
}

void
test_result_add(struct test_result *result, const char *name, enum verdict verdict,
                const char *reason)
{
    char *name_copy, *reason_copy = NULL;

    if (rank[verdict] >= rank[VERDICT_FAIL])
        test_result_set(result, VERDICT_FAIL, "%s%s%s", name, reason != NULL ? ": " : "",
                        reason != NULL ? reason : "");
    if (result->nsubtests >= RESULT_SUBTESTS_MAX) {
        result->subtests_left_out++;
        return;
    }
    name_copy = printable(name, RESULT_NAME_MAX);
    if (reason != NULL)
        reason_copy = printable(reason, REASON_MAX);
    if (name_copy == NULL || (reason != NULL && reason_copy == NULL) ||
        add(result, name_copy, verdict, reason_copy) != 0) {
        free(name_copy);
        free(reason_copy);
        result->subtests_left_out++;
        test_result_set(result, VERDICT_ERROR, "no memory for its results");
    }
}

void
test_result_fini(struct test_result *result)
{
    for (size_t i = 0; i < result->nsubtests; i++) {
        free(result->subtests[i].name);
        free(result->subtests[i].reason);
    }
    for (size_t i = 0; i < result->nattempts; i++)
        free(result->attempts[i].reason);
    if (result->names != NULL)
        free(result->names->slots);
    free(result->names);
    free(result->subtests);
    free(result->attempts);
    free(result->name);
    free(result->reason);
    free(result->console);
    free(result->stats);
    free(result->trace);
    free(result->tail);
    *result = (struct test_result){ .verdict = VERDICT_PASS };
}

const char *
verdict_name(enum verdict verdict)
{
    static const char *const names[VERDICTS] = {
        [VERDICT_PASS] = "PASS", [VERDICT_FAIL] = "FAIL",   [VERDICT_ERROR] = "ERROR",
        [VERDICT_SKIP] = "SKIP", [VERDICT_XFAIL] = "XFAIL",
    };

    return names[verdict];
}
