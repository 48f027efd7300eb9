/* SPDX-License-Identifier: BSD-2-Clause */
/* Disks that are files, and the names that are none. */
#include "vmm/device/disk.h"
#include "vmm/vm/sandbox.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[] = "/tmp/vkvm-disk-XXXXXX";
static struct disk *disk, *other;
static struct failure failure;

static void
make_file(off_t size)
{
    int fd = mkstemp(path);

    cr_assert(fd >= 0 && ftruncate(fd, size) == 0);
    close(fd);
}

static void
remove_file(void)
{
    unlink(path);
}

TestSuite(disk, .fini = remove_file);

static int
open_disk(const char *name, bool read_only, struct disk **diskp)
{
    const struct disk_config config = { name, read_only, true };

    return disk_open(&config, diskp, &failure);
}

/* A process of a thread of that kind does it to the disk. */
static void
expect_allowed(enum sandbox_thread kind, void (*use)(void))
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        if (sandbox_prepare(&failure) != 0 || sandbox_enter(kind) != 0)
            _exit(1);
        use();
        _exit(0);
    }
    cr_assert(eq(int, waitpid(child, &status, 0), child));
    cr_assert(zero(int, status));
}

static void
use_disk(void)
{
    char bytes[512] = { 0x5a };

    if (disk->ops->write(disk, bytes, 512, 512) != 0 || disk->ops->flush(disk) != 0 ||
        disk->ops->read(disk, bytes, 512, 512) != 0 || disk->ops->zero(disk, 512, 512, true) != 0 ||
        disk->ops->zero(disk, 512, 0, false) != 0 || disk->ops->discard(disk, 512, 512) != 0)
        _exit(1);
}

static void
close_disk(void)
{
    disk_close(disk);
}

Test(disk, a_confined_thread_uses_a_file_and_another_closes_it)
{
    make_file(8 * 512);
    cr_assert(zero(int, open_disk(path, false, &disk)));
    expect_allowed(SANDBOX_DISK, use_disk);
    expect_allowed(SANDBOX_LOOP, close_disk);
    disk_close(disk);
}

Test(disk, a_file_is_written_read_and_cleared)
{
    char bytes[1024], zeros[1024] = { 0 };

    make_file(8 * 512);
    cr_assert(zero(int, open_disk(path, false, &disk)));
    cr_assert(disk->size == 8 * 512 && disk->block_size == 512 && disk->discards);
    memset(bytes, 0x5a, sizeof(bytes));
    cr_assert(zero(int, disk->ops->write(disk, bytes, 1024, 512)));
    cr_assert(zero(int, disk->ops->flush(disk)));
    cr_assert(zero(int, disk->ops->read(disk, bytes, 1024, 1024)));
    cr_assert(bytes[511] == 0x5a && bytes[512] == 0);
    cr_assert(zero(int, disk->ops->zero(disk, 1024, 512, false)));
    cr_assert(zero(int, disk->ops->read(disk, bytes, 1024, 512)));
    cr_assert(memcmp(bytes, zeros, 1024) == 0);
    cr_assert(zero(int, disk->ops->discard(disk, 512, 512)));
    disk_close(disk);
}

Test(disk, writers_want_a_file_alone_and_readers_share_it)
{
    make_file(4096);
    cr_assert(zero(int, open_disk(path, false, &disk)));
    cr_assert(eq(int, open_disk(path, false, &other), -EBUSY));
    cr_assert(eq(int, open_disk(path, true, &other), -EBUSY));
    disk_close(disk);
    cr_assert(zero(int, open_disk(path, true, &disk)));
    cr_assert(zero(int, open_disk(path, true, &other)));
    disk_close(disk);
    disk_close(other);
}

Test(disk, what_is_no_disk_is_refused_with_a_remedy)
{
    make_file(0);
    cr_assert(eq(int, open_disk(path, false, &disk), -EINVAL));
    cr_assert(strstr(failure.message, "is empty: make it larger") != NULL);
    cr_assert(zero(int, truncate(path, 8 * 512 + 7)));
    cr_assert(eq(int, open_disk(path, false, &disk), -EINVAL));
    cr_assert(strstr(failure.message, "has 4103 bytes, which are no whole sectors") != NULL);
    cr_assert(eq(int, open_disk("/dev/null", false, &disk), -ENODEV));
    cr_assert(eq(int, open_disk("/tmp", false, &disk), -ENODEV));
    cr_assert(eq(int, open_disk("/no/such/file", true, &disk), -ENOENT));
    cr_assert(open_disk("nbd+unix:///?socket=/no/such/socket", false, &disk) < 0);
    cr_assert(strstr(failure.message, "nbd") != NULL);
}

/* A server with one disk of a MiB in memory, or 0 when there is no nbdkit here. */
static pid_t
start_server(const char *socket)
{
    struct stat st;
    pid_t child = fork();

    if (child == 0) {
        execlp("nbdkit", "nbdkit", "-f", "--exit-with-parent", "-U", socket, "memory", "1M", NULL);
        _exit(127);
    }
    while (stat(socket, &st) != 0) {
        if (waitpid(child, NULL, WNOHANG) != 0)
            return 0;
        usleep(1000);
    }
    return child;
}

/* Open a disk of a server, whose end the caller sees to, or skip the test. */
static pid_t
open_disk_of_a_server(char socket[32])
{
    char name[64];
    pid_t server;
    int error;

    snprintf(socket, 32, "/tmp/vkvm-nbd-%d", (int)getpid());
    snprintf(name, sizeof(name), "nbd+unix:///?socket=%s", socket);
    server = start_server(socket);
    if (server == 0)
        cr_skip_test("there is no nbdkit");
    error = open_disk(name, false, &disk);
    if (error == -ENOTSUP) {
        kill(server, SIGKILL);
        cr_skip_test("%s", failure.message);
    }
    cr_assert(zero(int, error), "%s", failure.message);
    return server;
}

Test(disk, a_confined_thread_uses_a_disk_of_a_server_and_another_closes_it)
{
    char socket[32];
    pid_t server = open_disk_of_a_server(socket);

    expect_allowed(SANDBOX_DISK, use_disk);
    expect_allowed(SANDBOX_LOOP, close_disk);
    kill(server, SIGKILL);
    disk_close(disk);
    unlink(socket);
}

Test(disk, a_disk_of_a_server_is_read_and_written_and_its_wait_can_be_ended)
{
    char socket[32], bytes[512];
    pid_t server = open_disk_of_a_server(socket);

    cr_assert(disk->size == 1 << 20);
    memset(bytes, 0x5a, sizeof(bytes));
    cr_assert(zero(int, disk->ops->write(disk, bytes, 512, 512)));
    cr_assert(zero(int, disk->ops->flush(disk)));
    memset(bytes, 0, sizeof(bytes));
    cr_assert(zero(int, disk->ops->read(disk, bytes, 512, 512)));
    cr_assert(bytes[0] == 0x5a && bytes[511] == 0x5a);
    cr_assert(zero(int, disk->ops->zero(disk, 512, 512, true)));
    kill(server, SIGSTOP);
    disk_stop(disk);
    cr_assert(eq(int, disk->ops->read(disk, bytes, 512, 512), -ECANCELED));
    kill(server, SIGKILL);
    disk_close(disk);
    unlink(socket);
}
