/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Source: Linux include/linux/proc_ns.h: PROC_PID_INIT_INO is the initial PID namespace's inode
 * number, on every kernel since Linux 3.8.
 */
#include "vmm/kvm/thread_ids.h"

#include <string.h>
#include <unistd.h>

#define INITIAL_NAMESPACE "pid:[4026531836]"

bool
thread_ids_are_unique(const char *path)
{
    char target[64];
    ssize_t n = readlink(path, target, sizeof(target) - 1);

    if (n < 0)
        return false;
    target[n] = '\0';
    return strcmp(target, INITIAL_NAMESPACE) == 0;
}
