/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Make an allocation fail: for tests of what is left behind when memory runs out.
 *
 * The unit tests, and host_failure, are linked with --wrap for malloc and its relatives, free,
 * and the system calls that give memory: calls from the sources of the program come here, those
 * from inside libraries do not.  So it works with the sanitizers' allocators too.
 */
#ifndef ALLOC_FAILURE_H
#define ALLOC_FAILURE_H

#include <stdint.h>

/* The calling thread's n-th allocation from now on fails, once; 1 = the next, 0 = none. */
void alloc_failure_set(unsigned n);

enum alloc_call {
    ALLOC_HEAP,    /* malloc and its relatives */
    ALLOC_MAP,     /* mmap */
    ALLOC_FILE,    /* memfd_create, ftruncate */
    ALLOC_HOLE,    /* fallocate */
    ALLOC_DROP,    /* madvise */
    ALLOC_PROTECT, /* mprotect */
    ALLOC_THREAD   /* pthread_create, which returns the errno */
};

/*
 * Asked at each such call of any thread: does it fail?  0 = no, else the errno (of
 * ALLOC_HEAP always ENOMEM).  NULL = no call does.
 */
void alloc_failure_hook(int (*hook)(enum alloc_call call));

/* Allocations made minus those freed, of all threads. */
int64_t alloc_failure_live(void);

#endif
