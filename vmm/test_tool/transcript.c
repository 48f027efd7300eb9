/* SPDX-License-Identifier: BSD-2-Clause */
/* The head fills up, then the tail goes round. */
#include "vmm/test_tool/transcript.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int
transcript_init(struct transcript *console, transcript_line_fn *line, void *context)
{
    *console = (struct transcript){ .line = line, .context = context };
    console->head = malloc(TRANSCRIPT_KEPT);
    console->tail = malloc(TRANSCRIPT_KEPT);
    if (console->head != NULL && console->tail != NULL)
        return 0;
    transcript_fini(console);
    return -ENOMEM;
}

void
transcript_fini(struct transcript *console)
{
    free(console->head);
    free(console->tail);
    console->head = console->tail = NULL;
}

/* --- Lines ----------------------------------------------------------------- */

static void
end_line(struct transcript *console)
{
    size_t n = console->line_length;

    while (n > 0 && console->text[n - 1] == '\r')
        n--;
    console->text[n] = '\0';
    console->line_length = 0;
    if (console->line != NULL)
        console->line(console->context, console->text);
}

/* Bytes that have no line's end among them. */
static void
add_text(struct transcript *console, const char *bytes, size_t size)
{
    size_t room = TRANSCRIPT_LINE_MAX - console->line_length;
    char *to = console->text + console->line_length;

    if (size > room)
        size = room;
    memcpy(to, bytes, size);
    for (size_t i = 0; i < size; i++) {
        if (to[i] == '\0')
            to[i] = '?';
    }
    console->line_length += size;
}

static void
take_lines(struct transcript *console, const char *bytes, size_t size)
{
    const char *end;

    while ((end = memchr(bytes, '\n', size)) != NULL) {
        add_text(console, bytes, (size_t)(end - bytes));
        end_line(console);
        size -= (size_t)(end + 1 - bytes);
        bytes = end + 1;
    }
    add_text(console, bytes, size);
}

/* --- What is kept ---------------------------------------------------------- */

static void
keep(struct transcript *console, const char *bytes, size_t size)
{
    while (size > 0) {
        size_t at = console->total < TRANSCRIPT_KEPT ? (size_t)console->total
                                                     : (size_t)(console->total % TRANSCRIPT_KEPT);
        char *to = console->total < TRANSCRIPT_KEPT ? console->head : console->tail;
        size_t n = size < TRANSCRIPT_KEPT - at ? size : TRANSCRIPT_KEPT - at;

        memcpy(to + at, bytes, n);
        console->total += n;
        bytes += n;
        size -= n;
    }
}

void
transcript_take(struct transcript *console, const char *bytes, size_t size)
{
    keep(console, bytes, size);
    take_lines(console, bytes, size);
}

void
transcript_end(struct transcript *console)
{
    if (console->line_length > 0)
        end_line(console);
}

/* The n-th byte of all that came; it was kept. */
static char
byte_at(const struct transcript *console, uint64_t n)
{
    return n < TRANSCRIPT_KEPT ? console->head[n] : console->tail[n % TRANSCRIPT_KEPT];
}

void
transcript_write(const struct transcript *console, FILE *to)
{
    uint64_t head = console->total < TRANSCRIPT_KEPT ? console->total : TRANSCRIPT_KEPT;
    uint64_t tail = console->total - head;
    size_t at = (size_t)(console->total % TRANSCRIPT_KEPT);

    fwrite(console->head, 1, (size_t)head, to);
    if (tail <= TRANSCRIPT_KEPT) {
        fwrite(console->tail, 1, (size_t)tail, to);
        return;
    }
    fprintf(to, "\n[vkvm test: %" PRIu64 " bytes left out]\n", tail - TRANSCRIPT_KEPT);
    fwrite(console->tail + at, 1, TRANSCRIPT_KEPT - at, to);
    fwrite(console->tail, 1, at, to);
}

void
transcript_last(const struct transcript *console, char *to, size_t size)
{
    uint64_t from = console->total < size ? 0 : console->total - size + 1;
    size_t n = 0;

    if (from > 0) {
        uint64_t begin = from;

        while (begin < console->total && byte_at(console, begin - 1) != '\n')
            begin++;
        if (begin < console->total)
            from = begin;
    }
    for (; from < console->total; from++) {
        char c = byte_at(console, from);

        to[n++] = c == '\0' ? '?' : c;
    }
    to[n] = '\0';
}
