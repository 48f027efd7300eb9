/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hostile drivers: a legal queue with one thing wrong, for every field of descriptors, rings, request
 * and layout, at its borders.  Each is refused or done, and nothing else: no byte of guest memory
 * changes but in the used ring and where a descriptor lets the device write, none of the disk's but
 * where a request writes, and after a reset the device works as ever.
 */
#include "tests/unit/virtio_rig.h"
#include "vmm/device/virtio_blk.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define SIZE 8u
#define SECTORS 64u
#define HEADER 0x8000u
#define STATUS 0x8100u
#define DATA 0x9000u
#define FEATURES                                                                      \
    ((uint64_t)1 << VIRTIO_F_VERSION_1 | (uint64_t)1 << VIRTIO_RING_F_INDIRECT_DESC | \
     (uint64_t)1 << VIRTIO_BLK_F_FLUSH)

/* The legal queue: a read of a sector, by a direct chain 0, 1, 2 or by 3, which is indirect. */
struct attack {
    struct vring_desc direct[SIZE];
    struct vring_desc indirect[3];
    struct virtio_blk_outhdr header;
    uint16_t head;
    uint16_t index; /* the available ring's */
    struct virtqueue_layout at;
    bool
        blind; /* where the device counts what it used is not looked at: a turn of its is waited for */
};

static struct virtio_rig rig;
static uint8_t before[RIG_MEMORY];
static struct vm_mutex bytes_lock; /* an attack may be over while the device still reads */
static uint8_t bytes[SECTORS * DISK_SECTOR], bytes_before[sizeof(bytes)];
static struct virtio_blk *blk;
static struct workers *workers;
static unsigned nattacks, nresets;

/* --- A disk in memory that trusts nobody -------------------------------------- */

static void
check_range(size_t size, uint64_t offset)
{
    cr_assert(size != 0 && size <= sizeof(bytes) && offset <= sizeof(bytes) - size,
              "the device asks for what the disk does not have");
}

static int
fake_read(struct disk *disk, void *to, size_t size, uint64_t offset)
{
    (void)disk;
    check_range(size, offset);
    vm_mutex_lock(&bytes_lock);
    memcpy(to, bytes + offset, size);
    vm_mutex_unlock(&bytes_lock);
    return 0;
}

static int
fake_write(struct disk *disk, const void *from, size_t size, uint64_t offset)
{
    (void)disk;
    check_range(size, offset);
    vm_mutex_lock(&bytes_lock);
    memcpy(bytes + offset, from, size);
    vm_mutex_unlock(&bytes_lock);
    return 0;
}

static int
fake_flush(struct disk *disk)
{
    (void)disk;
    return 0;
}

static int
fake_zero(struct disk *disk, uint64_t size, uint64_t offset, bool unmap)
{
    (void)disk;
    (void)unmap;
    check_range(size, offset);
    vm_mutex_lock(&bytes_lock);
    memset(bytes + offset, 0, size);
    vm_mutex_unlock(&bytes_lock);
    return 0;
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
}

static const struct disk_ops fake_ops = { fake_read,    fake_write, fake_flush,
                                          fake_discard, fake_zero,  fake_close };
static struct disk fake = {
    .ops = &fake_ops, .size = sizeof(bytes), .block_size = 512, .discards = true
};

static void
setup(void)
{
    struct virtio_blk_setup config = {
        .disk = &fake,
        .turns = { .enter = virtio_rig_enter, .leave = virtio_rig_leave, .context = &rig },
    };

    virtio_rig_init(&rig, SIZE);
    rig.turns = true;
    vm_mutex_init(&bytes_lock);
    config.memory = virtio_rig_memory(&rig);
    memset(bytes, 0x77, sizeof(bytes));
    cr_assert(zero(int, virtio_blk_create(&config, &blk)));
    cr_assert(zero(int, workers_create(1, &workers)));
    cr_assert(zero(int, virtio_worker_start(virtio_blk_worker(blk), workers)));
}

static void
teardown(void)
{
    virtio_worker_stop(virtio_blk_worker(blk));
    virtio_worker_unref(virtio_blk_worker(blk));
    workers_destroy(workers);
    virtio_rig_fini(&rig);
    vm_mutex_fini(&bytes_lock);
}

TestSuite(virtio_hostile, .init = setup, .fini = teardown, .timeout = 120);

/* --- An attack ------------------------------------------------------------------ */

static struct attack
legal(void)
{
    return (struct attack){
        .direct = { { HEADER, 16, F_NEXT, 1 },
                    { DATA, 512, F_NEXT | F_WRITE, 2 },
                    { STATUS, 1, F_WRITE, 0 },
                    { RIG_INDIRECT, 48, F_INDIRECT, 0 } },
        .indirect = { { HEADER, 16, F_NEXT, 1 },
                      { DATA, 512, F_NEXT | F_WRITE, 2 },
                      { STATUS, 1, F_WRITE, 0 } },
        .index = 1,
        .at = { SIZE, { RIG_DESCRIPTORS }, { RIG_DRIVER }, { RIG_DEVICE } },
    };
}

static void
lay_out(const struct attack *attack)
{
    memset(rig.memory, 0x11, RIG_MEMORY);
    memset(rig.memory + RIG_DEVICE, 0, 6 + 8 * SIZE);
    memcpy(rig.memory + RIG_DESCRIPTORS, attack->direct, sizeof(attack->direct));
    memcpy(rig.memory + RIG_INDIRECT, attack->indirect, sizeof(attack->indirect));
    memcpy(rig.memory + HEADER, &attack->header, sizeof(attack->header));
    virtio_rig_set_word(&rig, RIG_DRIVER, 0);
    virtio_rig_set_word(&rig, RIG_DRIVER + 2, attack->index);
    for (unsigned i = 0; i < SIZE; i++)
        virtio_rig_set_word(&rig, RIG_DRIVER + 4 + 2 * i, attack->head);
    memcpy(before, rig.memory, RIG_MEMORY);
    vm_mutex_lock(&bytes_lock);
    memcpy(bytes_before, bytes, sizeof(bytes));
    vm_mutex_unlock(&bytes_lock);
    atomic_store(&rig.used, 0x10000u);
}

static unsigned
device_status(void)
{
    return virtio_status(virtio_blk_device(blk));
}

static bool
is_done(const struct attack *attack, unsigned nturns)
{
    if ((device_status() & VIRTIO_CONFIG_S_NEEDS_RESET) != 0)
        return true;
    return attack->blind ? atomic_load(&rig.nturns) != nturns && atomic_load(&rig.turn) == 0
                         : atomic_load(&rig.used) == (0x10000u | attack->index);
}

/* Start the device anew, and wait until it has done what there is or wants a reset. */
static void
play(const struct attack *attack)
{
    struct virtio_device *device = virtio_blk_device(blk);
    unsigned nturns = atomic_load(&rig.nturns);

    lay_out(attack);
    virtio_accept(device, 0, (uint32_t)FEATURES);
    virtio_accept(device, 1, (uint32_t)(FEATURES >> 32));
    virtio_set_status(device, VIRTIO_CONFIG_S_FEATURES_OK);
    if (virtio_start_queue(device, 0, &attack->at)) {
        virtio_set_status(device, VIRTIO_CONFIG_S_DRIVER_OK);
        while (!is_done(attack, nturns))
            sched_yield();
    }
    nresets += (device_status() & VIRTIO_CONFIG_S_NEEDS_RESET) != 0;
    virtio_set_status(device, 0);
}

static bool
lies_in(const struct vring_desc *descriptor, uint64_t at)
{
    return (descriptor->flags & F_WRITE) != 0 && at >= descriptor->addr &&
           at - descriptor->addr < descriptor->len;
}

/* May the device write to that byte? */
static bool
may_change(const struct attack *attack, uint64_t at)
{
    bool may = at - gpa_to_u64(attack->at.device) < 6 + 8 * SIZE;

    for (unsigned i = 0; i < SIZE; i++)
        may = may || lies_in(&attack->direct[i], at);
    for (unsigned i = 0; i < COUNT(attack->indirect); i++)
        may = may || lies_in(&attack->indirect[i], at);
    return may;
}

static void
check_harmless(const struct attack *attack)
{
    bool writes = attack->header.type == VIRTIO_BLK_T_OUT ||
                  attack->header.type == VIRTIO_BLK_T_DISCARD ||
                  attack->header.type == VIRTIO_BLK_T_WRITE_ZEROES;

    for (uint64_t i = 0; i < RIG_MEMORY; i++)
        cr_assert(rig.memory[i] == before[i] || may_change(attack, i),
                  "attack %u: guest memory at 0x%llx changed", nattacks, (unsigned long long)i);
    vm_mutex_lock(&bytes_lock);
    cr_assert(writes || memcmp(bytes, bytes_before, sizeof(bytes)) == 0,
              "attack %u: the disk changed", nattacks);
    vm_mutex_unlock(&bytes_lock);
}

static void
try_attack(const struct attack *attack)
{
    const struct attack good = legal();

    nattacks++;
    play(attack);
    check_harmless(attack);
    vm_mutex_lock(&bytes_lock);
    memset(bytes, 0x77, sizeof(bytes));
    vm_mutex_unlock(&bytes_lock);
    play(&good);
    cr_assert(rig.memory[STATUS] == VIRTIO_BLK_S_OK && rig.memory[DATA + 511] == 0x77,
              "attack %u: the device does not recover", nattacks);
}

static void
expect_attacks(unsigned least, unsigned resets)
{
    cr_log_info("%u attacks, %u resets", nattacks, nresets);
    cr_expect(nattacks >= least && nresets >= resets, "%u attacks, %u resets", nattacks, nresets);
}

/* --- What is wrong ---------------------------------------------------------------- */

static const uint64_t addresses[] = {
    0,          1,          RIG_DESCRIPTORS,   RIG_DRIVER,        RIG_INDIRECT,    RIG_MEMORY - 1,
    RIG_MEMORY, UINT32_MAX, (uint64_t)1 << 32, (uint64_t)1 << 63, UINT64_MAX - 15, UINT64_MAX,
};
static const uint32_t sizes[] = { 0,       1,        15,         17,         48,
                                  511,     513,      64,         RIG_MEMORY, RIG_MEMORY - DATA + 1,
                                  1 << 16, 1u << 31, 0xfffffff0, UINT32_MAX };
static const uint16_t nexts[] = { 0, 1, 2, 3, SIZE - 1, SIZE, 0x8000, 0xffff };

/* Every value of every field of one descriptor. */
static void
spoil(struct attack *attack, struct vring_desc *descriptor)
{
    const struct vring_desc whole = *descriptor;

    for (size_t i = 0; i < COUNT(addresses); i++, *descriptor = whole) {
        descriptor->addr = addresses[i];
        try_attack(attack);
    }
    for (size_t i = 0; i < COUNT(sizes); i++, *descriptor = whole) {
        descriptor->len = sizes[i];
        try_attack(attack);
    }
    for (unsigned flags = 0; flags < 16; flags++, *descriptor = whole) {
        descriptor->flags = (uint16_t)(flags == 15 ? 0xffff : flags);
        try_attack(attack);
    }
    for (size_t i = 0; i < COUNT(nexts); i++, *descriptor = whole) {
        descriptor->next = nexts[i];
        try_attack(attack);
    }
}

Test(virtio_hostile, every_field_of_a_chain_at_its_borders_does_no_harm)
{
    struct attack attack = legal();

    for (unsigned i = 0; i < 3; i++)
        spoil(&attack, &attack.direct[i]);
    expect_attacks(150, 50);
}

Test(virtio_hostile, every_field_of_an_indirect_table_at_its_borders_does_no_harm)
{
    struct attack attack = legal();

    attack.head = 3;
    spoil(&attack, &attack.direct[3]);
    for (unsigned i = 0; i < 3; i++)
        spoil(&attack, &attack.indirect[i]);
    expect_attacks(200, 70);
}

/* Two at once meet in ways that one does not. */
Test(virtio_hostile, every_link_of_two_descriptors_does_no_harm)
{
    static const uint16_t flags[] = { F_NEXT, F_NEXT | F_WRITE, F_INDIRECT, F_INDIRECT | F_NEXT };

    for (unsigned i = 0; i < COUNT(nexts) * COUNT(nexts); i++) {
        struct attack attack = legal();

        attack.direct[1].next = nexts[i % COUNT(nexts)];
        attack.direct[2] = (struct vring_desc){ STATUS, 1, flags[i % 4], nexts[i / COUNT(nexts)] };
        try_attack(&attack);
    }
    expect_attacks(64, 40);
}

Test(virtio_hostile, heads_and_indexes_that_cannot_be_do_no_harm)
{
    static const uint16_t values[] = { 1,        2,      3,      4,      SIZE - 1, SIZE,
                                       SIZE + 1, 0x7fff, 0x8000, 0xfff8, 0xffff };

    for (size_t i = 0; i < COUNT(values); i++) {
        struct attack attack = legal();

        attack.head = values[i];
        try_attack(&attack);
        attack = legal();
        attack.index = values[i];
        try_attack(&attack);
        attack.head = values[i];
        try_attack(&attack);
    }
    expect_attacks(33, 20);
}

/* The data goes to the device where the type wants it so, and to the guest, whatever it wants. */
Test(virtio_hostile, every_type_of_request_at_every_border_of_the_disk_does_no_harm)
{
    static const uint32_t types[] = { VIRTIO_BLK_T_IN,
                                      VIRTIO_BLK_T_OUT,
                                      VIRTIO_BLK_T_FLUSH,
                                      VIRTIO_BLK_T_GET_ID,
                                      VIRTIO_BLK_T_DISCARD,
                                      VIRTIO_BLK_T_WRITE_ZEROES,
                                      2,
                                      7,
                                      12,
                                      UINT32_MAX };
    static const uint64_t sectors[] = { 0,          SECTORS - 1,       SECTORS,        SECTORS + 1,
                                        UINT32_MAX, (uint64_t)1 << 55, UINT64_MAX - 1, UINT64_MAX };

    for (size_t i = 0; i < COUNT(types) * COUNT(sectors) * 2; i++) {
        struct attack attack = legal();

        attack.header.type = types[i / 2 / COUNT(sectors)];
        attack.header.sector = sectors[i / 2 % COUNT(sectors)];
        if (i % 2 != 0)
            attack.direct[1].flags = F_NEXT;
        attack.direct[1].len = attack.header.type >= VIRTIO_BLK_T_DISCARD ? 32 : 512;
        try_attack(&attack);
    }
    expect_attacks(160, 0);
}

Test(virtio_hostile, rings_and_tables_that_lie_nowhere_or_on_each_other_do_no_harm)
{
    static const uint64_t places[] = {
        0,          RIG_DRIVER,        RIG_DEVICE,      HEADER & ~0xfffull, RIG_MEMORY - 16,
        RIG_MEMORY, (uint64_t)1 << 63, UINT64_MAX - 15, UINT64_MAX
    };
    static const unsigned counts[] = { 0, 1, 3, 2 * VIRTQUEUE_MAX, 0x10000, UINT32_MAX };

    for (size_t i = 0; i < COUNT(places) * 3; i++) {
        struct attack attack = legal();
        gpa_t *part = i % 3 == 0   ? &attack.at.descriptors
                      : i % 3 == 1 ? &attack.at.driver
                                   : &attack.at.device;

        *part = gpa_from_u64(places[i / 3]);
        attack.blind = true;
        try_attack(&attack);
    }
    for (size_t i = 0; i < COUNT(counts); i++) {
        struct attack attack = legal();

        attack.at.size = counts[i];
        try_attack(&attack);
    }
    expect_attacks(33, 15);
}
