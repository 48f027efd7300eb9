/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keeps a faulting vCPU awake for some four microseconds.
 *
 * A thread that faults queues its message, wakes whoever polls the userfaultfd
 * and sleeps.  Sleeping and waking is most of what a fault costs: KVM saves and
 * loads the vCPU, the core halts, the handler sends it an interrupt.  A handler
 * that spins on another core could have resolved the fault by then, had it only
 * a little more time: a thread whose page is woken before it sleeps goes on at
 * once.
 *
 * The delay line gives it that time.  It registers many duplicates of the
 * userfaultfd in an epoll instance that nobody waits for; waking "whoever polls"
 * then means walking all of them.  Without a spinning handler the delay is
 * lost, so it is made only together with one.
 */
#ifndef DELAY_LINE_H
#define DELAY_LINE_H

#define DELAY_LINE_MAX 256

struct delay_line {
    int epoll_fd; /* owned, -1 = none */
    unsigned length;
    int duplicates[DELAY_LINE_MAX]; /* owned */
};

/* Make a line of at most `length` entries; it may turn out shorter, or empty, where
 * descriptors are short. */
void delay_line_init(struct delay_line *line, int uffd, unsigned length);
void delay_line_fini(struct delay_line *line);

#endif
