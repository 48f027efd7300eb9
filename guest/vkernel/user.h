/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the programs of vkernel's processes are written with: system calls, a little output,
 * checks.
 *
 * They are part of the kernel image but linked and mapped at USER_BASE (guest.ld),
 * so nothing of the kernel or of guest/lib can be called or read here.  The
 * compiler may insert calls of memcpy and its kin; the first lines below make those go
 * to functions of user_lib.c.
 */
#ifndef VKERNEL_USER_H
#define VKERNEL_USER_H

#include "guest/vkernel/abi.h"

#include <stddef.h>
#include <stdint.h>

__asm__("memcpy = user_memcpy\n\t"
        "memmove = user_memmove\n\t"
        "memset = user_memset\n\t"
        "memcmp = user_memcmp\n\t"
        "strlen = user_strlen");

#define USER_PAGE 4096u

static inline int64_t
user_call(enum vkernel_call number, uint64_t a, uint64_t b, uint64_t c)
{
    int64_t result = (int64_t)number;

    __asm__ volatile("int $4" : "+a"(result) : "D"(a), "S"(b), "d"(c) : "memory");
    return result;
}

static inline _Noreturn void
user_exit(int status)
{
    for (;;)
        user_call(CALL_EXIT, (uint64_t)status, 0, 0);
}

static inline int64_t
user_fork(void)
{
    return user_call(CALL_FORK, 0, 0, 0);
}

/* Wait for any child: its status, or -1. */
static inline int64_t
user_wait(void)
{
    int64_t result = user_call(CALL_WAIT, 0, 0, 0);

    return result < 0 ? -1 : result & 0xffffffff;
}

static inline void
user_yield(void)
{
    user_call(CALL_YIELD, 0, 0, 0);
}

/* npages of zeroed memory; the process ends if there is none. */
void *user_grow(uint64_t npages);

/* Map shared memory; the process ends if it cannot. */
void *user_map(enum vkernel_call shared_or_private, uint64_t key, uint64_t npages);

/* Print; %lu (uint64_t) and %s only, at most a line of 120 characters. */
void user_print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* End the process with status 1 and a message unless the condition holds. */
#define USER_CHECK(condition)                            \
    do {                                                 \
        if (!(condition))                                \
            user_failed(__FILE__, __LINE__, #condition); \
    } while (0)

_Noreturn void user_failed(const char *file, uint64_t line, const char *condition);

/* The next number of a linear congruential generator (Knuth, MMIX). */
static inline uint64_t
user_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 32;
}

/* The programs: enum vkernel_program.  The result is the exit status. */
int user_sieve(void);
int user_sort(void);
int user_forks(void);
int user_mappings(void);
int user_scan(void);
int user_stress(void);
int user_bad(void);
int user_times(void);

/* Where a process starts, with the program's number. */
_Noreturn void user_start(uint64_t program);

/* Stand-ins for what the compiler calls. */
void *user_memcpy(void *to, const void *from, size_t size);
void *user_memmove(void *to, const void *from, size_t size);
void *user_memset(void *to, int byte, size_t size);
int user_memcmp(const void *a, const void *b, size_t size);
size_t user_strlen(const char *s);

#endif
