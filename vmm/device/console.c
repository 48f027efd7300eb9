/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's console.
 */
#include "vmm/device/console.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* While output is stuck, ask `give_up` this often. */
#define CONSOLE_STOP_POLL_MS 50

/* A pipe that is ready has a page for us.  A terminal may have room for one byte and not for two. */
static size_t
at_once(int fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode) ? PIPE_BUF : 1;
}

void
console_init(struct console *console, int in, int out)
{
    *console = (struct console){
        .in = in, .out = out, .at_once = at_once(out), .delay = CONSOLE_DELAY_NS
    };
    vm_mutex_init(&console->lock);
    vm_mutex_init(&console->output_lock);
    vm_cond_init(&console->disowned);
}

void
console_fini(struct console *console)
{
    vm_cond_fini(&console->disowned);
    vm_mutex_fini(&console->output_lock);
    vm_mutex_fini(&console->lock);
}

void
console_set_later(struct console *console, console_later_fn *later, void *context)
{
    console->later = later;
    console->later_context = context;
}

/* --- output ----------------------------------------------------------------- */

/* Returns false when given up. */
static bool
own_output(struct console *console, bool (*give_up)(void *context), void *context)
{
    bool done = false;

    while (!done) {
        if (give_up(context))
            return false;
        vm_mutex_lock(&console->output_lock);
        if (console->owned)
            vm_cond_wait_for(&console->disowned, &console->output_lock,
                             CONSOLE_STOP_POLL_MS * 1000);
        done = !console->owned;
        console->owned = true;
        vm_mutex_unlock(&console->output_lock);
    }
    return true;
}

/* What is left, whether or not a flush found it taken meanwhile, somebody comes for. */
static void
disown_output(struct console *console)
{
    vm_mutex_lock(&console->output_lock);
    console->owned = false;
    vm_cond_broadcast(&console->disowned);
    if (console->collected != 0 && !console->expected) {
        console->expected = true;
        console->expected_at = console->total;
        console->later(console->later_context, console->delay);
    }
    vm_mutex_unlock(&console->output_lock);
}

/* One write, after the descriptor can take something. */
static ssize_t
write_some(int fd, const void *bytes, size_t size)
{
    struct pollfd p = { .fd = fd, .events = POLLOUT };
    ssize_t n;
    int ready;

    ready = poll(&p, 1, CONSOLE_STOP_POLL_MS);
    if (ready <= 0)
        return ready == 0 || errno == EINTR ? 0 : -errno;
    n = write(fd, bytes, size);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN ? 0 : -errno;
    return n;
}

/* Write all, until given up. */
static int
write_all(struct console *console, const void *bytes, size_t size, bool (*give_up)(void *context),
          void *context)
{
    const uint8_t *p = bytes;
    ssize_t n;

    while (size != 0) {
        if (give_up(context))
            return -ECANCELED;
        n = write_some(console->out, p, size);
        if (n < 0)
            return (int)n;
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

/* The output is ours.  What was collected is gone, written or not. */
static int
write_collected(struct console *console, bool (*give_up)(void *context), void *context)
{
    size_t size = console->collected;

    console->collected = 0;
    return write_all(console, console->line, size, give_up, context);
}

int
console_write(struct console *console, const void *bytes, size_t size,
              bool (*give_up)(void *context), void *context)
{
    int error;

    if (!own_output(console, give_up, context))
        return -ECANCELED;
    error = write_collected(console, give_up, context);
    if (error == 0)
        error = write_all(console, bytes, size, give_up, context);
    disown_output(console);
    return error;
}

int
console_collect(struct console *console, const void *bytes, size_t size,
                bool (*give_up)(void *context), void *context)
{
    const uint8_t *p = bytes;
    int error = 0;

    if (console->later == NULL)
        return console_write(console, bytes, size, give_up, context);
    if (!own_output(console, give_up, context))
        return -ECANCELED;
    for (size_t i = 0; i < size && error == 0; i++) {
        console->line[console->collected++] = p[i];
        console->total++;
        if (p[i] == '\n' || console->collected == CONSOLE_LINE)
            error = write_collected(console, give_up, context);
    }
    disown_output(console);
    return error;
}

/* Write what can be written without waiting longer than that. */
static int
write_ready(struct console *console, int wait_ms)
{
    struct pollfd p = { .fd = console->out, .events = POLLOUT };
    size_t done = 0, left;
    ssize_t n = 1;

    while (done < console->collected && n > 0 && poll(&p, 1, wait_ms) > 0) {
        left = console->collected - done;
        n = write(console->out, &console->line[done],
                  left < console->at_once ? left : console->at_once);
        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            console->collected = 0;
            return -errno;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    console->collected -= done;
    memmove(console->line, console->line + done, console->collected);
    return 0;
}

/* How long to wait the next time.  Locked: `output`; not owned. */
static void
adapt_delay(struct console *console)
{
    uint64_t more = 2 * console->delay;

    if (console->total == console->expected_at)
        console->delay = CONSOLE_DELAY_NS;
    else
        console->delay = more < CONSOLE_DELAY_MAX_NS ? more : CONSOLE_DELAY_MAX_NS;
}

int
console_flush(struct console *console, int wait_ms)
{
    bool ours;
    int error;

    vm_mutex_lock(&console->output_lock);
    console->expected = false;
    ours = !console->owned;
    if (ours)
        adapt_delay(console);
    console->owned = true;
    vm_mutex_unlock(&console->output_lock);
    if (!ours)
        return 0;
    error = write_ready(console, wait_ms);
    disown_output(console);
    return error;
}

/* --- input ------------------------------------------------------------------ */

/* Did a read fail because the terminal is somebody else's, who may give it to us yet? */
static bool
in_background(const struct console *console, int error)
{
    return error == EIO && isatty(console->in) && tcgetpgrp(console->in) != getpgrp();
}

/* Fill the empty buffer with what is there. */
static void
read_ahead(struct console *console)
{
    struct pollfd p = { .fd = console->in, .events = POLLIN };
    ssize_t n;

    if (console->at_end || poll(&p, 1, 0) <= 0)
        return;
    n = read(console->in, console->buffer, sizeof(console->buffer));
    if (n < 0 && (errno == EINTR || errno == EAGAIN || in_background(console, errno)))
        return;
    console->at_end = n <= 0;
    console->head = 0;
    console->tail = n > 0 ? (unsigned)n : 0;
}

/* Locked: console->lock. */
static size_t
take_buffered(struct console *console, uint8_t *to, size_t size)
{
    size_t there;

    if (console->head == console->tail)
        read_ahead(console);
    there = console->tail - console->head;
    if (size > there)
        size = there;
    memcpy(to, console->buffer + console->head, size);
    console->head += (unsigned)size;
    return size;
}

ssize_t
console_take(struct console *console, void *to, size_t size)
{
    size_t done = 0, n;
    bool at_end;

    vm_mutex_lock(&console->lock);
    do {
        n = take_buffered(console, (uint8_t *)to + done, size - done);
        done += n;
    } while (n != 0 && done < size);
    at_end = size != 0 && console->at_end;
    vm_mutex_unlock(&console->lock);
    return done == 0 && at_end ? -ENODATA : (ssize_t)done;
}

uint8_t
console_read(struct console *console)
{
    uint8_t byte = 0xFF;

    (void)!console_take(console, &byte, 1);
    return byte;
}
