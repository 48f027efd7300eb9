/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keys of a terminal on standard input: the escape key's commands are carried out, the rest
 * goes to the guest.  A client of the event loop, and only of its thread.
 *
 *     terminal -> escape.h -+-> a pipe, which is the console's input from then on
 *                           +-> a line for the monitor, while that has the keyboard
 *                           +-> the end of the VM, a stop of the process
 *
 * The pipe is all that the console's users know of this: they take input as from any other.  Keys
 * that do not fit into it, because the guest takes none, are lost; that is said once.
 *
 * Without an escape key, and where standard input is no terminal, nothing is done: the console
 * reads standard input itself.
 */
#ifndef VM_KEYS_H
#define VM_KEYS_H

#include "vmm/device/escape.h"
#include "vmm/device/terminal.h"
#include "vmm/vm/screen.h"

#include <stdbool.h>

#define VM_KEYS_LINE 256

struct vm;

struct vm_keys {
    struct vm *vm;               /* (c) borrowed; NULL = nothing is done */
    struct terminal *terminal;   /* (c) borrowed */
    struct event_loop *loop;     /* (c) borrowed */
    struct event_source *source; /* the terminal's; NULL = not ours to read, or at its end */
    bool at_end;                 /* the terminal is gone */
    bool told_lost;              /* it was said that keys are lost */
    bool monitor;                /* the monitor has the keyboard */
    int guest_fd;   /* (c) owned: where the guest's keys go; -1 = the guest sees the end */
    int console_fd; /* (c) owned: ... and come from; -1 = none */
    struct escape escape;
    struct screen screen;
    size_t length; /* of the monitor's line */
    char line[VM_KEYS_LINE];
};

/* Will there be anything to do for this VM?  Then its terminal is to be raw. */
bool vm_keys_wanted(const struct vm *vm, int fd);

/*
 * Put the pipe in the place of the console's input, before anything of the VM runs.
 * Returns 0 or -errno; either way end it with vm_keys_fini, before the loop is destroyed.
 */
int vm_keys_init(struct vm_keys *keys, struct vm *vm, struct terminal *terminal,
                 struct event_loop *loop) __attribute__((warn_unused_result));

/* Whether the terminal is ours may have changed: read it, or leave it alone. */
void vm_keys_look(struct vm_keys *keys);

/* No vCPU runs any more: the console has its own input again. */
void vm_keys_fini(struct vm_keys *keys);

#endif
