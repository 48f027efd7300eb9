/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The report of a test image: counters and the test that runs.
 */
#include "guest/lib/test.h"

#include "guest/lib/console.h"

#include <stdarg.h>
#include <stddef.h>

static unsigned test_npassed;
static unsigned test_nfailed;
static unsigned test_nskipped;
static const char *test_name;
static const char *test_reason; /* skipped because */
static bool test_has_failed;
static char test_note_text[160];

void
test_begin(const char *name)
{
    test_name = name;
    test_reason = NULL;
    test_has_failed = false;
    test_note_text[0] = '\0';
}

bool
test_expect(bool holds, const char *file, int line, const char *condition, const char *format, ...)
{
    va_list args;

    if (holds || test_has_failed)
        return holds;
    test_has_failed = true;
    console_printf("FAIL %s: %s:%d: %s: ", test_name, file, line, condition);
    va_start(args, format);
    console_vprintf(format, args);
    va_end(args);
    console_printf("\n");
    return false;
}

void
test_skip(const char *reason)
{
    test_reason = reason;
}

void
test_note(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    console_format_to(test_note_text, sizeof(test_note_text), format, args);
    va_end(args);
}

void
test_end(void)
{
    if (test_has_failed) {
        test_nfailed++;
    } else if (test_reason != NULL) {
        test_nskipped++;
        console_printf("SKIP %s: %s\n", test_name, test_reason);
    } else {
        test_npassed++;
        console_printf(test_note_text[0] != '\0' ? "PASS %s (%s)\n" : "PASS %s%s\n", test_name,
                       test_note_text);
    }
}

int
test_summary(void)
{
    console_printf("%u passed, %u failed", test_npassed, test_nfailed);
    if (test_nskipped > 0)
        console_printf(", %u skipped", test_nskipped);
    console_printf("\n");
    if (test_nfailed > 0)
        return TEST_STATUS_FAILED;
    return test_npassed > 0 ? TEST_STATUS_OK : TEST_STATUS_SKIPPED;
}
