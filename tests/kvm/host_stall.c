/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who answers while the disk and the swap device do not: console, timer and debugger.  They answer
 * before the test lets the two go on, and nothing else could make them: that is the proof, not a time.
 */
#include "tests/kvm/disk_guest.h"
#include "tests/kvm/pc_guest.h"
#include "tests/kvm/stall_guest.h"
#include "tests/kvm/vm_rig.h"
#include "vmm/base/clock.h"
#include "vmm/base/file.h"
#include "vmm/gdb/gdb.h"
#include "vmm/gdb/gdb_packet.h"

#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

GUEST(guest_stall);

#define QUEUE_SIZE 8u
#define DESCRIPTORS UINT64_C(0x200000)
#define DRIVER_RING UINT64_C(0x201000)
#define DEVICE_RING UINT64_C(0x202000)
#define HEADER UINT64_C(0x203000)
#define STATUS UINT64_C(0x204000)
#define DATA UINT64_C(0x205000)
#define SECTOR 512u
#define VALUE 0x12345678u /* in the page that goes to swap */

/* --- Reads that are stuck while the test says so --------------------------------- */

struct stall {
    _Atomic bool on;
    _Atomic unsigned nstuck;
};

static struct stall disk, swap;

static void
pass(struct stall *stall)
{
    atomic_fetch_add(&stall->nstuck, 1);
    while (atomic_load(&stall->on))
        usleep(1000);
    atomic_fetch_sub(&stall->nstuck, 1);
}

static void
await_stuck(struct stall *stall, bool stuck)
{
    while ((atomic_load(&stall->nstuck) != 0) != stuck)
        usleep(1000);
}

/* The linker's names (ld --wrap).  NOLINTBEGIN(bugprone-reserved-identifier) */
int __real_file_read_at(int fd, void *to, size_t size, uint64_t offset);
int __wrap_file_read_at(int fd, void *to, size_t size, uint64_t offset);
ssize_t __real_preadv(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t __wrap_preadv(int fd, const struct iovec *iov, int n, off_t offset);

int
__wrap_file_read_at(int fd, void *to, size_t size, uint64_t offset)
{
    pass(&disk);
    return __real_file_read_at(fd, to, size, offset);
}

ssize_t
__wrap_preadv(int fd, const struct iovec *iov, int n, off_t offset)
{
    pass(&swap);
    return __real_preadv(fd, iov, n, offset);
}
/* NOLINTEND(bugprone-reserved-identifier) */

/* --- The machine -------------------------------------------------------------------- */

static char disk_path[] = "/tmp/vkvm-stall-disk-XXXXXX";
static char swap_path[] = "/tmp/vkvm-stall-swap-XXXXXX";
static char socket_path[] = "/tmp/vkvm-stall-gdb-XXXXXX";
static int input, output; /* the guest's, from outside */
static int saved[2];

static void
make_files(void)
{
    uint8_t sector[SECTOR];
    int fd = mkstemp(disk_path);

    memset(sector, 0x5a, sizeof(sector));
    if (fd < 0 || write(fd, sector, sizeof(sector)) != SECTOR)
        die(disk_path, strerror(errno));
    close(fd);
    fd = mkstemp(swap_path);
    close(fd);
    fd = mkstemp(socket_path);
    close(fd);
    unlink(socket_path);
}

static void
redirect(void)
{
    int in[2], out[2];

    fflush(stdout);
    if (pipe(in) != 0 || pipe(out) != 0)
        die("pipe", strerror(errno));
    for (int i = 0; i < 2; i++)
        saved[i] = dup(i);
    if (dup2(in[0], STDIN_FILENO) < 0 || dup2(out[1], STDOUT_FILENO) < 0)
        die("dup2", strerror(errno));
    close(in[0]);
    close(out[1]);
    input = in[1];
    output = out[0];
}

static void
restore(void)
{
    for (int i = 0; i < 2; i++) {
        (void)dup2(saved[i], i);
        close(saved[i]);
    }
    close(input);
    close(output);
    unlink(disk_path);
    unlink(swap_path);
}

/* As a driver does, but from outside: no vCPU runs yet. */
static void
set_register(struct vm *vm, unsigned offset, uint32_t value)
{
    struct bus_access access = { .write = true, .size = 4, .count = 1, .data = &value };

    if (bus_access(&vm->bus, BUS_MEMORY, DISK_MMIO + offset, &access) != 0)
        die("bus_access", "no disk");
}

static void
start_disk(struct vm *vm)
{
    const uint32_t known = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
    const struct virtio_blk_outhdr header = { .type = VIRTIO_BLK_T_IN };
    const struct vring_desc table[QUEUE_SIZE] = {
        { HEADER, sizeof(header), VRING_DESC_F_NEXT, 1 },
        { DATA, SECTOR, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2 },
        { STATUS, 1, VRING_DESC_F_WRITE, 0 },
    };
    const uint16_t driver[3] = { 0, 1, 0 }; /* flags, index, the head */

    put(vm, DESCRIPTORS, table, sizeof(table));
    put(vm, DRIVER_RING, driver, sizeof(driver));
    put(vm, HEADER, &header, sizeof(header));
    set_register(vm, VIRTIO_MMIO_STATUS, known);
    set_register(vm, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    set_register(vm, VIRTIO_MMIO_DRIVER_FEATURES, 1u << (VIRTIO_F_VERSION_1 - 32));
    set_register(vm, VIRTIO_MMIO_STATUS, known | VIRTIO_CONFIG_S_FEATURES_OK);
    set_register(vm, VIRTIO_MMIO_QUEUE_NUM, QUEUE_SIZE);
    set_register(vm, VIRTIO_MMIO_QUEUE_DESC_LOW, DESCRIPTORS);
    set_register(vm, VIRTIO_MMIO_QUEUE_AVAIL_LOW, DRIVER_RING);
    set_register(vm, VIRTIO_MMIO_QUEUE_USED_LOW, DEVICE_RING);
    set_register(vm, VIRTIO_MMIO_QUEUE_READY, 1);
    atomic_store(&disk.on, true); /* what runs notifies the device: it has a request */
    set_register(vm, VIRTIO_MMIO_STATUS,
                 known | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
}

/* 1 MiB for the guest, whose first page of interest is then written to swap. */
static struct vm *
make_stall(struct gdb *gdb)
{
    const struct vm_host_config host = { .ram_budget = 1 << 20, .swap = swap_path };
    struct vm_config config = default_config();
    const uint32_t value = VALUE;
    struct vm *vm;

    config.guest = NULL;
    config.timeout_ms = 0;
    config.debug = &gdb_debug_ops;
    config.debugger = gdb;
    config.machine.nvcpus = 2;
    config.machine.ndisks = 1;
    config.machine.disks[0] =
        (struct machine_disk){ .path = disk_path, .path_size = sizeof(disk_path) - 1 };
    machine_make_pc(&config.machine);
    vm = make_vm_on(make_host(&host), &config, guest_stall, guest_stall_end);
    put(vm, STALL_PAGE, &value, sizeof(value));
    start_disk(vm);
    return vm;
}

static void *
run_thread(void *argument)
{
    static struct vm_outcome outcome;

    vm_run(argument, &outcome);
    return &outcome;
}

/* --- Questions ---------------------------------------------------------------------------- */

/* Give an order, and wait until it is repeated. */
static void
order(char what)
{
    char answer;

    if (write(input, &what, 1) != 1)
        die("write", strerror(errno));
    do {
        if (read(output, &answer, 1) != 1)
            die("the guest", "ended");
    } while (answer != what);
}

static int
attach(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(address.sun_path, socket_path, sizeof(socket_path));
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
        die(socket_path, strerror(errno));
    return fd;
}

/* Send a packet, and take the answer, which is no error. */
static void
ask(int fd, const char *text)
{
    static char frame[GDB_PACKET_FRAME_MAX];
    static struct gdb_reader reader;
    size_t length = gdb_packet_frame(text, strlen(text), frame);
    uint8_t byte;

    gdb_reader_init(&reader);
    if (write(fd, frame, length) != (ssize_t)length)
        die("write", strerror(errno));
    do {
        if (read(fd, &byte, 1) != 1)
            die("the debugger's connection", "is lost");
    } while (gdb_reader_take(&reader, byte) != GDB_INPUT_PACKET);
    if (reader.data[0] == 'E' || reader.data[0] == '\0')
        die(text, reader.data);
    (void)send(fd, "+", 1, MSG_NOSIGNAL); /* nobody is there any more after D */
}

/* The guest, or the debugger at fd, answers before the disk does; say after how long. */
static void
told(struct verdict *v, const char *who, int fd, const char *question)
{
    uint64_t since = clock_now_ns();
    unsigned us;

    if (fd < 0)
        order(question[0]);
    else
        ask(fd, question);
    us = (unsigned)((clock_now_ns() - since) / 1000);
    dprintf(saved[1], "    %s: answered after %u.%03u ms\n", who, us / 1000, us % 1000);
    CHECK(v, atomic_load(&disk.nstuck) != 0, "the disk has answered before: %s", who);
}

/* What a person asks a machine that stands still. */
static void
debug_resting(struct verdict *v)
{
    int fd = attach();

    told(v, "gdb: stop", fd, "?");
    told(v, "gdb: registers", fd, "g");
    told(v, "gdb: memory", fd, "m100000,10");
    told(v, "gdb: go on", fd, "D");
    close(fd);
}

/*
 * The first processor does not wait for swap; the second one may come to rest only when it has its
 * page (docs/gdb.md), so what is asked then is what needs no processor.
 */
static void
check_answers(struct verdict *v)
{
    int fd;

    order(STALL_DISK);
    await_stuck(&disk, true);
    debug_resting(v);
    order(STALL_EVICT);
    order(STALL_DISK); /* what the first processor needs comes back, its page tables too */
    order(STALL_TICKS);
    atomic_store(&swap.on, true);
    order(STALL_SWAP);
    await_stuck(&swap, true);
    told(v, "the console", -1, "x");
    told(v, "a timer, three times", -1, "t");
    fd = attach();
    told(v, "gdb: monitor stats", fd, "qRcmd,7374617473");
    CHECK(v, atomic_load(&swap.nstuck) != 0, "swap has answered before");
    atomic_store(&disk.on, false);
    atomic_store(&swap.on, false);
    ask(fd, "D");
    close(fd);
}

static void
check_end(struct verdict *v, struct vm *vm, const struct vm_outcome *outcome)
{
    uint32_t value;

    expect_exit(v, outcome, 1);
    get(vm, STALL_READ, &value, sizeof(value));
    CHECK_EQ(v, value, VALUE);
}

static void
console_timer_and_debugger_answer_while_disk_and_swap_do_not(struct verdict *v)
{
    const char end = STALL_END;
    struct vm_outcome *outcome;
    struct failure failure;
    pthread_t thread;
    struct gdb *gdb;
    struct vm *vm;

    make_files();
    if (gdb_open(socket_path, false, NULL, NULL, &gdb, &failure) != 0)
        die("gdb_open", failure.message);
    vm = make_stall(gdb);
    redirect();
    pthread_create(&thread, NULL, run_thread, vm);
    check_answers(v);
    order('y');
    CHECK_EQ(v, write(input, &end, 1), 1);
    pthread_join(thread, (void **)&outcome);
    restore();
    check_end(v, vm, outcome);
    destroy_vm(vm);
    gdb_close(gdb);
}

static const struct test tests[] = {
    TEST(console_timer_and_debugger_answer_while_disk_and_swap_do_not),
};

int
main(int argc, char **argv)
{
    return run_tests("host_stall", tests, COUNT(tests), argc > 1 ? argv[1] : NULL);
}
