/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whether the thread ids in userfaultfd messages tell a vCPU from a thread of the kernel's.
 *
 * Each thread's id is that of its own PID namespace.  A kernel thread's is the initial one; where
 * the vCPUs have another, the same number may mean either.
 */
#ifndef THREAD_IDS_H
#define THREAD_IDS_H

#include <stdbool.h>

#define THREAD_IDS_NAMESPACE "/proc/self/ns/pid"

/*
 * Does the link say that it is the initial namespace's?  `path` is THREAD_IDS_NAMESPACE, but for
 * tests.  One that cannot be read does not.
 */
bool thread_ids_are_unique(const char *path);

#endif
