/* SPDX-License-Identifier: BSD-2-Clause */
/* The virtio block device: requests against a file, and what becomes of one that is stuck. */
#include "vmm/device/virtio_blk.h"

#include "tests/unit/virtio_rig.h"
#include "vmm/base/clock.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTORS 64u
#define HEADER 0x8000u
#define DATA 0x9000u
#define STATUS 0x8100u
#define VERSION_1 ((uint64_t)1 << VIRTIO_F_VERSION_1)

/* A disk in memory, which is stuck while `stall` is set. */
struct fake {
    struct disk disk;
    uint8_t bytes[SECTORS * DISK_SECTOR];
    _Atomic bool stall;
    _Atomic unsigned nstuck;
    unsigned nflushes;
    int error;
};

static struct fake fake;
static struct virtio_rig rig;
static struct virtio_blk *blk;
static struct workers *workers;
static _Atomic unsigned nclosed;
static unsigned ntold;
static char told[192];

static void
await_disk(void)
{
    atomic_fetch_add(&fake.nstuck, 1);
    while (atomic_load(&fake.stall))
        sched_yield();
    atomic_fetch_sub(&fake.nstuck, 1);
}

static int
fake_read(struct disk *disk, void *to, size_t size, uint64_t offset)
{
    (void)disk;
    await_disk();
    memcpy(to, fake.bytes + offset, size);
    return fake.error;
}

static int
fake_write(struct disk *disk, const void *from, size_t size, uint64_t offset)
{
    (void)disk;
    memcpy(fake.bytes + offset, from, size);
    return fake.error;
}

static int
fake_flush(struct disk *disk)
{
    (void)disk;
    fake.nflushes++;
    return fake.error;
}

static int
fake_zero(struct disk *disk, uint64_t size, uint64_t offset, bool unmap)
{
    (void)disk;
    (void)unmap;
    memset(fake.bytes + offset, 0, size);
    return fake.error;
}

static int
fake_discard(struct disk *disk, uint64_t size, uint64_t offset)
{
    return fake_zero(disk, size, offset, true);
}

static void
fake_close(struct disk *disk)
{
    (void)disk;
    atomic_fetch_add(&nclosed, 1);
}

static const struct disk_ops fake_ops = { fake_read,    fake_write, fake_flush,
                                          fake_discard, fake_zero,  fake_close };

static void
note(void *context, const char *line)
{
    (void)context;
    ntold++;
    snprintf(told, sizeof(told), "%s", line);
}

static void
begin(bool read_only, uint64_t features)
{
    struct virtio_blk_setup setup = {
        .disk = &fake.disk,
        .index = 3,
        .turns = { .enter = virtio_rig_enter, .leave = virtio_rig_leave, .context = &rig },
        .tell = note,
    };
    struct virtio_device *device;

    virtio_rig_init(&rig, 8);
    rig.turns = true;
    setup.memory = virtio_rig_memory(&rig);
    fake.disk = (struct disk){ .ops = &fake_ops,
                               .size = sizeof(fake.bytes),
                               .block_size = 512,
                               .read_only = read_only,
                               .discards = !read_only };
    cr_assert(zero(int, virtio_blk_create(&setup, &blk)));
    cr_assert(zero(int, workers_create(1, &workers)));
    cr_assert(zero(int, virtio_worker_start(virtio_blk_worker(blk), workers)));
    device = virtio_blk_device(blk);
    features |= VERSION_1;
    virtio_accept(device, 0, (uint32_t)features);
    virtio_accept(device, 1, (uint32_t)(features >> 32));
    virtio_set_status(device, VIRTIO_CONFIG_S_FEATURES_OK);
    cr_assert(virtio_start_queue(device, 0, &rig.at));
    virtio_set_status(device, VIRTIO_CONFIG_S_DRIVER_OK);
}

static void
end(void)
{
    virtio_worker_stop(virtio_blk_worker(blk));
    virtio_worker_unref(virtio_blk_worker(blk));
    workers_destroy(workers);
    cr_assert(eq(uint, nclosed, 1));
    virtio_rig_fini(&rig);
}

/* Offer a request whose data is `size` bytes at DATA. */
static void
offer(uint32_t type, uint64_t sector, uint32_t size, bool gives)
{
    const struct virtio_blk_outhdr header = { .type = type, .sector = sector };

    memcpy(rig.memory + HEADER, &header, sizeof(header));
    rig.memory[STATUS] = 0xee;
    virtio_rig_descriptor(&rig, RIG_DESCRIPTORS, 0, HEADER, sizeof(header), F_NEXT,
                          size == 0 ? 2 : 1);
    virtio_rig_descriptor(&rig, RIG_DESCRIPTORS, 1, DATA, size, (gives ? F_WRITE : 0) | F_NEXT, 2);
    virtio_rig_descriptor(&rig, RIG_DESCRIPTORS, 2, STATUS, 1, F_WRITE, 0);
    virtio_rig_offer(&rig, 0);
    virtio_notify(virtio_blk_device(blk));
}

static bool
needs_reset(void)
{
    return (virtio_status(virtio_blk_device(blk)) & VIRTIO_CONFIG_S_NEEDS_RESET) != 0;
}

static unsigned
answer(void)
{
    while (atomic_load(&rig.used) != (0x10000u | rig.offered) && !needs_reset())
        sched_yield();
    return rig.memory[STATUS];
}

Test(virtio_blk, sectors_are_written_flushed_and_read_back)
{
    begin(false, 1u << VIRTIO_BLK_F_FLUSH);
    memset(rig.memory + DATA, 0x5a, 1024);
    offer(VIRTIO_BLK_T_OUT, 3, 1024, false);
    cr_assert(eq(uint, answer(), VIRTIO_BLK_S_OK));
    cr_assert(fake.bytes[3 * 512] == 0x5a && fake.bytes[5 * 512 - 1] == 0x5a);
    cr_assert(fake.bytes[5 * 512] == 0 && fake.nflushes == 0);
    offer(VIRTIO_BLK_T_FLUSH, 0, 0, false);
    cr_assert(eq(uint, answer(), VIRTIO_BLK_S_OK));
    cr_assert(eq(uint, fake.nflushes, 1));
    memset(rig.memory + DATA, 0, 1024);
    offer(VIRTIO_BLK_T_IN, 4, 512, true);
    cr_assert(eq(uint, answer(), VIRTIO_BLK_S_OK));
    cr_assert(rig.memory[DATA] == 0x5a && rig.memory[DATA + 512] == 0);
    offer(VIRTIO_BLK_T_GET_ID, 0, 20, true);
    cr_assert(eq(uint, answer(), VIRTIO_BLK_S_OK));
    cr_assert(strcmp((char *)rig.memory + DATA, "vkvm-disk-3") == 0);
    end();
}

Test(virtio_blk, without_flush_every_write_is_safe_at_once)
{
    begin(false, 0);
    offer(VIRTIO_BLK_T_OUT, 0, 512, false);
    cr_assert(eq(uint, answer(), VIRTIO_BLK_S_OK));
    cr_assert(eq(uint, fake.nflushes, 1));
    end();
}

Test(virtio_blk, what_lies_outside_the_disk_or_is_no_sector_is_an_error)
{
    static const struct {
        uint64_t sector;
        uint32_t size;
    } places[] = { { SECTORS, 512 },    { SECTORS - 1, 1024 },
                   { UINT64_MAX, 512 }, { UINT64_MAX / 512, 512 },
                   { 0, 511 },          { 0, 513 } };

    begin(false, 0);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        offer(VIRTIO_BLK_T_IN, places[i].sector, places[i].size, true);
        cr_assert(eq(uint, answer(), VIRTIO_BLK_S_IOERR), "place %zu", i);
        offer(VIRTIO_BLK_T_OUT, places[i].sector, places[i].size, false);
        cr_assert(eq(uint, answer(), VIRTIO_BLK_S_IOERR), "place %zu", i);
    }
    offer(99, 0, 512, true);
    cr_assert(eq(uint, answer(), VIRTIO_BLK_S_UNSUPP));
    end();
}

Test(virtio_blk, a_read_only_disk_is_not_written)
{
    begin(true, 0);
    offer(VIRTIO_BLK_T_OUT, 0, 512, false);
    cr_assert(eq(uint, answer(), VIRTIO_BLK_S_IOERR));
    offer(VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, false);
    cr_assert(eq(uint, answer(), VIRTIO_BLK_S_IOERR));
    end();
}

Test(virtio_blk, ranges_are_cleared_and_unknown_flags_are_refused)
{
    struct virtio_blk_discard_write_zeroes range = { .sector = 2, .num_sectors = 1 };

    begin(false, 0);
    memset(fake.bytes, 0x77, sizeof(fake.bytes));
    memcpy(rig.memory + DATA, &range, sizeof(range));
    offer(VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(range), false);
    cr_assert(eq(uint, answer(), VIRTIO_BLK_S_OK));
    cr_assert(fake.bytes[1023] == 0x77 && fake.bytes[1024] == 0 && fake.bytes[1536] == 0x77);
    range.flags = 2;
    memcpy(rig.memory + DATA, &range, sizeof(range));
    offer(VIRTIO_BLK_T_DISCARD, 0, sizeof(range), false);
    cr_assert(eq(uint, answer(), VIRTIO_BLK_S_UNSUPP));
    range = (struct virtio_blk_discard_write_zeroes){ .sector = SECTORS, .num_sectors = 1 };
    memcpy(rig.memory + DATA, &range, sizeof(range));
    offer(VIRTIO_BLK_T_DISCARD, 0, sizeof(range), false);
    cr_assert(eq(uint, answer(), VIRTIO_BLK_S_IOERR));
    end();
}

Test(virtio_blk, data_that_is_not_in_memory_is_an_error_and_a_header_that_is_not_needs_a_reset)
{
    begin(false, 0);
    fake.error = -EIO;
    offer(VIRTIO_BLK_T_IN, 0, 512, true);
    cr_assert(eq(uint, answer(), VIRTIO_BLK_S_IOERR));
    fake.error = 0;
    offer(VIRTIO_BLK_T_IN, 0, 0x8000 * 2, true); /* beyond the disk and the memory */
    cr_assert(eq(uint, answer(), VIRTIO_BLK_S_IOERR));
    virtio_rig_descriptor(&rig, RIG_DESCRIPTORS, 0, RIG_MEMORY, 16, F_NEXT, 2);
    virtio_rig_offer(&rig, 0);
    virtio_notify(virtio_blk_device(blk));
    while (!needs_reset())
        sched_yield();
    end();
}

Test(virtio_blk, what_fails_in_the_disk_is_told_with_cause_and_remedy_but_not_for_ever)
{
    static const struct {
        int error;
        const char *text;
    } failures[] = {
        { -ENOSPC, "disk 3: cannot write at offset 512: No space left on device: make room" },
        { -ENODATA, "its file was cut: make it as long as it was" },
        { -ENOTCONN, "its server is gone" },
        { -EIO, "the guest sees an I/O error" },
    };

    begin(false, 0);
    for (unsigned i = 0; i < 2 * VIRTIO_BLK_TOLD; i++) {
        fake.error = failures[i % 4].error;
        offer(VIRTIO_BLK_T_OUT, 1, 512, false);
        cr_expect(eq(uint, answer(), VIRTIO_BLK_S_IOERR));
        if (i < 4)
            cr_expect(strstr(told, failures[i].text) != NULL, "%s", told);
    }
    cr_expect(eq(uint, ntold, VIRTIO_BLK_TOLD));
    end();
}

/*
 * So a slow swap device keeps nobody waiting who pauses the VM.  The rig knows what a turn is.  Where
 * the rings are is known once a request was looked for.
 */
Test(virtio_blk, what_a_turn_needs_is_brought_in_before_it)
{
    begin(false, 0);
    for (unsigned i = 0; i < 2; i++) {
        offer(VIRTIO_BLK_T_OUT, 4, 1024, false);
        cr_assert(eq(uint, answer(), VIRTIO_BLK_S_OK));
    }
    end();
    cr_expect(virtio_rig_fetched(&rig, DATA, 1024) && !virtio_rig_fetched(&rig, DATA, 1025));
    cr_expect(virtio_rig_fetched(&rig, STATUS, 1));
    cr_expect(virtio_rig_fetched(&rig, RIG_DESCRIPTORS, 8 * 16));
    cr_expect(virtio_rig_fetched(&rig, RIG_DRIVER, 6 + 2 * 8));
    cr_expect(virtio_rig_fetched(&rig, RIG_DEVICE, 6 + 8 * 8));
}

Test(virtio_blk, a_queue_that_is_stopped_gets_no_answer_from_a_disk_that_is_stuck)
{
    begin(false, 0);
    atomic_store(&fake.stall, true);
    fake.bytes[0] = 0x11;
    offer(VIRTIO_BLK_T_IN, 0, 512, true);
    while (atomic_load(&fake.nstuck) == 0)
        sched_yield();
    virtio_set_status(virtio_blk_device(blk), 0); /* does not wait for the disk */
    atomic_store(&fake.stall, false);
    end();
    cr_assert(eq(uint, rig.used, 0));
}

Test(virtio_blk, a_device_whose_disk_is_stuck_ends_and_is_freed_when_the_disk_comes_back)
{
    begin(false, 0);
    atomic_store(&fake.stall, true);
    offer(VIRTIO_BLK_T_IN, 0, 512, true);
    while (atomic_load(&fake.nstuck) == 0)
        sched_yield();
    virtio_worker_stop(virtio_blk_worker(blk));
    cr_assert(virtio_worker_await(virtio_blk_worker(blk), clock_now_ns() + 1000000) == false);
    virtio_worker_unref(virtio_blk_worker(blk));
    workers_abandon(workers);
    virtio_rig_fini(&rig); /* no memory is touched any more */
    cr_assert(zero(uint, nclosed));
    atomic_store(&fake.stall, false);
    while (atomic_load(&nclosed) == 0)
        sched_yield();
}
