/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The terminal that the guest's console stands on, made "raw-ish" while a VM runs: no line editing,
 * no echo, but Ctrl-C and Ctrl-Z stay signals; or raw: they are keys like all others, of which an
 * escape key leads out (escape.h).  What is written is treated as before.
 *
 * It is ours only while this process is in its foreground; in the background its modes are
 * somebody else's, and neither taking nor restoring touches them.  The caller's thread blocks
 * SIGTTOU, so that a change of foreground in between does not stop the process.
 *
 * Whatever ends the process restores it, SIGKILL excepted: terminal_guard catches what is raised
 * by a fault (SIGSEGV and the like, SIGABRT) in any thread; the other signals are received by
 * the VM's event loop.
 */
#ifndef TERMINAL_H
#define TERMINAL_H

#include <stdbool.h>
#include <termios.h>

struct terminal {
    int fd;               /* (c) borrowed */
    bool all_keys;        /* (c) raw: no key makes a signal */
    bool taken;           /* the modes are ours */
    struct termios saved; /* while taken: what to restore */
    struct termios raw;   /* while taken: what we made of it */
};

/* `fd` need not be a terminal: then nothing is ever done.  all_keys: raw, not raw-ish. */
void terminal_init(struct terminal *terminal, int fd, bool all_keys);

/*
 * Make the terminal raw-ish, if this process is in its foreground and no other struct terminal of
 * it has it; again, if somebody has changed the modes since.
 * Returns whether it is taken, or never can be: false means that it is worth another look later.
 */
bool terminal_take(struct terminal *terminal);

/* Undo terminal_take, unless we are in the background; does nothing when nothing is to undo. */
void terminal_restore(struct terminal *terminal);

/*
 * From now on a fault or abort() of the process restores the terminal that is taken then, before
 * the process ends as it would have.  Signals that have a handler already keep it.
 */
void terminal_guard(void);

/* As terminal_restore, of the terminal that is taken, whoever has it.  In a signal handler. */
void terminal_restore_now(void);

/*
 * A descriptor of its own for what vkvm itself has to say on the terminal of descriptor `fd`; a
 * write to it never waits.  Owns: the caller closes it.
 * Returns it, or -errno: -ENOTTY when fd is no terminal.
 */
int terminal_open_output(int fd) __attribute__((warn_unused_result));

#endif
