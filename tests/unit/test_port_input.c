/* SPDX-License-Identifier: BSD-2-Clause */
/* Input that was read from a port and not stored is read again, in order. */
#include "vmm/vm/port_input.h"

#include <criterion/criterion.h>
#include <string.h>

Test(port_input, nothing_is_kept_at_first)
{
    struct port_input input = { 0 };
    char to[4];

    cr_assert_eq(port_input_take(&input, 0, to, sizeof(to)), 0);
    cr_assert_eq(port_input_take(&input, 0xe9, to, sizeof(to)), 0);
}

Test(port_input, what_was_given_back_is_taken_first_and_once)
{
    struct port_input input = { 0 };
    char to[8];

    port_input_give_back(&input, 0xe9, "abc", 3);
    cr_assert_eq(port_input_take(&input, 0xe9, to, 2), 2);
    cr_assert_arr_eq(to, "ab", 2);
    cr_assert_eq(port_input_take(&input, 0xe9, to, sizeof(to)), 1);
    cr_assert_eq(to[0], 'c');
    cr_assert_eq(port_input_take(&input, 0xe9, to, sizeof(to)), 0);
}

Test(port_input, what_is_given_back_again_comes_before_what_was_left)
{
    struct port_input input = { 0 };
    char to[8];

    port_input_give_back(&input, 0xe9, "abcdef", 6);
    cr_assert_eq(port_input_take(&input, 0xe9, to, 4), 4);
    port_input_give_back(&input, 0xe9, to + 1, 3);
    cr_assert_eq(port_input_take(&input, 0xe9, to, sizeof(to)), 5);
    cr_assert_arr_eq(to, "bcdef", 5);
    /* Of a read that the device completed, all from the first byte given back on. */
    memcpy(to + 5, "gh", 2);
    port_input_give_back(&input, 0xe9, to + 4, 3);
    cr_assert_eq(port_input_take(&input, 0xe9, to, sizeof(to)), 3);
    cr_assert_arr_eq(to, "fgh", 3);
}

Test(port_input, another_port_does_not_get_it)
{
    struct port_input input = { 0 };
    char to[8];

    port_input_give_back(&input, 0xe9, "abc", 3);
    cr_assert_eq(port_input_take(&input, 0x60, to, sizeof(to)), 0);
    cr_assert_eq(port_input_take(&input, 0xe9, to, sizeof(to)), 3);
    port_input_give_back(&input, 0x60, "x", 1);
    cr_assert_eq(port_input_take(&input, 0x60, to, sizeof(to)), 1);
}

Test(port_input, a_whole_page_fits)
{
    static struct port_input input;
    static char from[PORT_INPUT_MAX], to[PORT_INPUT_MAX];

    memset(from, 7, sizeof(from));
    port_input_give_back(&input, 0xe9, from, sizeof(from));
    cr_assert_eq(port_input_take(&input, 0xe9, to, sizeof(to)), sizeof(to));
    cr_assert_arr_eq(from, to, sizeof(to));
}
