/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One mailbox per secondary vCPU.  `function` not NULL: there is work, the
 * arguments belong to the vCPU; NULL: free, the result belongs to the giver.
 */
#include "guest/lib/smp.h"

#include "guest/lib/cpu.h"
#include "guest/lib/x86.h"

#include <stddef.h>

struct smp_mailbox {
    uint64_t (*function)(uint64_t argument);
    uint64_t argument;
    uint64_t result;
};

static struct smp_mailbox smp_mailboxes[CPU_MAX];

_Noreturn void
smp_serve(unsigned cpu)
{
    struct smp_mailbox *box = &smp_mailboxes[cpu];
    uint64_t (*function)(uint64_t);

    for (;;) {
        function = __atomic_load_n(&box->function, __ATOMIC_ACQUIRE);
        if (function == NULL) {
            x86_pause();
            continue;
        }
        box->result = function(box->argument);
        __atomic_store_n(&box->function, NULL, __ATOMIC_RELEASE);
    }
}

uint64_t
smp_wait(unsigned cpu)
{
    struct smp_mailbox *box = &smp_mailboxes[cpu];

    while (__atomic_load_n(&box->function, __ATOMIC_ACQUIRE) != NULL)
        x86_pause();
    return box->result;
}

void
smp_start(unsigned cpu, uint64_t (*function)(uint64_t argument), uint64_t argument)
{
    struct smp_mailbox *box = &smp_mailboxes[cpu];

    smp_wait(cpu);
    box->argument = argument;
    __atomic_store_n(&box->function, function, __ATOMIC_RELEASE);
}
