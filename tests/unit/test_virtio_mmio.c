/* SPDX-License-Identifier: BSD-2-Clause */
/* virtio's registers in memory: what a driver reads, agrees on, sets up and resets. */
#include "vmm/device/virtio_mmio.h"

#include "tests/unit/device_rig.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#define BASE 0xd0000000u
#define READY_STATUS                                                                      \
    (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK | \
     VIRTIO_CONFIG_S_DRIVER_OK)

static struct virtio_device device;
static struct virtio_mmio mmio;
static struct virtqueue_layout layout;
static uint64_t agreed;
static unsigned started, nstarts, nstops, nnotifies;
static int start_error;
static bool level;

static const uint8_t space[12] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };

static int
on_start(void *context, unsigned queue, const struct virtqueue_layout *at, uint64_t features)
{
    (void)context;
    started = queue;
    layout = *at;
    agreed = features;
    nstarts++;
    return start_error;
}

static void
on_stop(void *context, unsigned queue)
{
    (void)context;
    (void)queue;
    nstops++;
}

static void
on_notify(void *context)
{
    (void)context;
    nnotifies++;
}

static void
on_line(void *context, unsigned line, bool high)
{
    (void)context;
    cr_assert(eq(uint, line, 17));
    level = high;
}

static const struct virtio_ops ops = { .start = on_start, .stop = on_stop, .notify = on_notify };

static uint32_t
get(unsigned offset)
{
    return (uint32_t)bus_read(BUS_MEMORY, BASE + offset, 4);
}

static void
set(unsigned offset, uint32_t value)
{
    bus_write(BUS_MEMORY, BASE + offset, 4, value);
}

static void
setup(void)
{
    virtio_init(&device, &(struct virtio_config){
                             .id = 2,
                             .features = 0x40,
                             .space = space,
                             .space_size = sizeof(space),
                             .nqueues = 1,
                             .ops = &ops,
                             .line = { .set = on_line, .line = 17 },
                         });
    virtio_mmio_init(&mmio, &device);
    bus_init(&bus, BUS_ABSENT_ONES);
    put_device(BUS_MEMORY, BASE, VIRTIO_MMIO_SIZE, virtio_mmio_access, &mmio);
}

static void
teardown(void)
{
    bus_fini(&bus);
    virtio_fini(&device);
}

TestSuite(virtio_mmio, .init = setup, .fini = teardown);

/* Up to FEATURES_OK. */
static void
agree(uint32_t low, uint32_t high)
{
    set(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    set(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
    set(VIRTIO_MMIO_DRIVER_FEATURES, low);
    set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    set(VIRTIO_MMIO_DRIVER_FEATURES, high);
    set(VIRTIO_MMIO_STATUS, READY_STATUS & ~VIRTIO_CONFIG_S_DRIVER_OK);
}

static void
set_up_queue(void)
{
    set(VIRTIO_MMIO_QUEUE_SEL, 0);
    set(VIRTIO_MMIO_QUEUE_NUM, 64);
    set(VIRTIO_MMIO_QUEUE_DESC_LOW, 0x1000);
    set(VIRTIO_MMIO_QUEUE_DESC_HIGH, 0x1);
    set(VIRTIO_MMIO_QUEUE_AVAIL_LOW, 0x2000);
    set(VIRTIO_MMIO_QUEUE_AVAIL_HIGH, 0x2);
    set(VIRTIO_MMIO_QUEUE_USED_LOW, 0x3000);
    set(VIRTIO_MMIO_QUEUE_USED_HIGH, 0x3);
    set(VIRTIO_MMIO_QUEUE_READY, 1);
}

Test(virtio_mmio, a_driver_recognises_the_device)
{
    cr_assert(eq(u32, get(VIRTIO_MMIO_MAGIC_VALUE), 0x74726976));
    cr_assert(eq(u32, get(VIRTIO_MMIO_VERSION), 2));
    cr_assert(eq(u32, get(VIRTIO_MMIO_DEVICE_ID), 2));
    cr_assert(eq(u32, get(VIRTIO_MMIO_QUEUE_NUM_MAX), VIRTQUEUE_MAX));
    set(VIRTIO_MMIO_QUEUE_SEL, 1);
    cr_assert(zero(u32, get(VIRTIO_MMIO_QUEUE_NUM_MAX)), "there is one queue");
    cr_assert(eq(u32, get(VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX), "and no shared memory");
    set(VIRTIO_MMIO_MAGIC_VALUE, 0);
    cr_assert(eq(u32, get(VIRTIO_MMIO_MAGIC_VALUE), 0x74726976));
}

Test(virtio_mmio, features_come_in_words_of_32_bits)
{
    cr_assert(eq(u32, get(VIRTIO_MMIO_DEVICE_FEATURES), 0x40));
    set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
    cr_assert(eq(u32, get(VIRTIO_MMIO_DEVICE_FEATURES), 1), "version 1");
    set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
    cr_assert(zero(u32, get(VIRTIO_MMIO_DEVICE_FEATURES)));
    set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, UINT32_MAX);
    cr_assert(zero(u32, get(VIRTIO_MMIO_DEVICE_FEATURES)));
}

Test(virtio_mmio, features_that_were_not_offered_or_are_too_old_are_not_agreed_on)
{
    static const uint32_t refused[][2] = { { 0, 0 }, { 0x40, 0 }, { 0x41, 1 }, { 0x40, 3 } };

    for (unsigned i = 0; i < 4; i++) {
        set(VIRTIO_MMIO_STATUS, 0);
        agree(refused[i][0], refused[i][1]);
        cr_assert(eq(u32, get(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK, 0), "%u", i);
        set_up_queue();
        set(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_DRIVER_OK);
        cr_assert(eq(u32, get(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_DRIVER_OK, 0));
        cr_assert(nstarts == 0 && nnotifies == 0);
    }
    set(VIRTIO_MMIO_STATUS, 0);
    agree(0x40, 1);
    cr_assert(ne(u32, get(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK, 0));
    set(VIRTIO_MMIO_DRIVER_FEATURES, 0);
    set_up_queue();
    cr_assert(eq(u64, agreed, (uint64_t)1 << 32 | 0x40), "they stay as they were agreed on");
}

Test(virtio_mmio, a_queue_starts_where_the_driver_put_it_and_stays_there)
{
    agree(0x40, 1);
    set_up_queue();
    cr_assert(nstarts == 1 && get(VIRTIO_MMIO_QUEUE_READY) == 1);
    cr_assert(layout.size == 64 && layout.descriptors.value == 0x100001000);
    cr_assert(layout.driver.value == 0x200002000 && layout.device.value == 0x300003000);
    set(VIRTIO_MMIO_QUEUE_DESC_LOW, 0xf000);
    set(VIRTIO_MMIO_QUEUE_READY, 1);
    cr_assert(nstarts == 1 && mmio.queues[0].at.descriptors.value == 0x100001000);
    set(VIRTIO_MMIO_QUEUE_READY, 0);
    cr_assert(nstops == 1 && get(VIRTIO_MMIO_QUEUE_READY) == 0);
    set(VIRTIO_MMIO_QUEUE_SEL, 1);
    set_up_queue();
    set(VIRTIO_MMIO_QUEUE_SEL, 7);
    set(VIRTIO_MMIO_QUEUE_READY, 0);
    cr_assert(nstarts == 2 && nstops == 1 && mmio.queues[0].ready, "another queue is none");
}

Test(virtio_mmio, each_queue_of_several_is_set_up_and_stopped_by_itself)
{
    device.config.nqueues = 3;
    agree(0x40, 1);
    set_up_queue();
    set(VIRTIO_MMIO_QUEUE_SEL, 2);
    cr_assert(eq(u32, get(VIRTIO_MMIO_QUEUE_NUM_MAX), VIRTQUEUE_MAX));
    cr_assert(zero(u32, get(VIRTIO_MMIO_QUEUE_READY)));
    set(VIRTIO_MMIO_QUEUE_NUM, 8);
    set(VIRTIO_MMIO_QUEUE_READY, 1);
    cr_assert(nstarts == 2 && started == 2 && layout.size == 8 && layout.descriptors.value == 0);
    set(VIRTIO_MMIO_STATUS, READY_STATUS);
    set(VIRTIO_MMIO_QUEUE_NOTIFY, 2);
    set(VIRTIO_MMIO_QUEUE_NOTIFY, 3);
    cr_assert(eq(uint, nnotifies, 2));
    set(VIRTIO_MMIO_QUEUE_READY, 0);
    cr_assert(nstops == 1 && mmio.queues[0].ready && !mmio.queues[2].ready);
    set(VIRTIO_MMIO_QUEUE_SEL, 3);
    cr_assert(zero(u32, get(VIRTIO_MMIO_QUEUE_NUM_MAX)));
    set(VIRTIO_MMIO_STATUS, 0);
    cr_assert(nstops == 4 && !mmio.queues[0].ready, "a reset stops them all");
}

Test(virtio_mmio, the_device_is_notified_only_while_it_runs)
{
    set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    agree(0x40, 1);
    set_up_queue();
    set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    cr_assert(zero(uint, nnotifies));
    set(VIRTIO_MMIO_STATUS, READY_STATUS);
    cr_assert(eq(uint, nnotifies, 1), "what was made available before counts");
    set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    set(VIRTIO_MMIO_QUEUE_NOTIFY, 1);
    cr_assert(eq(uint, nnotifies, 2), "there is no queue 1");
    virtio_need_reset(&device);
    set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    cr_assert(eq(uint, nnotifies, 2));
}

Test(virtio_mmio, the_line_is_high_until_every_interrupt_is_acknowledged)
{
    agree(0x40, 1);
    set(VIRTIO_MMIO_STATUS, READY_STATUS);
    virtio_interrupt(&device);
    cr_assert(level && get(VIRTIO_MMIO_INTERRUPT_STATUS) == VIRTIO_MMIO_INT_VRING);
    virtio_need_reset(&device);
    cr_assert(ne(u32, get(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET, 0));
    set(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
    cr_assert(level && get(VIRTIO_MMIO_INTERRUPT_STATUS) == VIRTIO_MMIO_INT_CONFIG);
    set(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
    cr_assert(get(VIRTIO_MMIO_INTERRUPT_STATUS) == 0 && !level);
}

Test(virtio_mmio, a_queue_that_cannot_be_needs_a_reset_and_a_reset_forgets_everything)
{
    start_error = -EINVAL;
    agree(0x40, 1);
    set_up_queue();
    cr_assert(zero(u32, get(VIRTIO_MMIO_QUEUE_READY)));
    cr_assert(ne(u32, get(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET, 0));
    cr_assert(level == false, "a driver that does not run yet is not interrupted");
    set(VIRTIO_MMIO_STATUS, READY_STATUS);
    virtio_interrupt(&device);
    set(VIRTIO_MMIO_STATUS, 0);
    cr_assert(nstops == 1 && !level && get(VIRTIO_MMIO_STATUS) == 0);
    cr_assert(mmio.queues[0].at.size == 0 && device.accepted == 0);
}

Test(virtio_mmio, the_configuration_space_is_read_in_every_width)
{
    cr_assert(eq(u64, bus_read(BUS_MEMORY, BASE + VIRTIO_MMIO_CONFIG, 8), 0x0807060504030201));
    cr_assert(eq(u64, bus_read(BUS_MEMORY, BASE + VIRTIO_MMIO_CONFIG + 8, 4), 0x0c0b0a09));
    cr_assert(eq(u64, bus_read(BUS_MEMORY, BASE + VIRTIO_MMIO_CONFIG + 2, 2), 0x0403));
    cr_assert(eq(u64, bus_read(BUS_MEMORY, BASE + VIRTIO_MMIO_CONFIG + 11, 1), 12));
    cr_assert(zero(u64, bus_read(BUS_MEMORY, BASE + VIRTIO_MMIO_CONFIG + 10, 4)), "beyond its end");
    cr_assert(zero(u64, bus_read(BUS_MEMORY, BASE + VIRTIO_MMIO_SIZE - 8, 8)));
    set(VIRTIO_MMIO_CONFIG, 0xffffffff);
    cr_assert(eq(u32, get(VIRTIO_MMIO_CONFIG), 0x04030201), "and cannot be written");
}

Test(virtio_mmio, a_register_of_another_width_is_zeros_and_lost)
{
    for (unsigned size = 1; size <= 8; size *= 2) {
        if (size != 4)
            cr_assert(zero(u64, bus_read(BUS_MEMORY, BASE, size)));
    }
    cr_assert(zero(u32, get(VIRTIO_MMIO_MAGIC_VALUE + 2)));
    bus_write(BUS_MEMORY, BASE + VIRTIO_MMIO_STATUS, 1, 1);
    bus_write(BUS_MEMORY, BASE + VIRTIO_MMIO_STATUS, 8, 1);
    cr_assert(zero(u32, get(VIRTIO_MMIO_STATUS)));
}
