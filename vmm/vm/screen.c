/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Non-blocking lines for a terminal.
 */
#include "vmm/vm/screen.h"

#include "vmm/device/terminal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void
screen_init(struct screen *screen, struct event_loop *loop, int fd)
{
    screen->loop = loop;
    screen->source = NULL;
    screen->kept = screen->at = 0;
    screen->fd = terminal_open_output(fd);
}

void
screen_fini(struct screen *screen)
{
    event_source_remove(screen->source);
    if (screen->fd >= 0)
        close(screen->fd);
    screen->source = NULL;
    screen->fd = -1;
}

static void
forget(struct screen *screen)
{
    event_source_remove(screen->source);
    screen->source = NULL;
    screen->kept = screen->at = 0;
}

/* Write what is kept, as far as it goes.  An error is the terminal's end: nobody is there to be told. */
static void
write_kept(struct screen *screen)
{
    ssize_t n = write(screen->fd, screen->bytes + screen->at, screen->kept - screen->at);

    if (n > 0)
        screen->at += (size_t)n;
    if (screen->at == screen->kept)
        forget(screen);
}

static void
on_writable(void *context, unsigned events)
{
    struct screen *screen = context;

    if ((events & EVENT_WRITE) != 0)
        write_kept(screen);
    else
        forget(screen);
}

void
screen_write(struct screen *screen, const void *bytes, size_t size)
{
    if (screen->fd < 0 || size > sizeof(screen->bytes) - screen->kept)
        return;
    memcpy(screen->bytes + screen->kept, bytes, size);
    screen->kept += size;
    if (screen->source == NULL)
        write_kept(screen);
    if (screen->kept != 0 && screen->source == NULL &&
        event_loop_add_fd(screen->loop, screen->fd, EVENT_WRITE, on_writable, screen,
                          &screen->source) != 0) {
        screen->source = NULL;
        forget(screen);
    }
}

void
screen_print(struct screen *screen, const char *format, ...)
{
    char line[1024];
    va_list ap;
    int n;

    va_start(ap, format);
    n = vsnprintf(line, sizeof(line), format, ap);
    va_end(ap);
    if (n > 0)
        screen_write(screen, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
}
