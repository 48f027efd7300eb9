/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Console output, formatted and buffered.  The lock guards the buffer.
 */
#include "guest/lib/console.h"

#include "guest/include/vkvm_abi.h"
#include "guest/lib/doorbell.h"
#include "guest/lib/string.h"
#include "guest/lib/sync.h"

#include <stdbool.h>
#include <stdint.h>

#define CONSOLE_BUFFER_SIZE 256

/* Where text is put: the console's buffer, which is sent when full, or a caller's, which is cut. */
struct console_text {
    char *to;
    size_t size;
    size_t used;
    bool send;
};

static struct sync_lock console_lock;
static char console_buffer[CONSOLE_BUFFER_SIZE];
static struct console_text console_out = { console_buffer, CONSOLE_BUFFER_SIZE, 0, true };

/* One conversion of a format. */
struct console_spec {
    bool left;
    char pad;
    unsigned width;
    unsigned longs; /* 1 or more: 64 bits */
};

/* In as few calls as it takes; by the port where the call cannot reach the text. */
static void
console_send(const char *text, size_t size)
{
    int64_t n = 1;

    while (size > 0 && n > 0) {
        n = doorbell_console_write(text, size);
        if (n > 0) {
            text += n;
            size -= (size_t)n;
        }
    }
    __asm__ volatile("rep outsb" : "+S"(text), "+c"(size) : "d"(VKVM_PORT_CONSOLE) : "memory");
}

static void
console_flush_locked(void)
{
    if (console_out.used > 0)
        console_send(console_buffer, console_out.used);
    console_out.used = 0;
}

static void
console_put(struct console_text *out, char c)
{
    if (out->used == out->size && out->send)
        console_flush_locked();
    if (out->used < out->size)
        out->to[out->used++] = c;
}

static void
console_put_field(struct console_text *out, const char *text, size_t size,
                  const struct console_spec *spec)
{
    size_t pad = spec->width > size ? spec->width - size : 0;

    for (size_t i = 0; i < pad && !spec->left; i++)
        console_put(out, spec->pad);
    for (size_t i = 0; i < size; i++)
        console_put(out, text[i]);
    for (size_t i = 0; i < pad && spec->left; i++)
        console_put(out, ' ');
}

static void
console_put_number(struct console_text *out, uint64_t value, bool negative, unsigned base,
                   bool upper, const struct console_spec *spec)
{
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    struct console_spec field = *spec;
    char text[24];
    size_t at = sizeof(text);

    do {
        text[--at] = digits[value % base];
        value /= base;
    } while (value != 0);
    if (negative && field.pad == '0') {
        console_put(out, '-');
        field.width -= field.width > 0;
    } else if (negative) {
        text[--at] = '-';
    }
    console_put_field(out, text + at, sizeof(text) - at, &field);
}

/* Read flags, width and size; returns what follows them. */
static const char *
console_parse(const char *format, struct console_spec *spec, int star)
{
    *spec = (struct console_spec){ .pad = ' ' };
    for (; *format == '-' || *format == '0'; format++) {
        if (*format == '-')
            spec->left = true;
        else
            spec->pad = '0';
    }
    if (*format == '*') {
        spec->width = star > 0 ? (unsigned)star : 0;
        format++;
    }
    for (; *format >= '0' && *format <= '9'; format++)
        spec->width = spec->width * 10 + (unsigned)(*format - '0');
    for (; *format == 'l' || *format == 'z'; format++)
        spec->longs++;
    return format;
}

static void
console_put_signed(struct console_text *out, int64_t value, const struct console_spec *spec)
{
    console_put_number(out, value < 0 ? -(uint64_t)value : (uint64_t)value, value < 0, 10, false,
                       spec);
}

/* Does the width come as an argument? */
static bool
console_has_star(const char *format)
{
    while (*format == '-' || *format == '0')
        format++;
    return *format == '*';
}

static void
console_format(struct console_text *out, const char *format, va_list args)
{
    struct console_spec spec;
    const char *text;
    char c;

    for (; *format != '\0'; format++) {
        if (*format != '%') {
            console_put(out, *format);
            continue;
        }
        format++;
        format = console_parse(format, &spec, console_has_star(format) ? va_arg(args, int) : 0);
        switch (*format) {
        case 'd':
        case 'i':
            console_put_signed(out, spec.longs ? va_arg(args, int64_t) : va_arg(args, int), &spec);
            break;
        case 'u':
        case 'x':
        case 'X':
            console_put_number(out, spec.longs ? va_arg(args, uint64_t) : va_arg(args, unsigned),
                               false, *format == 'u' ? 10 : 16, *format == 'X', &spec);
            break;
        case 'p':
            console_put_number(out, va_arg(args, uintptr_t), false, 16, false, &spec);
            break;
        case 's':
            text = va_arg(args, const char *);
            console_put_field(out, text, strlen(text), &spec);
            break;
        case 'c':
            c = (char)va_arg(args, int);
            console_put_field(out, &c, 1, &spec);
            break;
        case '\0':
            return;
        default:
            console_put(out, *format);
            break;
        }
    }
}

/* The text of the call is in the buffer: send it if a line ended. */
static void
console_end(void)
{
    if (console_out.used > 0 && console_buffer[console_out.used - 1] == '\n')
        console_flush_locked();
    sync_unlock(&console_lock);
}

void
console_write(const char *text, size_t size)
{
    sync_lock(&console_lock);
    console_flush_locked();
    console_send(text, size);
    sync_unlock(&console_lock);
}

void
console_vprintf(const char *format, va_list args)
{
    sync_lock(&console_lock);
    console_format(&console_out, format, args);
    console_end();
}

void
console_format_to(char *to, size_t size, const char *format, va_list args)
{
    struct console_text out = { to, size - 1, 0, false };

    console_format(&out, format, args);
    to[out.used] = '\0';
}

void
console_printf(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    console_vprintf(format, args);
    va_end(args);
}

void
console_take_over(void)
{
    console_out.used = 0;
    sync_unlock(&console_lock);
}

void
console_flush(void)
{
    sync_lock(&console_lock);
    console_flush_locked();
    sync_unlock(&console_lock);
}

int
console_read(void)
{
    uint8_t byte = 0;
    int64_t n = doorbell_console_read(&byte, 1);

    if (n > 0)
        return byte;
    return n == -VKVM_ENODATA ? CONSOLE_END : CONSOLE_NONE;
}
