/* SPDX-License-Identifier: BSD-2-Clause */
/* Split virtqueues: chains, rules that a hostile driver breaks, interrupts and notifications. */
#include "vmm/device/virtqueue.h"

#include "tests/unit/virtio_rig.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define INDIRECT ((uint64_t)1 << VIRTIO_RING_F_INDIRECT_DESC)
#define EVENTS ((uint64_t)1 << VIRTIO_RING_F_EVENT_IDX)
#define SIZE 8u

static struct virtio_rig rig;
static struct virtio_memory memory;
static struct virtqueue queue;
static struct virtqueue_chain chain;

static void
start(uint64_t features)
{
    virtio_rig_init(&rig, SIZE);
    memory = virtio_rig_memory(&rig);
    virtqueue_init(&queue, &memory);
    cr_assert(zero(int, virtqueue_start(&queue, &rig.at, features)));
}

static void
descriptor(unsigned i, uint64_t address, uint32_t size, uint16_t flags, uint16_t next)
{
    virtio_rig_descriptor(&rig, RIG_DESCRIPTORS, i, address, size, flags, next);
}

static bool
put(uint16_t head)
{
    bool interrupt = false;

    cr_assert(zero(int, virtqueue_put(&queue, head, 1, &interrupt)));
    return interrupt;
}

Test(virtqueue, a_chain_comes_out_as_its_segments_and_goes_back_with_what_was_written)
{
    uint32_t head, written;
    bool interrupt = false;

    start(0);
    cr_assert(zero(int, virtqueue_take(&queue, &chain)));
    descriptor(5, 0x8000, 16, F_READ | F_NEXT, 2);
    descriptor(2, 0x9000, 512, F_WRITE | F_NEXT, 7);
    descriptor(7, 0xa000, 1, F_WRITE, 0);
    virtio_rig_offer(&rig, 5);
    cr_assert(eq(int, virtqueue_take(&queue, &chain), 1));
    cr_assert(chain.head == 5 && chain.nread == 1 && chain.nwrite == 2);
    cr_assert(chain.read_size == 16 && chain.write_size == 513);
    cr_assert(chain.segments[1].start.value == 0x9000 && chain.segments[2].size == 1);
    cr_assert(zero(int, virtqueue_take(&queue, &chain)));
    cr_assert(zero(int, virtqueue_put(&queue, 5, 513, &interrupt)));
    cr_assert(interrupt);
    cr_assert(virtio_rig_used(&rig, &head, &written) == 1 && head == 5 && written == 513);
    virtio_rig_fini(&rig);
}

Test(virtqueue, an_indirect_table_holds_the_rest_of_a_chain)
{
    start(INDIRECT);
    descriptor(0, 0x8000, 16, F_READ | F_NEXT, 1);
    /* 2.7.5.3.2: the device ignores F_WRITE of one that names a table. */
    descriptor(1, RIG_INDIRECT, 3 * 16, F_INDIRECT | F_WRITE, 0);
    virtio_rig_descriptor(&rig, RIG_INDIRECT, 0, 0x9000, 8, F_READ | F_NEXT, 2);
    virtio_rig_descriptor(&rig, RIG_INDIRECT, 2, 0xa000, 512, F_WRITE | F_NEXT, 1);
    virtio_rig_descriptor(&rig, RIG_INDIRECT, 1, 0xb000, 1, F_WRITE, 0);
    virtio_rig_offer(&rig, 0);
    cr_assert(eq(int, virtqueue_take(&queue, &chain), 1));
    cr_assert(chain.nread == 2 && chain.nwrite == 2 && chain.segments[3].start.value == 0xb000);
    virtio_rig_fini(&rig);
}

/* A chain of two segments, and an indirect table of two. */
static void
make_legal(void)
{
    descriptor(0, 0x8000, 16, F_READ | F_NEXT, 1);
    descriptor(1, 0x9000, 512, F_WRITE, 0);
    descriptor(2, RIG_INDIRECT, 2 * 16, F_INDIRECT, 0);
    virtio_rig_descriptor(&rig, RIG_INDIRECT, 0, 0x9000, 512, F_READ | F_NEXT, 1);
    virtio_rig_descriptor(&rig, RIG_INDIRECT, 1, 0xa000, 1, F_WRITE, 0);
}

/* One descriptor of the two tables that is wrong, or the ring's index, and the rule that says so. */
static const struct {
    const char *rule;
    uint16_t head;
    bool indirect; /* the descriptor is one of the indirect table */
    unsigned i;
    uint64_t address;
    uint32_t size;
    uint16_t flags, next;
    uint16_t offered; /* the available index, 0 = 1 */
} broken[] = {
    { .rule = "more requests", .offered = SIZE + 1 },
    { .rule = "more requests", .offered = 0xffff },
    { .rule = "beyond the table", .head = SIZE },
    { .rule = "beyond the table", .head = 0xffff },
    { "beyond the table", 0, false, 0, 0x8000, 16, F_NEXT, SIZE, 0 },
    { "beyond the table", 2, true, 0, 0x8000, 16, F_NEXT, 2, 0 },
    { "a loop", 0, false, 0, 0x8000, 16, F_NEXT, 0, 0 },
    { "a loop", 0, false, 1, 0x8000, 16, F_NEXT, 0, 0 },
    { "a loop", 2, true, 1, 0x8000, 16, F_NEXT, 0, 0 },
    { "without a byte", 0, false, 0, 0x8000, 0, F_NEXT, 1, 0 },
    { "wraps around", 0, false, 0, UINT64_MAX - 14, 16, F_NEXT, 1, 0 },
    { "behind one to write", 0, false, 0, 0x8000, 16, F_WRITE | F_NEXT, 3, 0 },
    { "4 GiB", 0, false, 0, 0x8000, UINT32_MAX, F_NEXT, 1, 0 },
    { "inside an indirect", 2, true, 0, RIG_INDIRECT, 16, F_INDIRECT, 0, 0 },
    { "with a next one", 2, false, 2, RIG_INDIRECT, 32, F_INDIRECT | F_NEXT, 0, 0 },
    { "size that cannot be", 2, false, 2, RIG_INDIRECT, 0, F_INDIRECT, 0, 0 },
    { "size that cannot be", 2, false, 2, RIG_INDIRECT, 33, F_INDIRECT, 0, 0 },
    { "size that cannot be", 2, false, 2, RIG_INDIRECT, 16 * (SIZE + 1), F_INDIRECT, 0, 0 },
    { "size that cannot be", 2, false, 2, RIG_INDIRECT, 0xfffffff0, F_INDIRECT, 0, 0 },
    { "wraps around", 2, false, 2, UINT64_MAX - 30, 32, F_INDIRECT, 0, 0 },
    { "not in memory", 2, false, 2, RIG_MEMORY - 8, 32, F_INDIRECT, 0, 0 },
};

Test(virtqueue, each_rule_that_a_driver_breaks_is_named_and_breaks_the_queue)
{
    for (size_t i = 0; i < COUNT(broken); i++) {
        start(INDIRECT);
        make_legal();
        descriptor(3, 0x9000, 1, F_READ, 0);
        if (broken[i].size != 0 || broken[i].address != 0)
            virtio_rig_descriptor(&rig, broken[i].indirect ? RIG_INDIRECT : RIG_DESCRIPTORS,
                                  broken[i].i, broken[i].address, broken[i].size, broken[i].flags,
                                  broken[i].next);
        virtio_rig_offer(&rig, broken[i].head);
        if (broken[i].offered != 0)
            virtio_rig_set_word(&rig, RIG_DRIVER + 2, broken[i].offered);
        cr_assert(eq(int, virtqueue_take(&queue, &chain), -EPROTO), "case %zu", i);
        cr_assert(strstr(queue.broken, broken[i].rule) != NULL, "case %zu: %s", i, queue.broken);
        cr_assert(eq(int, virtqueue_take(&queue, &chain), -EPROTO), "it stays broken");
        cr_assert(zero(int, virtqueue_start(&queue, &rig.at, 0)), "until it is started anew");
        cr_assert(queue.broken == NULL);
        virtio_rig_fini(&rig);
    }
}

Test(virtqueue, an_indirect_table_that_was_not_agreed_on_breaks_the_queue)
{
    start(0);
    make_legal();
    virtio_rig_offer(&rig, 2);
    cr_assert(eq(int, virtqueue_take(&queue, &chain), -EPROTO));
    cr_assert(strstr(queue.broken, "not agreed on") != NULL);
    virtio_rig_fini(&rig);
}

Test(virtqueue, a_queue_whose_place_cannot_be_does_not_start)
{
    static const struct virtqueue_layout places[] = {
        { 0, { 0x1000 }, { 0x2000 }, { 0x3000 } },
        { 3, { 0x1000 }, { 0x2000 }, { 0x3000 } },
        { 2 * VIRTQUEUE_MAX, { 0x1000 }, { 0x2000 }, { 0x3000 } },
        { UINT32_MAX, { 0x1000 }, { 0x2000 }, { 0x3000 } },
        { 8, { 0x1008 }, { 0x2000 }, { 0x3000 } },
        { 8, { 0x1000 }, { 0x2001 }, { 0x3000 } },
        { 8, { 0x1000 }, { 0x2000 }, { 0x3002 } },
        { 8, { UINT64_MAX - 15 }, { 0x2000 }, { 0x3000 } },
        { 8, { 0x1000 }, { UINT64_MAX - 1 }, { 0x3000 } },
        { 8, { 0x1000 }, { 0x2000 }, { UINT64_MAX - 3 } },
    };

    start(0);
    for (size_t i = 0; i < COUNT(places); i++) {
        cr_assert(eq(int, virtqueue_start(&queue, &places[i], 0), -EINVAL), "place %zu", i);
        cr_assert(eq(int, virtqueue_take(&queue, &chain), -EPROTO));
    }
    virtqueue_stop(&queue);
    cr_assert(zero(int, virtqueue_take(&queue, &chain)));
    virtio_rig_fini(&rig);
}

Test(virtqueue, rings_outside_memory_break_the_queue_and_a_failing_host_does_not)
{
    struct virtqueue_layout at;
    bool interrupt;

    start(0);
    make_legal();
    virtio_rig_offer(&rig, 0);
    rig.error = -EIO;
    cr_assert(eq(int, virtqueue_take(&queue, &chain), -EIO));
    rig.error = 0;
    cr_assert(eq(int, virtqueue_take(&queue, &chain), 1));
    at = rig.at;
    at.driver.value = RIG_MEMORY;
    cr_assert(zero(int, virtqueue_start(&queue, &at, 0)));
    cr_assert(eq(int, virtqueue_take(&queue, &chain), -EPROTO));
    at = rig.at;
    at.device.value = RIG_MEMORY - 4;
    cr_assert(zero(int, virtqueue_start(&queue, &at, 0)));
    cr_assert(eq(int, virtqueue_put(&queue, 0, 0, &interrupt), -EPROTO));
    virtio_rig_fini(&rig);
}

Test(virtqueue, indexes_go_on_beyond_16_bits)
{
    uint32_t head, written;

    start(0);
    make_legal();
    for (unsigned i = 0; i < 0x10003; i++) {
        virtio_rig_offer(&rig, 0);
        cr_assert(eq(int, virtqueue_take(&queue, &chain), 1));
        cr_assert(put(0));
    }
    cr_assert(virtio_rig_used(&rig, &head, &written) == 3);
    virtio_rig_fini(&rig);
}

Test(virtqueue, the_driver_is_interrupted_only_when_it_wants_to_be)
{
    start(0);
    make_legal();
    cr_assert(put(0));
    virtio_rig_set_word(&rig, RIG_DRIVER, VRING_AVAIL_F_NO_INTERRUPT);
    cr_assert(put(0) == false);
    virtio_rig_fini(&rig);

    start(EVENTS);
    virtio_rig_set_word(&rig, RIG_DRIVER + 4 + 2 * SIZE, 1); /* for the second */
    cr_assert(put(0) == false);
    cr_assert(put(0));
    cr_assert(put(0) == false);
    virtio_rig_fini(&rig);
}

Test(virtqueue, a_notification_is_asked_for_only_when_nothing_is_left)
{
    start(EVENTS);
    make_legal();
    virtio_rig_set_word(&rig, RIG_DEVICE + 4 + 8 * SIZE, 0x7777);
    virtio_rig_offer(&rig, 0);
    virtio_rig_offer(&rig, 0);
    cr_assert(eq(int, virtqueue_take(&queue, &chain), 1));
    cr_assert(eq(int, virtqueue_take(&queue, &chain), 1));
    cr_assert(eq(int, virtio_rig_word(&rig, RIG_DEVICE + 4 + 8 * SIZE), 0x7777));
    cr_assert(zero(int, virtqueue_take(&queue, &chain)));
    cr_assert(eq(int, virtio_rig_word(&rig, RIG_DEVICE + 4 + 8 * SIZE), 2));
    virtio_rig_fini(&rig);
}

Test(virtqueue, bytes_of_a_chain_are_copied_across_its_segments)
{
    uint8_t bytes[12];

    start(0);
    descriptor(0, 0x8000, 3, F_READ | F_NEXT, 1);
    descriptor(1, 0x9000, 5, F_READ | F_NEXT, 2);
    descriptor(2, 0xa000, 1, F_WRITE | F_NEXT, 3);
    descriptor(3, 0xb000, 4, F_WRITE, 0);
    memcpy(rig.memory + 0x8000, "abc", 3);
    memcpy(rig.memory + 0x9000, "defgh", 5);
    virtio_rig_offer(&rig, 0);
    cr_assert(eq(int, virtqueue_take(&queue, &chain), 1));
    cr_assert(zero(int, virtqueue_read(&queue, &chain, 2, bytes, 4)));
    cr_assert(memcmp(bytes, "cdef", 4) == 0);
    cr_assert(zero(int, virtqueue_read(&queue, &chain, 4, bytes, 4)));
    cr_assert(memcmp(bytes, "efgh", 4) == 0);
    cr_assert(zero(int, virtqueue_write(&queue, &chain, 0, "12345", 5)));
    cr_assert(rig.memory[0xa000] == '1' && memcmp(rig.memory + 0xb000, "2345", 4) == 0);
    cr_assert(rig.memory[0xa001] == 0 && rig.memory[0xb004] == 0);
    virtio_rig_fini(&rig);
}

/* --- Both sides look after they have written ------------------------------------ */

/*
 * In each round the driver asks for an interrupt and looks at the used index, while the device moves that index and
 * looks what the driver asked for.  Without a fence on either side both can miss what the other wrote,
 * and the driver would sleep for ever.  Their memory has no lock, unlike the rig's; and
 * the device's index is stored behind stores to memory that is in no cache, so that it is seen late: where both sides
 * run at once, most rounds without the fence are lost.
 */
#define RACE_ROUNDS 4000u
#define RACE_SPINS 20000u /* longer than a round takes where both run at once */

#define COLD_LINES 16u

static struct {
    _Alignas(64) uint8_t memory[RIG_MEMORY];
    _Alignas(64) uint8_t cold[COLD_LINES * 64]; /* in no cache */
    _Alignas(64) _Atomic unsigned round;        /* both sides may begin it */
    _Alignas(64) _Atomic unsigned asked;        /* the driver is done with it */
    _Atomic bool saw;
} race;

static _Atomic uint16_t *
race_word(uint64_t at)
{
    return (_Atomic uint16_t *)(void *)(race.memory + at);
}

static int
race_read(void *context, gpa_t gpa, void *to, size_t size)
{
    uint16_t value = atomic_load_explicit(race_word(gpa.value), memory_order_relaxed);

    (void)context;
    cr_assert(eq(sz, size, sizeof(value)));
    memcpy(to, &value, size);
    return 0;
}

/* What is stored after this is seen late by others, since stores are seen in their order. */
static void
delay_stores(void)
{
    for (unsigned i = 0; i < COLD_LINES; i++)
        *(volatile uint8_t *)&race.cold[i * 64] = 1;
}

static void
make_cold(void)
{
    for (unsigned i = 0; i < COLD_LINES; i++)
        __builtin_ia32_clflush(&race.cold[i * 64]);
}

static int
race_write(void *context, gpa_t gpa, const void *from, size_t size)
{
    uint16_t value;

    (void)context;
    if (size != sizeof(value)) {
        memcpy(race.memory + gpa.value, from, size);
        return 0;
    }
    memcpy(&value, from, size);
    if (gpa.value == RIG_DEVICE + 2)
        delay_stores();
    atomic_store_explicit(race_word(gpa.value), value, memory_order_relaxed);
    return 0;
}

static void
race_await(_Atomic unsigned *what, unsigned value)
{
    for (unsigned spins = 0; atomic_load(what) != value; spins++) {
        if (spins > RACE_SPINS)
            sched_yield();
    }
}

/* Each side on a processor of its own, where there are two. */
static void
race_pin(unsigned which)
{
    cpu_set_t allowed, one;

    cr_assert(zero(int, sched_getaffinity(0, sizeof(allowed), &allowed)));
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed) && which-- == 0)
            CPU_SET(cpu, &one);
    }
    if (CPU_COUNT(&one) != 0)
        (void)!sched_setaffinity(0, sizeof(one), &one);
}

static void *
driver_thread(void *argument)
{
    _Atomic uint16_t *wish = race_word(RIG_DRIVER + 4 + 2 * SIZE),
                     *used = race_word(RIG_DEVICE + 2);

    (void)argument;
    race_pin(1);
    for (unsigned round = 1; round <= RACE_ROUNDS; round++) {
        race_await(&race.round, round);
        atomic_store_explicit(wish, (uint16_t)(round - 1), memory_order_relaxed);
        atomic_thread_fence(memory_order_seq_cst);
        atomic_store(&race.saw,
                     atomic_load_explicit(used, memory_order_relaxed) == (uint16_t)round);
        atomic_store(&race.asked, round);
    }
    return NULL;
}

Test(virtqueue, a_driver_that_asks_while_a_chain_is_given_back_sees_it_or_is_interrupted)
{
    const struct virtqueue_layout at = {
        SIZE, { RIG_DESCRIPTORS }, { RIG_DRIVER }, { RIG_DEVICE }
    };
    pthread_t driver;
    unsigned lost = 0;

    memory = (struct virtio_memory){ .read = race_read, .write = race_write };
    virtqueue_init(&queue, &memory);
    cr_assert(zero(int, virtqueue_start(&queue, &at, EVENTS)));
    cr_assert(zero(int, pthread_create(&driver, NULL, driver_thread, NULL)));
    race_pin(0);
    for (unsigned round = 1; round <= RACE_ROUNDS; round++) {
        bool interrupted;

        make_cold();
        atomic_store(&race.round, round);
        interrupted = put(0);
        race_await(&race.asked, round);
        lost += !interrupted && !atomic_load(&race.saw);
    }
    cr_assert(zero(int, pthread_join(driver, NULL)));
    cr_assert(zero(uint, lost));
}
