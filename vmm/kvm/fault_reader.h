/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a fault thread gets its messages.  Internal to fault_service.c.
 *
 * Waiting: a thread spins on the userfaultfd for a short time after its last
 * message, then blocks.  The time grows while it pays off and shrinks while it
 * does not, so an idle guest costs one short spin per fault at most.
 *
 * Spinning: a message is seen in time if it is read before its sender has begun to
 * walk the delay line; a read that comes later waits for the end of that (the kernel
 * holds the wait queue's lock), and the sender sleeps.  Which of two ways sees more
 * of them in time depends on how long a cache line takes between the two
 * processors (docs/hosts.md):
 *   read, again and again      when they are near each other
 *   poll, and read what is     when they are not: poll takes none of the locks that
 *   there                      the sender needs
 * A thread goes over to the other way when too many were late.
 *
 * Locks: a reader belongs to its thread; only *ending is anybody's.
 */
#ifndef FAULT_READER_H
#define FAULT_READER_H

#include "vmm/kvm/kvm_compat.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define FAULT_LOOK_MS 2

/* A look at the userfaultfd that took longer waited for the end of a delay line. */
#define FAULT_LATE_NS 2000u

struct fault_reader {
    int uffd;                         /* (c) borrowed */
    int stop_fd;                      /* (c) borrowed: readable when the thread must look up */
    bool spin;                        /* (c) */
    const _Atomic bool *ending;       /* (c) borrowed: there is no time for another message */
    const _Atomic unsigned *nfailing; /* (c) borrowed: not 0: look up every FAULT_LOOK_MS */
    uint64_t spin_ns;                 /* how long it spins */
    bool spin_polls;                  /* it spins with poll */
    unsigned spin_found;              /* messages found so since that was judged ... */
    unsigned spin_late;               /* ... and late ones of these */
};

/* How long a look that finds no message takes: the shortest of some, ns. */
uint64_t fault_reader_look_ns(int uffd);

void fault_reader_init(struct fault_reader *reader, int uffd, int stop_fd, bool spin,
                       const _Atomic bool *ending, const _Atomic unsigned *nfailing);

/*
 * The next message.  Sleeps until there is one, stop_fd is readable, or it is time to look up.
 * Returns 0; -EAGAIN: look whether to go on, then call again; or -errno of read or poll, which
 * no repetition would mend.
 */
int fault_reader_next(struct fault_reader *reader, struct uffd_msg *msg)
    __attribute__((warn_unused_result));

#endif
