/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's console: bytes to standard output, bytes from standard input.
 *
 * A terminal is used as it is: terminal.h makes it fit for a guest.
 */
#ifndef CONSOLE_H
#define CONSOLE_H

#include "vmm/vpagetable/vm_lock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CONSOLE_BUFFER 256

struct console {
    int in;               /* (c) borrowed file descriptors; their flags are never changed, */
    int out;              /* (c) because other processes share them */
    struct vm_mutex lock; /* console */
    uint8_t buffer[CONSOLE_BUFFER]; /* console: read ahead, [head, tail) */
    unsigned head;                  /* console */
    unsigned tail;                  /* console */
    bool at_end;                    /* console: end of file or error: nothing more to come */
};

void console_init(struct console *console, int in, int out);
void console_fini(struct console *console);

/*
 * Write all bytes, waiting as long as it takes.  While nobody takes them, `give_up` is asked every
 * CONSOLE_STOP_POLL_MS at least, and before the first byte; it may sleep (the VM pauses), and true
 * ends the call.  The caller's thread has SIGPIPE blocked.
 * Returns 0; -ECANCELED when given up before the end; -errno of write (-EPIPE).
 */
int console_write(struct console *console, const void *bytes, size_t size,
                  bool (*give_up)(void *context), void *context)
    __attribute__((warn_unused_result));

/*
 * Take up to `size` bytes of input, never waiting.  The caller's thread has SIGTTIN blocked: a
 * terminal that another process has in its foreground has no input for us.
 * Returns how many; 0 when there are none now; -ENODATA when there never will be.
 */
ssize_t console_take(struct console *console, void *to, size_t size)
    __attribute__((warn_unused_result));

/* The next byte of input, or 0xFF when there is none now.  As console_take. */
uint8_t console_read(struct console *console);

#endif
