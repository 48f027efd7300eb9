/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The escape key: what is the guest's, and what is not.
 */
#include "vmm/device/escape.h"

#include <criterion/criterion.h>
#include <string.h>

#define KEY 0x01

/* The actions of the bytes, a letter each; the bytes for the guest go to `guest`. */
static const char *
actions_of(uint8_t key, const char *bytes, char guest[32])
{
    static char actions[32];
    struct escape escape;
    size_t n = 0;

    escape_init(&escape, key);
    memset(actions, 0, sizeof(actions));
    memset(guest, 0, 32);
    for (size_t i = 0; bytes[i] != '\0'; i++) {
        enum escape_action action = escape_take(&escape, (uint8_t)bytes[i]);

        actions[i] = "bwxczh!"[action];
        if (action == ESCAPE_BYTE || action == ESCAPE_HINT)
            guest[n++] = bytes[i];
    }
    return actions;
}

Test(escape, without_the_key_every_byte_is_the_guests)
{
    char guest[32];

    cr_assert_str_eq(actions_of(KEY, "xcz\033[A\177", guest), "bbbbbbb");
    cr_assert_str_eq(guest, "xcz\033[A\177");
}

Test(escape, the_key_and_a_letter_are_a_command_and_nothing_of_them_is_the_guests)
{
    char guest[32];

    cr_assert_str_eq(actions_of(KEY, "a\001xb\001cc\001zd\001?e", guest), "bwxbwcbwzbwhb");
    cr_assert_str_eq(guest, "abcde");
}

Test(escape, the_key_twice_is_the_key_once_for_the_guest)
{
    char guest[32];

    cr_assert_str_eq(actions_of(KEY, "\001\001x\001\001\001\001", guest), "wbbwbwb");
    cr_assert_str_eq(guest, "\001x\001\001");
}

Test(escape, another_key_leaves_ctrl_a_to_the_guest)
{
    char guest[32];

    cr_assert_str_eq(actions_of(0x1d, "\001x\035x", guest), "bbwx");
    cr_assert_str_eq(guest, "\001x");
}

Test(escape, with_no_key_every_byte_is_the_guests)
{
    char guest[32];

    cr_assert_str_eq(actions_of(ESCAPE_NONE, "\001x\003\003\003\003", guest), "bbbbbb");
    cr_assert_str_eq(guest, "\001x\003\003\003\003");
}

Test(escape, the_third_ctrl_c_in_a_row_is_worth_a_hint_and_is_the_guests)
{
    char guest[32];

    cr_assert_str_eq(actions_of(KEY, "\003\003a\003\003\003\003", guest), "bbbbb!b");
    cr_assert_str_eq(guest, "\003\003a\003\003\003\003");
}

Test(escape, a_command_between_two_ctrl_c_begins_their_row_anew)
{
    char guest[32];

    cr_assert_str_eq(actions_of(KEY, "\003\003\001h\003", guest), "bbwhb");
}

Test(escape, the_key_is_called_as_people_type_it)
{
    char name[8];

    cr_assert_str_eq(escape_name(0x01, name), "Ctrl-a");
    cr_assert_str_eq(escape_name(0x1d, name), "Ctrl-]");
}
