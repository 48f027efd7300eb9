/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's console: bytes to standard output, bytes from standard input.
 *
 * A terminal is used as it is: terminal.h makes it fit for a guest.
 *
 * Who writes byte by byte, as a serial port does, has his bytes collected (console_collect): a line's
 * end or a full buffer writes them, and so does console_flush a delay after the first.  A write of each byte
 * costs system calls and, what is more, wakes up the reader each time.  So does each flush: the delay doubles,
 * up to CONSOLE_DELAY_MAX_NS, as long as more comes during it, and is CONSOLE_DELAY_NS again when nothing did.
 *
 * Output is one thread's at a time.  It may take as long as the reader likes, so its owner holds no
 * lock: `owned` is a lock with an end to the waiting.
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

/* Output that waits for its line's end: how much at most, and how long. */
#define CONSOLE_LINE 256
#define CONSOLE_DELAY_NS UINT64_C(5000000)
#define CONSOLE_DELAY_MAX_NS UINT64_C(40000000)

/* Have console_flush called in so many ns. */
typedef void console_later_fn(void *context, uint64_t ns);

struct console {
    int in;               /* (c) borrowed file descriptors; their flags are never changed, */
    int out;              /* (c) because other processes share them */
    size_t at_once;       /* (c) bytes that `out` takes without waiting when it takes any */
    struct vm_mutex lock; /* console */
    uint8_t buffer[CONSOLE_BUFFER]; /* console: read ahead, [head, tail) */
    unsigned head;                  /* console */
    unsigned tail;                  /* console */
    bool at_end;                    /* console: end of file or error: nothing more to come */

    struct vm_mutex output_lock; /* output */
    struct vm_cond disowned;     /* output */
    bool owned;                  /* output: a thread has the next two */
    uint8_t line[CONSOLE_LINE];  /* own: collected */
    size_t collected;            /* own; read under output when not owned */
    uint64_t total;              /* own, as `collected`: bytes ever collected */
    bool expected;               /* output: console_flush will be called */
    uint64_t expected_at;        /* output: `total` when it was asked for */
    uint64_t delay;              /* output: ns, the next time */
    console_later_fn *later;     /* (c) NULL: none is collected */
    void *later_context;         /* (c) borrowed */
};

void console_init(struct console *console, int in, int out);
void console_fini(struct console *console);

/*
 * Before any output: from now on console_collect collects.  Any thread calls `later`, with `output` held.
 */
void console_set_later(struct console *console, console_later_fn *later, void *context);

/*
 * Write what was collected and then all bytes, waiting as long as it takes.  While nobody takes them,
 * `give_up` is asked every CONSOLE_STOP_POLL_MS at least, and before the first byte; it may sleep (the VM pauses), and true
 * ends the call.  The caller's thread has SIGPIPE blocked.
 * Returns 0; -ECANCELED when given up before the end; -errno of write (-EPIPE).
 */
int console_write(struct console *console, const void *bytes, size_t size,
                  bool (*give_up)(void *context), void *context)
    __attribute__((warn_unused_result));

/* The same in a moment, or now if a line ends or the buffer is full.  As console_write. */
int console_collect(struct console *console, const void *bytes, size_t size,
                    bool (*give_up)(void *context), void *context)
    __attribute__((warn_unused_result));

/*
 * Write what was collected as far as it can be written within `wait_ms`, 0: at once.  What remains is
 * written later.  Where another thread writes that is its affair.
 * Returns 0, or -errno of write: what was collected is gone.
 */
int console_flush(struct console *console, int wait_ms) __attribute__((warn_unused_result));

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
