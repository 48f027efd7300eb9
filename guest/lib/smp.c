/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One mailbox per secondary vCPU.  `busy`: there is work, the arguments belong to the vCPU; else
 * it is free and the result belongs to the giver.
 */
#include "guest/lib/smp.h"

#include "guest/lib/cpu.h"
#include "guest/lib/sync.h"

struct smp_mailbox {
    uint32_t busy;
    uint64_t (*function)(uint64_t argument);
    uint64_t argument;
    uint64_t result;
};

static struct smp_mailbox smp_mailboxes[CPU_MAX];

_Noreturn void
smp_serve(unsigned cpu)
{
    struct smp_mailbox *box = &smp_mailboxes[cpu];

    for (;;) {
        sync_word_wait(&box->busy, 0);
        box->result = box->function(box->argument);
        sync_word_set(&box->busy, 0);
    }
}

uint64_t
smp_wait(unsigned cpu)
{
    struct smp_mailbox *box = &smp_mailboxes[cpu];

    sync_word_wait(&box->busy, 1);
    return box->result;
}

void
smp_start(unsigned cpu, uint64_t (*function)(uint64_t argument), uint64_t argument)
{
    struct smp_mailbox *box = &smp_mailboxes[cpu];

    smp_wait(cpu);
    box->argument = argument;
    box->function = function;
    sync_word_set(&box->busy, 1);
}
