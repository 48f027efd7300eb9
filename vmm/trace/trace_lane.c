/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ring of a lane, and the mark between its two threads.
 *
 * The mark is a sequence lock: each of its stores is a release and each load an acquire, so that
 * whoever sees a new field also sees the odd version before it.  On x86 that costs nothing.
 */
#include "vmm/trace/trace_lane.h"

#include <assert.h>

static_assert(TRACE_LANE_SIZE % TRACE_LANE_BLOCK == 0 && TRACE_LANE_BLOCK > TRACE_RECORD_MAX,
              "a block holds a record, and the ring whole blocks");

/* How often the mark is looked at until it is found in order. */
#define LOOKS 100u

void
trace_lane_init(struct trace_lane *lane, uint8_t *ring)
{
    *lane = (struct trace_lane){ .ring = ring };
}

/* --- Putting --------------------------------------------------------------- */

static void
publish(struct trace_lane *lane)
{
    struct trace_mark *mark = &lane->mark;
    unsigned version = atomic_load_explicit(&mark->version, memory_order_relaxed);

    atomic_store_explicit(&mark->version, version + 1, memory_order_relaxed);
    atomic_store_explicit(&mark->head, lane->head, memory_order_release);
    atomic_store_explicit(&mark->sequence, lane->cursor.sequence, memory_order_release);
    atomic_store_explicit(&mark->time, lane->cursor.time, memory_order_release);
    atomic_store_explicit(&mark->gpa, lane->cursor.gpa, memory_order_release);
    atomic_store_explicit(&mark->version, version + 2, memory_order_release);
}

/* Is there room for a record at `head`? */
static bool
has_room(struct trace_lane *lane, uint64_t head)
{
    if (head + TRACE_RECORD_MAX - lane->tail_seen <= TRACE_LANE_SIZE)
        return true;
    lane->tail_seen = atomic_load_explicit(&lane->tail, memory_order_acquire);
    return head + TRACE_RECORD_MAX - lane->tail_seen <= TRACE_LANE_SIZE;
}

bool
trace_lane_put(struct trace_lane *lane, const struct trace_record *record)
{
    uint64_t head = lane->head;
    uint64_t room = TRACE_LANE_BLOCK - head % TRACE_LANE_BLOCK;

    if (room < TRACE_RECORD_MAX)
        head += room;
    if (!has_room(lane, head)) {
        atomic_fetch_add_explicit(&lane->lost, 1, memory_order_relaxed);
        return false;
    }
    if (head != lane->head)
        lane->ring[lane->head % TRACE_LANE_SIZE] = 0; /* no record has no bytes */
    if (head % TRACE_LANE_BLOCK == 0)
        lane->cursor = (struct trace_cursor){ 0 };
    head += trace_record_encode(&lane->cursor, record, &lane->ring[head % TRACE_LANE_SIZE]);
    lane->head = head;
    publish(lane);
    return true;
}

bool
trace_lane_acquire(struct trace_lane *lane)
{
    return !atomic_load_explicit(&lane->acquired, memory_order_relaxed) &&
           !atomic_exchange_explicit(&lane->acquired, true, memory_order_acquire);
}

void
trace_lane_release(struct trace_lane *lane)
{
    atomic_store_explicit(&lane->acquired, false, memory_order_release);
}

/* --- Taking ---------------------------------------------------------------- */

/* Read the mark.  A putter that is just there may have lost its processor: then not now. */
static void
look(struct trace_lane *lane)
{
    const struct trace_mark *mark = &lane->mark;

    for (unsigned tries = 0; tries < LOOKS; tries++) {
        unsigned version = atomic_load_explicit(&mark->version, memory_order_acquire);
        uint64_t head = atomic_load_explicit(&mark->head, memory_order_acquire);
        const struct trace_cursor cursor = {
            .sequence = atomic_load_explicit(&mark->sequence, memory_order_acquire),
            .time = atomic_load_explicit(&mark->time, memory_order_acquire),
            .gpa = atomic_load_explicit(&mark->gpa, memory_order_acquire),
        };
        if ((version & 1) == 0 &&
            atomic_load_explicit(&mark->version, memory_order_acquire) == version) {
            lane->end = head;
            lane->end_cursor = cursor;
            return;
        }
    }
}

/* The bytes of the record at `at`, its size included. */
static uint32_t
record_size(const uint8_t *at)
{
    uint32_t size = at[0] & 0x7f;

    if ((at[0] & 0x80) == 0)
        return size + 1;
    return (size | (uint32_t)at[1] << 7) + 2;
}

/* The records between two places of a block, up to where its rest is skipped. */
static void
measure(struct trace_piece *piece, uint64_t size)
{
    piece->size = 0;
    piece->nrecords = 0;
    while (piece->size < size && piece->bytes[piece->size] != 0) {
        piece->size += record_size(&piece->bytes[piece->size]);
        piece->nrecords++;
    }
}

bool
trace_lane_peek(struct trace_lane *lane, struct trace_piece *piece)
{
    uint64_t tail = atomic_load_explicit(&lane->tail, memory_order_relaxed);

    for (;;) {
        uint64_t block_end = tail - tail % TRACE_LANE_BLOCK + TRACE_LANE_BLOCK;
        if (tail == lane->end)
            look(lane);
        if (tail == lane->end)
            return false;
        piece->bytes = &lane->ring[tail % TRACE_LANE_SIZE];
        piece->base = lane->base;
        if (tail % TRACE_LANE_BLOCK == 0)
            piece->base = (struct trace_cursor){ 0 };
        measure(piece, (block_end < lane->end ? block_end : lane->end) - tail);
        if (piece->nrecords != 0)
            return true;
        tail = block_end;
        atomic_store_explicit(&lane->tail, tail, memory_order_release);
    }
}

bool
trace_lane_take(struct trace_lane *lane, const struct trace_piece *piece)
{
    uint64_t tail = atomic_load_explicit(&lane->tail, memory_order_relaxed) + piece->size;

    lane->base = lane->end_cursor;
    atomic_store_explicit(&lane->tail, tail, memory_order_release);
    return tail != lane->end;
}
