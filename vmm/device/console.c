/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's console.
 */
#include "vmm/device/console.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

/* While output is stuck, ask `give_up` this often. */
#define CONSOLE_STOP_POLL_MS 50

void
console_init(struct console *console, int in, int out)
{
    *console = (struct console){ .in = in, .out = out };
    vm_mutex_init(&console->lock);
}

void
console_fini(struct console *console)
{
    vm_mutex_fini(&console->lock);
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

int
console_write(struct console *console, const void *bytes, size_t size,
              bool (*give_up)(void *context), void *context)
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
