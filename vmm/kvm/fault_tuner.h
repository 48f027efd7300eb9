/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which way of waiting for faults is the fastest here and now: a state machine that is fed with how
 * long the vCPUs took from one fault to the next.  Which it is differs from host to host and with
 * what else runs there (docs/hosts.md).
 *
 *                    few faults, or the guest's own pauses between them
 *                             +------------+
 *                             v            |
 *     LOOKING: each way in turn, FAULT_TUNER_ROUNDS times; who is far behind drops out
 *        |                                              ^
 *        v  the best one                                | the pace is not what it was,
 *     SETTLED -----------------------------------------+  twice in a row, or long ago
 *
 * What counts is the mean time from one message of a vCPU to its next: the guest's work in between
 * is in it for all ways alike.  A time of FAULT_PACE_LONG or more counts as that much, so that one
 * pause decides nothing.  A turn with many of these comes twice: if the guest does something else it
 * is all ways' turns that have them, and then nothing is chosen; if it is some, these ways are slow.
 * Of a way's turns the slowest does not count, and one that takes far too long is cut short.
 *
 * It has no clock and no lock: who feeds it has them.
 */
#ifndef FAULT_TUNER_H
#define FAULT_TUNER_H

#include <stdbool.h>
#include <stdint.h>

enum fault_way {
    FAULT_WAY_BLOCK,      /* the fault thread sleeps, the scheduler says where it wakes */
    FAULT_WAY_SAME,       /* ... and is bound to its vCPU's core, as the vCPU is */
    FAULT_WAY_SPIN,       /* it spins on another core for a while before it sleeps */
    FAULT_WAY_SHORT_LINE, /* ... and a delay line (delay_line.h) keeps the vCPU awake meanwhile */
    FAULT_WAY_LINE,
    FAULT_WAYS
};

#define FAULT_WAY_BIT(way) (1u << (way))

#define FAULT_TUNER_ROUNDS 3u
#define FAULT_TUNER_TURN 96u    /* faults that are measured in a turn */
#define FAULT_TUNER_IGNORED 32u /* ... and before these, while the way is new */
#define FAULT_TUNER_WINDOW 512u /* faults after which the pace is looked at once it is settled */

#define FAULT_PACE_LONG 2000000u /* ns */

/* Times from one fault of a vCPU to its next. */
struct fault_pace {
    uint64_t ns;    /* sum */
    unsigned count; /* of how many */
    unsigned nlong; /* of these, FAULT_PACE_LONG or more */
};

struct fault_tuner {
    unsigned candidates;    /* bits of ways; the caller may take some away */
    enum fault_way way;     /* what is to be used now */
    enum fault_way chosen;  /* by the last look, or what it began with */
    bool looking;           /* the way is one that is tried */
    unsigned racing;        /* bits of ways that are still in the race */
    unsigned round;         /* of the look */
    bool again;             /* the turn is its way's second one */
    unsigned paused;        /* bits of ways whose turn in this round had many long times, twice */
    bool drifted;           /* the last window was not what was settled */
    unsigned ignore;        /* faults that are not counted any more */
    struct fault_pace pace; /* of the turn, or of the window */
    uint64_t turns[FAULT_WAYS][FAULT_TUNER_ROUNDS]; /* ns for a fault, of this look */
    uint64_t figure[FAULT_WAYS]; /* ns for a fault, of the last look; 0 = never measured */
    uint64_t settled;  /* ns for a fault that the choice is held to; 0 = the next window's */
    uint64_t since;    /* faults since the choice */
    uint64_t patience; /* as many come before a drift is followed */
    uint64_t looks;    /* how often there was a choice */
};

/* Begin with `first`, one of the candidates, and look for the best if there are others. */
void fault_tuner_init(struct fault_tuner *tuner, unsigned candidates, enum fault_way first);

/* Add one time to a pace. */
void fault_pace_add(struct fault_pace *pace, uint64_t ns);

/* Some more times, all measured while `tuner->way` was used.  Returns whether that is another one
 * now. */
bool fault_tuner_feed(struct fault_tuner *tuner, const struct fault_pace *pace);

/* The way cannot be used here: it is no candidate any more.  Not for the last candidate.  Returns as
 * fault_tuner_feed. */
bool fault_tuner_refuse(struct fault_tuner *tuner, enum fault_way way);

/* What an option and a report call it. */
const char *fault_way_name(enum fault_way way);

#endif
