/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The escape key: one byte of state.
 */
#include "vmm/device/escape.h"

#include <ctype.h>
#include <stdio.h>

void
escape_init(struct escape *escape, uint8_t key)
{
    *escape = (struct escape){ .key = key };
}

/* A byte that is the guest's. */
static enum escape_action
pass(struct escape *escape, uint8_t byte)
{
    escape->nctrl_c = byte == ESCAPE_CTRL_C ? escape->nctrl_c + 1 : 0;
    return escape->key != ESCAPE_NONE && escape->nctrl_c == ESCAPE_CTRL_C_MANY ? ESCAPE_HINT
                                                                               : ESCAPE_BYTE;
}

enum escape_action
escape_take(struct escape *escape, uint8_t byte)
{
    bool second = escape->pressed;

    if (escape->key == ESCAPE_NONE || (!second && byte != escape->key))
        return pass(escape, byte);
    escape->pressed = !second;
    escape->nctrl_c = 0;
    if (!second)
        return ESCAPE_WAIT;
    if (byte == escape->key)
        return ESCAPE_BYTE;
    switch (byte) {
    case 'x':
        return ESCAPE_END;
    case 'c':
        return ESCAPE_MONITOR;
    case 'z':
        return ESCAPE_STOP;
    default:
        return ESCAPE_HELP;
    }
}

const char *
escape_name(uint8_t key, char name[8])
{
    snprintf(name, 8, "Ctrl-%c", tolower((key & 0x1f) | 0x40));
    return name;
}
