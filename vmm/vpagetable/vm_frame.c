/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames: making them holes, at once or later.
 *
 * Which frames are left is a bit each in `left`, sparse as the store is; a bit of `left_groups`
 * says that a group of GROUP frames may have some.  So all of them are found, in order, at any
 * size of the store, and neighbours are punched together however they came to be left.
 *
 * Locks: D for whatever is left, across the punching too: who takes a frame that is left
 * either finds it punched or does it himself.
 */
#include "vmm/vpagetable/vm_system.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define WORD_BITS 64u
#define GROUP_WORDS 64u
#define GROUP (GROUP_WORDS * WORD_BITS)

/* Most frames that are left: 64 MiB ... */
#define LEFT_MAX 16384u

/* ... or this part of the budget. */
#define LEFT_PART 32u

/* Runs punched with D held. */
#define BATCH 32u

int
vm_frame_punch_run(struct vm_system *sys, vm_frame_t frame, uint64_t npages)
{
    const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    int error;

    do {
        error = fallocate(sys->memfd, mode, (off_t)(frame << PAGE_SHIFT),
                          (off_t)(npages << PAGE_SHIFT));
    } while (error != 0 && errno == EINTR);
    return error != 0 ? -errno : 0;
}

int
vm_frame_punch(struct vm_system *sys, vm_frame_t frame)
{
    return vm_frame_punch_run(sys, frame, 1);
}

void
vm_frames_discard(struct vm_system *sys, vm_frame_t frame, uint64_t npages)
{
    if (vm_frame_punch_run(sys, frame, npages) != 0)
        memset(vm_frame_address(sys, frame), 0, npages << PAGE_SHIFT);
}

/* --- Later --------------------------------------------------------------- */

bool
vm_frame_is_left(const struct vm_system *sys, vm_frame_t frame)
{
    return (atomic_load_explicit(&sys->left[frame / WORD_BITS], memory_order_acquire) >>
                frame % WORD_BITS &
            1) != 0;
}

static void
left_set(struct vm_system *sys, vm_frame_t frame) VM_REQUIRES(sys->moved_lock)
{
    uint64_t group = frame / GROUP;

    assert(!vm_frame_is_left(sys, frame));
    atomic_fetch_or(&sys->left[frame / WORD_BITS], (uint64_t)1 << frame % WORD_BITS);
    sys->left_groups[group / WORD_BITS] |= (uint64_t)1 << group % WORD_BITS;
    atomic_fetch_add(&sys->left_frames, 1);
}

/* Punch frames that are left.  Only then does the bit go, which others look at without D. */
static void
left_punch(struct vm_system *sys, vm_frame_t frame, unsigned npages) VM_REQUIRES(sys->moved_lock)
{
    vm_frames_discard(sys, frame, npages);
    for (vm_frame_t i = frame; i < frame + npages; i++)
        atomic_fetch_and(&sys->left[i / WORD_BITS], ~((uint64_t)1 << i % WORD_BITS));
    atomic_fetch_sub(&sys->left_frames, npages);
}

void
vm_frames_leave(struct vm_system *sys, vm_frame_t frame, uint64_t npages)
{
    vm_mutex_lock(&sys->moved_lock);
    for (uint64_t i = 0; i < npages; i++)
        left_set(sys, frame + i);
    vm_mutex_unlock(&sys->moved_lock);
    if (atomic_load(&sys->left_frames) > 2 * sys->left_max)
        vm_frames_reclaim_all(sys);
}

void
vm_frame_reclaim(struct vm_system *sys, vm_frame_t frame)
{
    if (vm_frame_is_left(sys, frame))
        left_punch(sys, frame, 1);
}

/* The first group from *frame on that may have frames that are left, or a later one. */
static bool
left_next_group(const struct vm_system *sys, uint64_t *group) VM_REQUIRES(sys->moved_lock)
{
    uint64_t ngroups = (sys->store_pages + GROUP - 1) / GROUP;
    uint64_t word = *group / WORD_BITS;
    uint64_t bits =
        *group < ngroups ? sys->left_groups[word] & UINT64_MAX << *group % WORD_BITS : 0;

    while (bits == 0) {
        if (++word * WORD_BITS >= ngroups)
            return false;
        bits = sys->left_groups[word];
    }
    *group = word * WORD_BITS + (unsigned)__builtin_ctzll(bits);
    return true;
}

/* How many frames from `frame` on, in its group, are left, or are not (`left` false). */
static unsigned
left_run(const struct vm_system *sys, vm_frame_t frame, bool left) VM_REQUIRES(sys->moved_lock)
{
    vm_frame_t end = frame - frame % GROUP + GROUP;
    vm_frame_t at = frame;

    while (at < end) {
        uint64_t bits = atomic_load(&sys->left[at / WORD_BITS]);

        bits = (left ? ~bits : bits) >> at % WORD_BITS;
        if (bits != 0) {
            at += (unsigned)__builtin_ctzll(bits);
            break;
        }
        at += WORD_BITS - at % WORD_BITS;
    }
    return (unsigned)(at - frame);
}

/* Punch the next run from *frame on; false when there is none. */
static bool
left_reclaim_next(struct vm_system *sys, vm_frame_t *frame) VM_REQUIRES(sys->moved_lock)
{
    uint64_t group = *frame / GROUP;
    unsigned run;

    while (left_next_group(sys, &group)) {
        if (*frame < group * GROUP)
            *frame = group * GROUP;
        *frame += left_run(sys, *frame, false);
        if (*frame / GROUP == group) {
            run = left_run(sys, *frame, true);
            left_punch(sys, *frame, run);
            *frame += run;
            return true;
        }
        if (left_run(sys, group * GROUP, false) == GROUP)
            sys->left_groups[group / WORD_BITS] &= ~((uint64_t)1 << group % WORD_BITS);
        group++;
    }
    return false;
}

void
vm_frames_reclaim_all(struct vm_system *sys)
{
    vm_frame_t frame = 0;
    bool more = atomic_load(&sys->left_frames) != 0;

    while (more) {
        vm_mutex_lock(&sys->moved_lock);
        for (unsigned i = 0; i < BATCH && more; i++)
            more = left_reclaim_next(sys, &frame);
        vm_mutex_unlock(&sys->moved_lock);
    }
}

bool
vm_frames_are_due(const struct vm_system *sys)
{
    return atomic_load_explicit(&sys->left_frames, memory_order_relaxed) > sys->left_max;
}

uint64_t
vm_frames_left_max(const struct vm_system *sys)
{
    uint64_t part = sys->ram_budget / LEFT_PART;

    return part < LEFT_MAX ? part : LEFT_MAX;
}
