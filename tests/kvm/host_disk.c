/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A disk under KVM: a guest drives it by interrupts, and what becomes of the VM while it does not
 * answer.  The tests lay out the queue; the guest (host_disk.S) does the handshake they write down.
 */
#include "tests/kvm/disk_guest.h"
#include "tests/kvm/vm_rig.h"
#include "vmm/base/clock.h"
#include "vmm/base/file.h"

#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <sched.h>

GUEST(guest_driver);

#define QUEUE_SIZE 8u
#define DESCRIPTORS UINT64_C(0x200000)
#define DRIVER_RING UINT64_C(0x201000)
#define DEVICE_RING UINT64_C(0x202000)
#define HEADERS UINT64_C(0x203000)  /* one for each descriptor */
#define STATUSES UINT64_C(0x204000) /* ... and a byte */
#define DATA UINT64_C(0x300ffe)     /* across a page's end */
#define SECTOR 512u
#define SECTORS 64u

struct disk_step {
    uint64_t what, where, value;
};

/* What the guest is to do, and to find. */
struct script {
    struct disk_step steps[64];
    unsigned nsteps;
    struct vring_desc table[QUEUE_SIZE];
    struct virtio_blk_outhdr headers[QUEUE_SIZE];
    uint16_t driver[2 + QUEUE_SIZE]; /* flags, index, ring */
};

/* --- A disk that is stuck in a read while the test says so ------------------------- */

static struct {
    _Atomic bool stall;
    _Atomic unsigned nstuck;
} slow;

/* The linker's names (ld --wrap).  NOLINTBEGIN(bugprone-reserved-identifier) */
int __real_file_read_at(int fd, void *to, size_t size, uint64_t offset);
int __wrap_file_read_at(int fd, void *to, size_t size, uint64_t offset);

int
__wrap_file_read_at(int fd, void *to, size_t size, uint64_t offset)
{
    atomic_fetch_add(&slow.nstuck, 1);
    while (atomic_load(&slow.stall))
        sched_yield();
    atomic_fetch_sub(&slow.nstuck, 1);
    return __real_file_read_at(fd, to, size, offset);
}
/* NOLINTEND(bugprone-reserved-identifier) */

/* --- Scripts ------------------------------------------------------------------------ */

static void
add_step(struct script *script, uint64_t what, uint64_t where, uint64_t value)
{
    script->steps[script->nsteps++] = (struct disk_step){ what, where, value };
}

static void
add_register(struct script *script, unsigned where, uint32_t value)
{
    add_step(script, DISK_WRITE, DISK_MMIO + where, value);
}

static void
add_address(struct script *script, unsigned where, uint64_t value)
{
    add_register(script, where, (uint32_t)value);
    add_register(script, where + 4, (uint32_t)(value >> 32));
}

/* What a driver does before the first request (VIRTIO 1.2, 3.1.1). */
static void
add_handshake(struct script *script)
{
    const uint32_t known = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

    add_register(script, VIRTIO_MMIO_STATUS, 0);
    add_register(script, VIRTIO_MMIO_STATUS, known);
    add_register(script, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
    add_register(script, VIRTIO_MMIO_DRIVER_FEATURES, 1u << VIRTIO_BLK_F_FLUSH);
    add_register(script, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    add_register(script, VIRTIO_MMIO_DRIVER_FEATURES, 1u << (VIRTIO_F_VERSION_1 - 32));
    add_register(script, VIRTIO_MMIO_STATUS, known | VIRTIO_CONFIG_S_FEATURES_OK);
    add_register(script, VIRTIO_MMIO_QUEUE_SEL, 0);
    add_register(script, VIRTIO_MMIO_QUEUE_NUM, QUEUE_SIZE);
    add_address(script, VIRTIO_MMIO_QUEUE_DESC_LOW, DESCRIPTORS);
    add_address(script, VIRTIO_MMIO_QUEUE_AVAIL_LOW, DRIVER_RING);
    add_address(script, VIRTIO_MMIO_QUEUE_USED_LOW, DEVICE_RING);
    add_register(script, VIRTIO_MMIO_QUEUE_READY, 1);
    add_register(script, VIRTIO_MMIO_STATUS,
                 known | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
}

/* A request, which is at the same time the n-th descriptor's: header, data if any, status. */
static void
add_request(struct script *script, uint32_t type, uint64_t sector, uint64_t data, uint32_t size)
{
    unsigned head = script->driver[1] * 3u;
    unsigned status = head + (size == 0 ? 1 : 2);

    script->headers[head] = (struct virtio_blk_outhdr){ .type = type, .sector = sector };
    script->table[head] =
        (struct vring_desc){ HEADERS + head * sizeof(script->headers[0]),
                             sizeof(script->headers[0]), VRING_DESC_F_NEXT, (uint16_t)(head + 1) };
    if (size != 0)
        script->table[head + 1] = (struct vring_desc){
            data, size, VRING_DESC_F_NEXT | (type == VIRTIO_BLK_T_IN ? VRING_DESC_F_WRITE : 0),
            (uint16_t)(head + 2)
        };
    script->table[status] = (struct vring_desc){ STATUSES + head, 1, VRING_DESC_F_WRITE, 0 };
    script->driver[2 + script->driver[1]++] = (uint16_t)head;
}

/* Tell the device, and wait until all requests are used. */
static void
add_wait(struct script *script)
{
    add_register(script, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    add_step(script, DISK_AWAIT, DEVICE_RING + 2, script->driver[1]);
}

static struct vm *
make_driver(const struct vm_config *config, const struct script *script)
{
    struct vm *vm = make_vm(config, guest_driver, guest_driver_end);

    put(vm, GUEST_SCRIPT, script->steps, sizeof(script->steps));
    put(vm, DESCRIPTORS, script->table, sizeof(script->table));
    put(vm, DRIVER_RING, script->driver, sizeof(script->driver));
    put(vm, HEADERS, script->headers, sizeof(script->headers));
    return vm;
}

/* --- Disks --------------------------------------------------------------------------- */

static char path[] = "/tmp/vkvm-host-disk-XXXXXX"; /* mkstemp fills it in */

/* A disk whose sector i is full of i + 1. */
static int
make_disk(void)
{
    uint8_t sector[SECTOR];
    int fd;

    snprintf(path, sizeof(path), "/tmp/vkvm-host-disk-XXXXXX");
    fd = mkstemp(path);
    for (unsigned i = 0; i < SECTORS; i++) {
        memset(sector, (int)i + 1, sizeof(sector));
        if (pwrite(fd, sector, sizeof(sector), (off_t)i * SECTOR) != SECTOR)
            die(path, strerror(errno));
    }
    return fd;
}

static struct vm_config
disk_config(bool read_only)
{
    struct vm_config config = default_config();

    config.guest = NULL;
    config.machine.ndisks = 1;
    config.machine.disks[0] = (struct machine_disk){ .path = path,
                                                     .path_size = sizeof(path) - 1,
                                                     .read_only = read_only };
    machine_make_pc(&config.machine);
    return config;
}

static unsigned
status_of(struct vm *vm, unsigned request)
{
    uint8_t status;

    get(vm, STATUSES + request * 3, &status, 1);
    return status;
}

static uint32_t
interrupts_of(struct vm *vm)
{
    uint32_t ninterrupts;

    get(vm, GUEST_RECORD, &ninterrupts, sizeof(ninterrupts));
    return ninterrupts;
}

static void
a_guest_writes_flushes_and_reads_by_interrupts(struct verdict *v)
{
    const struct vm_config config = disk_config(false);
    struct script script = { .nsteps = 0 };
    uint8_t written[SECTOR], bytes[2 * SECTOR];
    struct vm_outcome outcome;
    int fd = make_disk();
    struct vm *vm;

    add_handshake(&script);
    add_request(&script, VIRTIO_BLK_T_OUT, 5, DATA, SECTOR);
    add_request(&script, VIRTIO_BLK_T_IN, 5, DATA + SECTOR, 2 * SECTOR);
    add_request(&script, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
    add_wait(&script);
    add_step(&script, DISK_END, 0, 7);
    vm = make_driver(&config, &script);
    memset(written, 0x5a, sizeof(written));
    put(vm, DATA, written, sizeof(written));
    outcome = run_vm(vm);
    expect_exit(v, &outcome, 7 << 1 | 1);
    for (unsigned i = 0; i < 3; i++)
        CHECK_EQ(v, status_of(vm, i), VIRTIO_BLK_S_OK);
    get(vm, DATA + SECTOR, bytes, sizeof(bytes));
    CHECK(v, memcmp(bytes, written, SECTOR) == 0, "it read something else than it wrote");
    CHECK_EQ(v, bytes[SECTOR], 7);
    CHECK(v, interrupts_of(vm) != 0, "no interrupt came");
    destroy_vm(vm);
    CHECK(v, pread(fd, bytes, SECTOR, 5 * SECTOR) == SECTOR && memcmp(bytes, written, SECTOR) == 0,
          "the file has something else");
    close(fd);
    unlink(path);
}

/* As with a guest that the host holds up behind the notification. */
static void
the_interrupt_comes_to_a_guest_that_saw_the_end_before(struct verdict *v)
{
    const struct vm_config config = disk_config(true);
    struct script script = { .nsteps = 0 };
    struct vm_outcome outcome;
    int fd = make_disk();
    struct vm *vm;

    add_handshake(&script);
    add_request(&script, VIRTIO_BLK_T_IN, 5, DATA, SECTOR);
    add_register(&script, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    add_step(&script, DISK_POLL, DEVICE_RING, 1u << 16); /* flags, and the index: 1 */
    add_step(&script, DISK_AWAIT, DEVICE_RING + 2, 1);
    add_step(&script, DISK_END, 0, 7);
    vm = make_driver(&config, &script);
    outcome = run_vm(vm);
    expect_exit(v, &outcome, 7 << 1 | 1);
    CHECK_EQ(v, interrupts_of(vm), 1);
    destroy_vm(vm);
    close(fd);
    unlink(path);
}

static void
a_read_only_disk_is_not_written(struct verdict *v)
{
    const struct vm_config config = disk_config(true);
    struct script script = { .nsteps = 0 };
    struct vm_outcome outcome;
    uint8_t byte;
    int fd = make_disk();
    struct vm *vm;

    add_handshake(&script);
    add_request(&script, VIRTIO_BLK_T_OUT, 5, DATA, SECTOR);
    add_request(&script, VIRTIO_BLK_T_IN, 5, DATA, SECTOR);
    add_wait(&script);
    add_step(&script, DISK_END, 0, 7);
    vm = make_driver(&config, &script);
    outcome = run_vm(vm);
    expect_exit(v, &outcome, 7 << 1 | 1);
    CHECK_EQ(v, status_of(vm, 0), VIRTIO_BLK_S_IOERR);
    CHECK_EQ(v, status_of(vm, 1), VIRTIO_BLK_S_OK);
    destroy_vm(vm);
    CHECK(v, pread(fd, &byte, 1, 5 * SECTOR) == 1 && byte == 6, "it was written");
    close(fd);
    unlink(path);
}

/* The guest goes on, and learns it from the status. */
static void
a_loop_of_descriptors_stops_the_device_and_not_the_vm(struct verdict *v)
{
    const struct vm_config config = disk_config(false);
    struct script script = { .nsteps = 0 };
    struct vm_outcome outcome;
    int fd = make_disk();
    struct vm *vm;

    add_handshake(&script);
    add_request(&script, VIRTIO_BLK_T_IN, 0, DATA, SECTOR);
    script.table[1].next = 0;
    add_register(&script, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    add_step(&script, DISK_POLL, DISK_MMIO + VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_NEEDS_RESET);
    add_step(&script, DISK_END, 0, 7);
    vm = make_driver(&config, &script);
    outcome = run_vm(vm);
    expect_exit(v, &outcome, 7 << 1 | 1);
    destroy_vm(vm);
    close(fd);
    unlink(path);
}

/* --- A disk that does not answer ------------------------------------------------------- */

static void *
run_thread(void *argument)
{
    static struct vm_outcome outcome;

    vm_run(argument, &outcome);
    return &outcome;
}

/* Begin a VM whose guest waits for a read that is stuck. */
static struct vm *
begin_stuck(const struct vm_config *config, pthread_t *thread)
{
    struct script script = { .nsteps = 0 };
    struct vm *vm;

    add_handshake(&script);
    add_request(&script, VIRTIO_BLK_T_IN, 5, DATA, SECTOR);
    add_wait(&script);
    add_step(&script, DISK_END, 0, 7);
    vm = make_driver(config, &script);
    atomic_store(&slow.stall, true);
    if (pthread_create(thread, NULL, run_thread, vm) != 0)
        die("pthread_create", strerror(errno));
    while (atomic_load(&slow.nstuck) == 0)
        sched_yield();
    return vm;
}

static void
let_go(void)
{
    atomic_store(&slow.stall, false);
    while (atomic_load(&slow.nstuck) != 0)
        sched_yield();
}

/* What the disk says during the pause reaches the guest after it. */
static void
a_pause_does_not_wait_for_the_disk_and_the_guest_sees_nothing_in_it(struct verdict *v)
{
    const struct vm_config config = disk_config(false);
    struct vm_outcome *outcome;
    pthread_t thread;
    uint16_t used;
    uint8_t byte;
    int fd = make_disk();
    struct vm *vm = begin_stuck(&config, &thread);

    CHECK_EQ(v, vm_pause(vm, VCPU_PAUSE_SNAPSHOT), 0);
    CHECK_EQ(v, atomic_load(&slow.nstuck), 1);
    let_go();
    usleep(20000); /* the worker would be there by now; no test of time: it may not come at all */
    get(vm, DEVICE_RING + 2, &used, sizeof(used));
    get(vm, DATA, &byte, sizeof(byte));
    CHECK_EQ(v, used, 0);
    CHECK_EQ(v, byte, 0);
    vm_resume(vm, VCPU_PAUSE_SNAPSHOT);
    pthread_join(thread, (void **)&outcome);
    expect_exit(v, outcome, 7 << 1 | 1);
    get(vm, DATA, &byte, sizeof(byte));
    CHECK_EQ(v, byte, 6);
    destroy_vm(vm);
    close(fd);
    unlink(path);
}

static char warned[256];

static void
note_warning(void *context, const char *message)
{
    (void)context;
    snprintf(warned, sizeof(warned), "%s", message);
}

/* ... and its thread, which is left behind, does no harm when the disk comes back. */
static void
a_vm_ends_while_its_disk_is_stuck(struct verdict *v)
{
    struct vm_config config = disk_config(false);
    struct vm_outcome *outcome;
    pthread_t thread;
    uint64_t began;
    int fd = make_disk();
    struct vm *vm;

    config.warn = note_warning;
    vm = begin_stuck(&config, &thread);
    began = clock_now_ns();
    vm_end(vm, VM_END_GUEST, 3, "enough");
    pthread_join(thread, (void **)&outcome);
    printf("    ended after %u ms\n", (unsigned)((clock_now_ns() - began) / 1000000));
    expect_exit(v, outcome, 3);
    CHECK_EQ(v, atomic_load(&slow.nstuck), 1);
    CHECK(v, strstr(warned, "disk 0 does not answer") != NULL, "it says \"%s\"", warned);
    destroy_vm(vm);
    CHECK_EQ(v, atomic_load(&slow.nstuck), 1);
    let_go();
    close(fd);
    unlink(path);
}

static const struct test tests[] = {
    TEST(a_guest_writes_flushes_and_reads_by_interrupts),
    TEST(the_interrupt_comes_to_a_guest_that_saw_the_end_before),
    TEST(a_read_only_disk_is_not_written),
    TEST(a_loop_of_descriptors_stops_the_device_and_not_the_vm),
    TEST(a_pause_does_not_wait_for_the_disk_and_the_guest_sees_nothing_in_it),
    TEST(a_vm_ends_while_its_disk_is_stuck),
};

int
main(int argc, char **argv)
{
    return run_tests("host_disk", tests, COUNT(tests), argc > 1 ? argv[1] : NULL);
}
