/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A lane: the bytes of one thread's records on their way to the file.  One thread puts, another one
 * takes; neither ever waits for the other, and putting makes no system call.
 *
 *     ring:  | block | block | ... |      a record never crosses a block's end; where a block has
 *                                         too little room left, its rest is skipped (a 0 byte)
 *
 * A record's bytes are differences to the record before it, but for the first one of a block.  The
 * taker may come between any two records; so the putter tells, with how far it is, what the next
 * record will be a difference to (`mark`).
 *
 * Lanes that belong to no thread are for whoever has none: trace_lane_acquire makes one the
 * caller's for one record.
 *
 * Locks: none.  Letters: `put` the thread that puts, `take` the one that takes, (a) atomic.
 */
#ifndef TRACE_LANE_H
#define TRACE_LANE_H

#include "vmm/trace/trace_record.h"

#include <stdalign.h>
#include <stdatomic.h>

#define TRACE_LANE_SIZE ((size_t)1 << 20)
#define TRACE_LANE_BLOCK 4096u

/* How far the putter is.  Consistent when `version` is even and the same before and after. */
struct trace_mark {
    _Atomic unsigned version;  /* (a) */
    _Atomic uint64_t head;     /* (a) bytes put, skipped ones included */
    _Atomic uint64_t sequence; /* (a) struct trace_cursor */
    _Atomic uint64_t time;     /* (a) */
    _Atomic uint64_t gpa;      /* (a) */
};

struct trace_lane {
    alignas(64) struct trace_mark mark; /* (a) put writes, take reads */
    _Atomic uint64_t lost;              /* (a) put: records that found no room */
    _Atomic bool acquired;              /* (a) a lane without a thread: somebody puts */
    uint8_t *ring;                      /* (c) borrowed: TRACE_LANE_SIZE bytes */
    uint64_t head;                      /* put */
    uint64_t tail_seen;                 /* put: `tail`, when it was last looked at */
    struct trace_cursor cursor;         /* put */
    alignas(64) _Atomic uint64_t tail;  /* (a) take writes, put reads: bytes taken */
    uint64_t end;                       /* take: the last mark's head */
    struct trace_cursor end_cursor;     /* take: ... and cursor */
    struct trace_cursor base;           /* take: what the record at tail is a difference to */
};

/* What trace_lane_peek found: whole records. */
struct trace_piece {
    const uint8_t *bytes; /* in the ring, until trace_lane_take */
    uint32_t size;
    uint32_t nrecords;
    struct trace_cursor base;
};

/* An empty lane with that ring, which is zeroed. */
void trace_lane_init(struct trace_lane *lane, uint8_t *ring);

/*
 * Put a record.  By the lane's thread.
 * Returns false when there is no room: it counts as lost.
 */
bool trace_lane_put(struct trace_lane *lane, const struct trace_record *record);

/*
 * Records that were put and not taken: what of them is in one block.  By the taker.
 * Returns false when there are none.
 */
bool trace_lane_peek(struct trace_lane *lane, struct trace_piece *piece);

/*
 * Done with the piece: its room is the putter's again.
 * Returns whether there is more of what was there when trace_lane_peek last looked how far the putter
 * is.  Who goes on no longer than that comes to an end however fast records are put.
 */
bool trace_lane_take(struct trace_lane *lane, const struct trace_piece *piece);

/* Make a lane without a thread the caller's, or fail; give it back. */
bool trace_lane_acquire(struct trace_lane *lane);
void trace_lane_release(struct trace_lane *lane);

#endif
