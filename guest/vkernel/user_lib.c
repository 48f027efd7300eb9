/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The programs' own small library.
 */
#include "guest/vkernel/user.h"

#include <stdarg.h>

#define USER_LINE 120

void *
user_memcpy(void *to, const void *from, size_t size)
{
    void *d = to;

    __asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(size)::"memory");
    return to;
}

void *
user_memmove(void *to, const void *from, size_t size)
{
    char *d = (char *)to + size - 1;
    const char *s = (const char *)from + size - 1;

    if ((uintptr_t)to - (uintptr_t)from >= size)
        return user_memcpy(to, from, size);
    __asm__ volatile("std; rep movsb; cld" : "+D"(d), "+S"(s), "+c"(size)::"memory");
    return to;
}

void *
user_memset(void *to, int byte, size_t size)
{
    void *d = to;

    __asm__ volatile("rep stosb" : "+D"(d), "+c"(size) : "a"(byte) : "memory");
    return to;
}

int
user_memcmp(const void *a, const void *b, size_t size)
{
    const uint8_t *x = a;
    const uint8_t *y = b;

    for (size_t i = 0; i < size; i++) {
        if (x[i] != y[i])
            return x[i] - y[i];
    }
    return 0;
}

size_t
user_strlen(const char *s)
{
    const volatile char *p = s;
    size_t n = 0;

    while (p[n] != '\0')
        n++;
    return n;
}

struct user_line {
    char text[USER_LINE];
    size_t used;
};

static void
user_put(struct user_line *line, const char *text, size_t size)
{
    for (size_t i = 0; i < size && line->used < USER_LINE; i++)
        line->text[line->used++] = text[i];
}

static void
user_put_number(struct user_line *line, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    user_put(line, digits + at, sizeof(digits) - at);
}

void
user_print(const char *format, ...)
{
    struct user_line line;
    const char *text;
    va_list args;

    line.used = 0;
    va_start(args, format);
    for (; *format != '\0'; format++) {
        if (*format != '%') {
            user_put(&line, format, 1);
        } else if (format[1] == 's') {
            text = va_arg(args, const char *);
            user_put(&line, text, user_strlen(text));
            format++;
        } else {
            user_put_number(&line, va_arg(args, uint64_t));
            format += 2;
        }
    }
    va_end(args);
    user_call(CALL_WRITE, (uint64_t)line.text, line.used, 0);
}

_Noreturn void
user_failed(const char *file, uint64_t line, const char *condition)
{
    user_print("  %s:%lu: %s: does not hold\n", file, line, condition);
    user_exit(1);
}

void *
user_grow(uint64_t npages)
{
    int64_t address = user_call(CALL_GROW, npages, 0, 0);

    USER_CHECK(address > 0);
    return (void *)address;
}

void *
user_map(enum vkernel_call shared_or_private, uint64_t key, uint64_t npages)
{
    int64_t address = user_call(shared_or_private, key, npages, 0);

    USER_CHECK(address > 0);
    return (void *)address;
}
