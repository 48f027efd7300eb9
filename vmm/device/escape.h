/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The escape key: what is typed on a guest's console, parted into what is for the guest and what
 * is for vkvm.  A filter of bytes, whatever their source and wherever they go.
 *
 *     KEY KEY  the key itself, for the guest      KEY c  the monitor, and back from it
 *     KEY x    ends the VM                        KEY z  stops the process, as Ctrl-Z does elsewhere
 *     KEY h    help, as any other byte
 */
#ifndef ESCAPE_H
#define ESCAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A key that no keyboard sends by itself: there is no escape key, everything is for the guest. */
#define ESCAPE_NONE 0

/* Three of these in a row, and somebody may be looking for the way out. */
#define ESCAPE_CTRL_C 0x03
#define ESCAPE_CTRL_C_MANY 3

enum escape_action {
    ESCAPE_BYTE,    /* the byte is the guest's */
    ESCAPE_WAIT,    /* nothing: the key, whose second byte is to come */
    ESCAPE_END,     /* KEY x */
    ESCAPE_MONITOR, /* KEY c */
    ESCAPE_STOP,    /* KEY z */
    ESCAPE_HELP,    /* KEY and anything else */
    ESCAPE_HINT     /* the byte is the guest's, and it is the last of ESCAPE_CTRL_C_MANY Ctrl-C */
};

struct escape {
    uint8_t key;      /* (c) 0x01 .. 0x1f; ESCAPE_NONE */
    bool pressed;     /* its second byte is to come */
    unsigned nctrl_c; /* in a row */
};

void escape_init(struct escape *escape, uint8_t key);

/* What is to be done about the next byte. */
enum escape_action escape_take(struct escape *escape, uint8_t byte);

/* How people call the key: "Ctrl-a".  Returns `name`. */
const char *escape_name(uint8_t key, char name[8]);

#endif
