/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The report of a test image.  On vCPU 0 (or one vCPU at a time), ring 0 or 3:
 *
 *     int guest_main(void)
 *     {
 *         test_begin("a write sets M");
 *         EXPECT(vpte & VKVM_VPTE_M, "vpte 0x%lx", vpte);
 *         test_end();
 *         return test_summary();
 *     }
 *
 * prints "PASS a write sets M", or
 *
 *     FAIL a write sets M: guest/tests/am/am.c:12: vpte & VKVM_VPTE_M: vpte 0x1d
 *
 * with the first failure of the test, and at the end "1 passed, 0 failed" (and
 * ", 1 skipped" if there are any).
 */
#ifndef GUEST_TEST_H
#define GUEST_TEST_H

#include <stdbool.h>

#define TEST_STATUS_OK 0
#define TEST_STATUS_FAILED 1
#define TEST_STATUS_SKIPPED 77 /* nothing failed, but nothing passed either */

/* A test starts; `name`, a sentence, must live until test_end. */
void test_begin(const char *name);

/*
 * EXPECT(condition, format, ...): the running test fails unless it holds.  Only the first
 * failure of a test is printed; the test goes on.  Evaluates to the condition's truth.
 */
#define EXPECT(condition, ...) \
    test_expect((condition) ? true : false, __FILE__, __LINE__, #condition, __VA_ARGS__)

bool test_expect(bool holds, const char *file, int line, const char *condition, const char *format,
                 ...) __attribute__((format(printf, 5, 6)));

/* The running test cannot be done here: "SKIP name: reason" at its end, unless it failed. */
void test_skip(const char *reason);

/* Something to print behind the name in the PASS line, in brackets; the last one counts. */
void test_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The running test ends: print its line, unless FAIL was printed already. */
void test_end(void);

/* Print the closing line; returns the status to exit with. */
int test_summary(void);

#endif
