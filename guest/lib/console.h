/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The console: text for the host's standard output.
 *
 * Output collects in a buffer and goes out by one CONSOLE_WRITE, one exit of the vCPU, when a line
 * ends, the buffer is full, or console_flush is called.
 * Any vCPU, ring 0 or ring 3 (ring3_call); a call's text stays together.
 */
#ifndef GUEST_CONSOLE_H
#define GUEST_CONSOLE_H

#include <stdarg.h>
#include <stddef.h>

/* Write bytes. */
void console_write(const char *text, size_t size);

/*
 * printf's %d %i %u %x %X %c %s %p %%, with -, 0, a width (or *), and the sizes l, ll, z.
 */
void console_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
void console_vprintf(const char *format, va_list args) __attribute__((format(printf, 1, 0)));

/* The same into a buffer of `size` bytes, 1 or more: cut there, always terminated. */
void console_format_to(char *to, size_t size, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

/* For last words: whoever writes now, perhaps this vCPU, never goes on; forget lock and text. */
void console_take_over(void);

/* Send what is buffered. */
void console_flush(void);

#define CONSOLE_NONE (-1) /* no input now */
#define CONSOLE_END (-2)  /* and there will be none */

/* A byte of standard input, 0 to 255, or CONSOLE_NONE or CONSOLE_END. */
int console_read(void);

#endif
