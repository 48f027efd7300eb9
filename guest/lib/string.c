/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The C library functions that the compiler and libfdt need.
 *
 * Copying and filling use the string instructions: in an emulated ring 0 one of
 * them costs as much as any other instruction, whatever the size of its operand, so eight
 * bytes at a time.  Nothing here may be turned into a call of itself, hence -ffreestanding
 * and plain loops that no optimizer recognizes as the function they implement.
 */
#include "guest/lib/string.h"

#include <stdint.h>

/* The stack protector of a prebuilt libfdt reads its canary at %fs:0x28, which is address 0x28
 * here: it never changes, so this is never called unless a stack was overrun. */
void __stack_chk_fail(void); /* NOLINT(bugprone-reserved-identifier): the name is the compiler's */

void *
memcpy(void *restrict to, const void *restrict from, size_t size)
{
    void *d = to;
    const void *s = from;
    size_t words = size / 8;
    size_t bytes = size % 8;

    __asm__ volatile("rep movsq" : "+D"(d), "+S"(s), "+c"(words)::"memory");
    __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(bytes)::"memory");
    return to;
}

void *
memmove(void *to, const void *from, size_t size)
{
    char *d = (char *)to + size - 1;
    const char *s = (const char *)from + size - 1;

    if ((uintptr_t)to - (uintptr_t)from >= size)
        return memcpy(to, from, size);
    __asm__ volatile("std; rep movsb; cld" : "+D"(d), "+S"(s), "+c"(size)::"memory");
    return to;
}

void *
memset(void *to, int byte, size_t size)
{
    void *d = to;
    size_t words = size / 8;
    size_t bytes = size % 8;
    uint64_t pattern = (uint8_t)byte * (uint64_t)0x0101010101010101;

    __asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(pattern) : "memory");
    __asm__ volatile("rep stosb" : "+D"(d), "+c"(bytes) : "a"(pattern) : "memory");
    return to;
}

int
memcmp(const void *a, const void *b, size_t size)
{
    const uint8_t *x = a;
    const uint8_t *y = b;

    for (size_t i = 0; i < size; i++) {
        if (x[i] != y[i])
            return x[i] - y[i];
    }
    return 0;
}

void *
memchr(const void *from, int byte, size_t size)
{
    const uint8_t *s = from;

    for (size_t i = 0; i < size; i++) {
        if (s[i] == (uint8_t)byte)
            return (void *)(uintptr_t)(s + i);
    }
    return NULL;
}

size_t
strnlen(const char *s, size_t max)
{
    size_t n = 0;

    while (n < max && s[n] != '\0')
        n++;
    return n;
}

size_t
strlen(const char *s)
{
    return strnlen(s, SIZE_MAX);
}

char *
strchr(const char *s, int c)
{
    for (; *s != (char)c; s++) {
        if (*s == '\0')
            return NULL;
    }
    return (char *)(uintptr_t)s;
}

char *
strrchr(const char *s, int c)
{
    const char *last = NULL;

    for (;; s++) {
        if (*s == (char)c)
            last = s;
        if (*s == '\0')
            return (char *)(uintptr_t)last;
    }
}

int
strncmp(const char *a, const char *b, size_t max)
{
    for (size_t i = 0; i < max; i++) {
        if (a[i] != b[i])
            return (uint8_t)a[i] - (uint8_t)b[i];
        if (a[i] == '\0')
            return 0;
    }
    return 0;
}

int
strcmp(const char *a, const char *b)
{
    return strncmp(a, b, SIZE_MAX);
}

static unsigned
string_digit(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'z')
        return (unsigned)(c - 'a') + 10;
    if (c >= 'A' && c <= 'Z')
        return (unsigned)(c - 'A') + 10;
    return UINT32_MAX;
}

unsigned long
strtoul(const char *s, char **end, int base)
{
    const char *p = s;
    unsigned long value = 0;

    if ((base == 0 || base == 16) && p[0] == '0' && (p[1] == 'x' || p[1] == 'X') &&
        string_digit(p[2]) < 16) {
        p += 2;
        base = 16;
    } else if (base == 0) {
        base = p[0] == '0' ? 8 : 10;
    }
    for (; string_digit(*p) < (unsigned)base; p++)
        value = value * (unsigned)base + string_digit(*p);
    if (end)
        *end = (char *)(uintptr_t)p;
    return value;
}

void
__stack_chk_fail(void)
{
    __builtin_trap();
}
