/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Free page reporting: what a driver reports goes before the buffer comes back, and a hostile driver
 * breaks nothing but its own queue.
 */
#include "vmm/device/virtio_balloon.h"

#include "tests/unit/virtio_rig.h"

#include <errno.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_config.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#define SIZE 8u
#define AGREED                                                                        \
    ((uint64_t)1 << VIRTIO_F_VERSION_1 | (uint64_t)1 << VIRTIO_RING_F_INDIRECT_DESC | \
     (uint64_t)1 << VIRTIO_BALLOON_F_REPORTING)
#define MIB ((uint64_t)1 << 20)

static struct virtio_rig rig;
static struct virtio_balloon *balloon;
static struct workers *workers;

/* What was discarded. */
static _Atomic unsigned ndiscarded;
static struct {
    uint64_t start, size;
} discarded[64];
static _Atomic bool stall; /* discarding takes until this is clear again */

static void
discard(void *context, gpa_t gpa, uint64_t size)
{
    unsigned i = atomic_load(&ndiscarded);

    cr_assert(context == &rig);
    cr_assert(eq(uint, rig.turn, 1), "within a turn only");
    cr_assert(size >= 1 && size <= VIRTIO_BALLOON_TURN);
    cr_assert(i < 64);
    discarded[i].start = gpa_to_u64(gpa);
    discarded[i].size = size;
    atomic_fetch_add(&ndiscarded, 1);
    while (atomic_load(&stall))
        sched_yield();
}

static struct virtio_device *
device(void)
{
    return virtio_balloon_device(balloon);
}

/* The driver starts, with the rig's queue as the one of that number. */
static void
drive(unsigned queue)
{
    virtio_accept(device(), 0, (uint32_t)AGREED);
    virtio_accept(device(), 1, (uint32_t)(AGREED >> 32));
    virtio_set_status(device(), VIRTIO_CONFIG_S_FEATURES_OK);
    cr_assert(ne(uint, virtio_status(device()) & VIRTIO_CONFIG_S_FEATURES_OK, 0));
    cr_assert(virtio_start_queue(device(), queue, &rig.at));
    virtio_set_status(device(), VIRTIO_CONFIG_S_DRIVER_OK);
}

/* The driver resets the device, which touches no memory from then on, and begins anew. */
static void
reset(void)
{
    virtio_set_status(device(), 0);
    memset(rig.memory, 0, RIG_MEMORY);
    rig.offered = 0;
    atomic_store(&rig.used, 0);
}

static void
setup(void)
{
    struct virtio_balloon_setup config = {
        .turns = { .enter = virtio_rig_enter, .leave = virtio_rig_leave, .context = &rig },
        .discard = discard,
    };

    virtio_rig_init(&rig, SIZE);
    rig.turns = true;
    config.memory = virtio_rig_memory(&rig);
    cr_assert(zero(int, virtio_balloon_create(&config, &balloon)));
    cr_assert(zero(int, workers_create(1, &workers)));
    cr_assert(zero(int, virtio_worker_start(virtio_balloon_worker(balloon), workers)));
}

static void
teardown(void)
{
    virtio_worker_stop(virtio_balloon_worker(balloon));
    virtio_worker_unref(virtio_balloon_worker(balloon));
    workers_destroy(workers);
    virtio_rig_fini(&rig);
}

TestSuite(virtio_balloon, .init = setup, .fini = teardown, .timeout = 30);

static bool
needs_reset(void)
{
    return (virtio_status(device()) & VIRTIO_CONFIG_S_NEEDS_RESET) != 0;
}

/* Offer the chain that begins at descriptor 0. */
static void
offer(void)
{
    virtio_rig_offer(&rig, 0);
    virtio_notify(device());
}

static bool
has_come_back(void)
{
    return atomic_load(&rig.used) == (0x10000u | rig.offered);
}

/* ... and wait until it was given back or the queue is broken. */
static void
report(void)
{
    offer();
    while (!has_come_back() && !needs_reset())
        sched_yield();
}

static void
segment(unsigned i, uint64_t at, uint32_t size, uint16_t flags)
{
    virtio_rig_descriptor(&rig, RIG_DESCRIPTORS, i, at, size, flags, (uint16_t)(i + 1));
}

static void
expect_discarded(unsigned i, uint64_t start, uint64_t size)
{
    cr_assert(lt(uint, i, ndiscarded));
    cr_expect(eq(u64, discarded[i].start, start));
    cr_expect(eq(u64, discarded[i].size, size));
}

/* Linux counts queues without those whose features are not offered; the specification does not. */
Test(virtio_balloon, what_is_reported_goes_whichever_number_its_queue_has)
{
    for (unsigned queue = 2; queue <= 4; queue++) {
        uint32_t head = 1, written = 1;

        atomic_store(&ndiscarded, 0);
        drive(queue);
        segment(0, 2 * MIB, 4 * MIB, F_WRITE | F_NEXT);
        segment(1, 64 * MIB, 2 * MIB, F_WRITE);
        report();
        cr_assert(eq(uint, ndiscarded, 2), "queue %u", queue);
        expect_discarded(0, 2 * MIB, 4 * MIB);
        expect_discarded(1, 64 * MIB, 2 * MIB);
        cr_expect(eq(uint, virtio_rig_used(&rig, &head, &written), 1));
        cr_expect(head == 0 && written == 0);
        reset();
    }
}

Test(virtio_balloon, the_buffer_comes_back_after_its_memory_went)
{
    drive(2);
    atomic_store(&stall, true);
    segment(0, 2 * MIB, 2 * MIB, F_WRITE);
    offer();
    while (atomic_load(&ndiscarded) == 0)
        sched_yield();
    cr_expect(not(has_come_back()));
    atomic_store(&stall, false);
    while (!has_come_back())
        sched_yield();
}

Test(virtio_balloon, a_large_range_goes_in_several_turns)
{
    drive(2);
    segment(0, 4096 * MIB, 40 * (uint32_t)MIB, F_WRITE);
    report();
    cr_assert(eq(uint, ndiscarded, 3));
    expect_discarded(0, 4096 * MIB, 16 * MIB);
    expect_discarded(2, 4128 * MIB, 8 * MIB);
}

Test(virtio_balloon, an_indirect_table_is_a_report_like_any_other)
{
    drive(2);
    virtio_rig_descriptor(&rig, RIG_INDIRECT, 0, 2 * MIB, 4096, F_WRITE | F_NEXT, 1);
    virtio_rig_descriptor(&rig, RIG_INDIRECT, 1, 8 * MIB, 4096, F_WRITE, 0);
    virtio_rig_descriptor(&rig, RIG_DESCRIPTORS, 0, RIG_INDIRECT, 32, F_INDIRECT, 0);
    report();
    cr_assert(eq(uint, ndiscarded, 2));
    expect_discarded(1, 8 * MIB, 4096);
}

Test(virtio_balloon, what_the_device_may_only_read_stays)
{
    drive(2);
    segment(0, 2 * MIB, 4096, F_READ | F_NEXT);
    segment(1, 4 * MIB, 4096, F_WRITE);
    report();
    cr_assert(eq(uint, ndiscarded, 1));
    expect_discarded(0, 4 * MIB, 4096);
    cr_expect(not(needs_reset()));
}

Test(virtio_balloon, pages_put_into_the_balloon_stay_as_they_are)
{
    for (unsigned queue = 0; queue < 2; queue++) {
        drive(queue);
        segment(0, RIG_DATA, 1024, F_WRITE);
        report();
        cr_expect(zero(uint, ndiscarded));
        cr_expect(not(needs_reset()));
        reset();
    }
}

Test(virtio_balloon, a_range_without_memory_is_passed_on_as_it_is)
{
    drive(2);
    segment(0, UINT64_MAX - 4095, 4096, F_WRITE | F_NEXT);
    segment(1, 3, 5, F_WRITE);
    report();
    cr_assert(eq(uint, ndiscarded, 2));
    expect_discarded(0, UINT64_MAX - 4095, 4096);
    expect_discarded(1, 3, 5);
}

/* Each is a rule of virtqueue.h: the queue is broken, nothing went, and a reset mends it. */
Test(virtio_balloon, a_broken_rule_breaks_the_queue_until_a_reset)
{
    for (unsigned rule = 0; rule < 6; rule++) {
        unsigned before = atomic_load(&ndiscarded);

        drive(2);
        segment(0, 2 * MIB, 4096, F_WRITE);
        switch (rule) {
        case 0: /* a loop */
            virtio_rig_descriptor(&rig, RIG_DESCRIPTORS, 0, 2 * MIB, 4096, F_WRITE | F_NEXT, 0);
            break;
        case 1: /* beyond the table */
            virtio_rig_descriptor(&rig, RIG_DESCRIPTORS, 0, 2 * MIB, 4096, F_WRITE | F_NEXT, SIZE);
            break;
        case 2: /* without a byte */
            segment(0, 2 * MIB, 0, F_WRITE);
            break;
        case 3: /* wraps around */
            segment(0, UINT64_MAX - 4094, 4096, F_WRITE);
            break;
        case 4: /* more than there can be */
            rig.offered = (uint16_t)(rig.offered + SIZE);
            break;
        default: /* a table that is not in memory */
            virtio_rig_descriptor(&rig, RIG_DESCRIPTORS, 0, RIG_MEMORY, 32, F_INDIRECT, 0);
            break;
        }
        report();
        cr_assert(needs_reset(), "rule %u", rule);
        cr_assert(eq(uint, ndiscarded, before));
        reset();
    }
    drive(2);
    segment(0, 2 * MIB, 4096, F_WRITE);
    report();
    cr_assert(not(needs_reset()));
}

Test(virtio_balloon, a_reset_drops_the_rest_of_a_report_and_what_comes_then_is_served)
{
    uint32_t head, written;

    drive(2);
    atomic_store(&stall, true);
    segment(0, 2 * MIB, 2 * MIB, F_WRITE | F_NEXT);
    segment(1, 8 * MIB, 2 * MIB, F_WRITE);
    offer();
    while (atomic_load(&ndiscarded) == 0)
        sched_yield();
    atomic_store(&stall, false);
    reset();
    atomic_store(&ndiscarded, 0);
    drive(4);
    segment(0, 32 * MIB, 4096, F_WRITE);
    report();
    cr_assert(eq(uint, ndiscarded, 1));
    expect_discarded(0, 32 * MIB, 4096);
    cr_expect(eq(uint, virtio_rig_used(&rig, &head, &written), 1));
}

Test(virtio_balloon, a_vm_that_ends_drops_what_is_left)
{
    drive(2);
    atomic_store(&stall, true);
    segment(0, 2 * MIB, 64 * (uint32_t)MIB, F_WRITE);
    offer();
    while (atomic_load(&ndiscarded) == 0)
        sched_yield();
    atomic_store(&stall, false);
    virtio_worker_stop(virtio_balloon_worker(balloon));
    cr_expect(lt(uint, ndiscarded, 5));
}

Test(virtio_balloon, it_offers_reporting_alone_and_wants_no_page)
{
    const struct virtio_config *config = &device()->config;
    const struct virtio_balloon_config *space = config->space;

    cr_expect(eq(uint, config->id, 5));
    cr_expect(zero(u64, config->features & 0x1f));
    cr_expect(eq(sz, config->space_size, sizeof(*space)));
    cr_expect(space->num_pages == 0 && space->actual == 0);
}
