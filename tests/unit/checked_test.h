/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tests whose teardown checks something.  Criterion calls a test passed before
 * it runs .fini, so an assertion that fails there changes nothing.  A checked
 * test runs its suite's setup and teardown, called <suite>_setup and
 * <suite>_teardown, as part of itself:
 *
 *     CHECKED_TEST(vm_page, a_page_is_a_page) { ... }
 */
#ifndef CHECKED_TEST_H
#define CHECKED_TEST_H

#include <criterion/criterion.h>

#define CHECKED_TEST(suite, name, ...)       \
    static void suite##_##name##_body(void); \
    Test(suite, name, ##__VA_ARGS__)         \
    {                                        \
        suite##_setup();                     \
        suite##_##name##_body();             \
        suite##_teardown();                  \
    }                                        \
    static void suite##_##name##_body(void)

#endif
