/* SPDX-License-Identifier: BSD-2-Clause */
/* The connection: stopping, workers, a lost debugger, a second one, the end. */
#include "tests/unit/gdb_rig.h"
#include "vmm/gdb/gdb_listen.h"
#include "vmm/gdb/gdb_server.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct gdb_rig rig;
static struct gdb_server server;
static struct gdb_listen at;
static struct event_loop *loop;
static struct event_source *rested;
static pthread_t thread;
static char path[64];

#define until(expression) \
    while (!(expression)) \
    sched_yield()

static void
on_rested(void *context)
{
    (void)context;
    gdb_server_rested(&server);
}

static void *
run(void *argument)
{
    cr_assert(zero(int, event_loop_run(loop)));
    return argument;
}

static void
begin(void)
{
    struct failure failure;

    memset(&rig, 0, sizeof(rig));
    for (unsigned i = 0; i < RIG_SIZE; i++)
        rig.memory[i] = (uint8_t)i;
    atomic_store(&rig.runs, true);
    snprintf(path, sizeof(path), "/tmp/vkvm-gdb.%d", (int)getpid());
    cr_assert(zero(int, gdb_listen_open(path, &at, &failure)));
    cr_assert(zero(int, event_loop_create(&loop)));
    cr_assert(zero(int, gdb_server_init(&server, at.fd, &rig_ops, &rig, NULL, NULL)));
    cr_assert(zero(int, gdb_server_start(&server, loop)));
    cr_assert(zero(int, event_loop_add_wake(loop, on_rested, NULL, &rested)));
    cr_assert(zero(int, pthread_create(&thread, NULL, run, NULL)));
}

static void
stop_loop(void)
{
    event_loop_stop(loop);
    cr_assert(zero(int, pthread_join(thread, NULL)));
}

static void
finish(void)
{
    gdb_server_finish(&server, false, 7);
    gdb_server_fini(&server);
    event_loop_destroy(loop);
    gdb_listen_close(&at);
}

static void
end(void)
{
    stop_loop();
    finish();
}

TestSuite(gdb_server, .init = begin, .timeout = 30);

static int
connect_debugger(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    strcpy(address.sun_path, path);
    cr_assert(zero(int, connect(fd, (struct sockaddr *)&address, sizeof(address))));
    return fd;
}

static void
send_text(int fd, const char *text)
{
    cr_assert(eq(sz, (size_t)send(fd, text, strlen(text), 0), strlen(text)));
}

static void
send_packet(int fd, const char *packet)
{
    char frame[256];

    frame[gdb_packet_frame(packet, strlen(packet), frame)] = '\0';
    send_text(fd, frame);
}

/* What comes next, byte for byte. */
static void
expect(int fd, const char *text)
{
    char got[256] = "";
    size_t n = 0;

    while (n < strlen(text)) {
        ssize_t more = recv(fd, got + n, strlen(text) - n, 0);

        cr_assert_gt(more, 0, "the connection ended after '%s', before '%s'", got, text);
        n += (size_t)more;
        got[n] = '\0';
    }
    cr_assert_str_eq(got, text);
}

static void
expect_packet(int fd, const char *packet)
{
    char frame[256] = "+";

    frame[1 + gdb_packet_frame(packet, strlen(packet), frame + 1)] = '\0';
    expect(fd, frame);
}

static void
expect_end(int fd)
{
    char byte;

    cr_assert(eq(int, (int)recv(fd, &byte, 1, 0), 0));
    close(fd);
}

static void
ask(int fd, const char *packet, const char *answer)
{
    send_packet(fd, packet);
    expect_packet(fd, answer);
}

Test(gdb_server, attaching_stops_the_machine_and_detaching_lets_it_run)
{
    int fd = connect_debugger();

    ask(fd, "?", "T02thread:1;");
    cr_assert(eq(uint, atomic_load(&rig.interrupts), 1));
    ask(fd, "D", "OK");
    expect_end(fd);
    cr_assert(eq(uint, atomic_load(&rig.releases), 1));
    fd = connect_debugger();
    ask(fd, "?", "T02thread:1;");
    close(fd);
    end();
}

Test(gdb_server, memory_is_read_by_a_worker)
{
    int fd = connect_debugger();

    ask(fd, "m1000,2", "0001");
    cr_assert_neq(rig.worker, thread);
    for (unsigned i = 0; i < 200; i++)
        ask(fd, "m1001,1", "01");
    close(fd);
    end();
}

Test(gdb_server, a_packet_waits_until_the_vcpus_rest_and_others_do_not)
{
    struct pollfd quiet;
    int fd;

    atomic_store(&rig.stubborn, true);
    fd = connect_debugger();
    ask(fd, "qC", "QC1");
    send_packet(fd, "?");
    expect(fd, "+");
    quiet = (struct pollfd){ .fd = fd, .events = POLLIN };
    cr_assert(zero(int, poll(&quiet, 1, 50)));
    atomic_store(&rig.stubborn, false);
    event_wake(rested);
    expect(fd, "$T02thread:1;#d4");
    close(fd);
    end();
}

Test(gdb_server, a_running_machine_is_interrupted_and_its_stop_told)
{
    int fd = connect_debugger();

    send_packet(fd, "vCont;c");
    expect(fd, "+");
    until(atomic_load(&rig.runs));
    send_text(fd, "\003");
    until(!atomic_load(&rig.runs));
    event_wake(rested);
    expect(fd, "$T02thread:1;#d4");
    close(fd);
    end();
}

Test(gdb_server, a_damaged_packet_is_asked_for_again_and_an_answer_given_again)
{
    int fd = connect_debugger();

    send_text(fd, "$qC#00");
    expect(fd, "-");
    send_text(fd, "$qC#b4");
    expect(fd, "+$QC1#c5");
    send_text(fd, "-");
    expect(fd, "$QC1#c5");
    ask(fd, "QStartNoAckMode", "OK");
    send_text(fd, "$qC#00"); /* nobody looks any more */
    expect(fd, "$QC1#c5");
    close(fd);
    end();
}

Test(gdb_server, a_second_debugger_is_refused_with_the_reason)
{
    int first = connect_debugger(), second;

    ask(first, "qC", "QC1");
    second = connect_debugger();
    expect_packet(second, "E.vkvm: another debugger is attached");
    expect_end(second);
    second = connect_debugger();
    expect_packet(second, "E.vkvm: another debugger is attached");
    ask(first, "qC", "QC1");
    close(first);
    close(second);
    end();
}

Test(gdb_server, a_lost_connection_takes_the_points_away_and_lets_the_machine_run)
{
    int fd = connect_debugger();

    ask(fd, "Z0,1000,1", "OK");
    send_packet(fd, "vCont;c");
    expect(fd, "+");
    close(fd);
    until(atomic_load(&rig.releases) == 1);
    cr_assert(zero(uint, rig.npoints));
    cr_assert(atomic_load(&rig.runs));
    end();
}

Test(gdb_server, a_connection_lost_while_a_worker_reads_is_left_when_he_is_done)
{
    int fd = connect_debugger();

    ask(fd, "qC", "QC1");
    atomic_store(&rig.slow, true);
    send_packet(fd, "m1000,1");
    expect(fd, "+");
    close(fd);
    usleep(20000);
    cr_assert(zero(uint, atomic_load(&rig.releases)));
    atomic_store(&rig.slow, false);
    until(atomic_load(&rig.releases) == 1);
    end();
}

Test(gdb_server, who_sends_on_without_an_answer_is_left)
{
    char junk[GDB_SERVER_INPUT * 4];
    int fd = connect_debugger();

    memset(junk, '+', sizeof(junk));
    ask(fd, "qC", "QC1");
    atomic_store(&rig.slow, true);
    send_packet(fd, "m1000,1");
    expect(fd, "+");
    (void)!send(fd, junk, sizeof(junk), MSG_NOSIGNAL);
    usleep(20000);
    atomic_store(&rig.slow, false);
    until(atomic_load(&rig.releases) == 1);
    close(fd);
    end();
}

Test(gdb_server, the_end_is_told_to_who_waits_for_a_stop)
{
    int fd = connect_debugger();

    send_packet(fd, "vCont;c");
    expect(fd, "+");
    until(atomic_load(&rig.runs));
    stop_loop();
    finish();
    expect(fd, "$W07#be");
    expect_end(fd);
}

Test(gdb_server, the_end_closes_the_connection_of_who_looks_at_a_stopped_machine)
{
    int fd = connect_debugger();

    ask(fd, "?", "T02thread:1;");
    stop_loop();
    finish();
    expect_end(fd);
}

Test(gdb_server, the_end_does_not_wait_for_a_read_that_waits_for_a_page)
{
    int fd = connect_debugger();

    ask(fd, "qC", "QC1");
    atomic_store(&rig.slow, true);
    send_packet(fd, "m1000,1");
    expect(fd, "+");
    until(atomic_load(&rig.reads) == 1);
    stop_loop();
    gdb_server_finish(&server, false, 7); /* would wait for ever */
    expect_end(fd);
    event_loop_destroy(loop);
    atomic_store(&rig.slow, false);
    gdb_server_fini(&server);
    gdb_listen_close(&at);
}

/* --- where it listens ------------------------------------------------------------- */

static struct failure failure;

static void
refused(const char *address, const char *word)
{
    cr_assert(eq(int, gdb_listen_check(address, &failure), -EINVAL));
    cr_assert_not_null(strstr(failure.message, word), "%s", failure.message);
}

Test(gdb_listen, what_is_no_place_is_refused)
{
    char longer[200] = "/";

    refused("", "no place");
    refused("70000", "no place");
    refused("-1", "no place");
    refused("1 ", "no place");
    refused("localhost:1", "no place");
    refused("127.0.0.1:", "no place");
    refused("::1:5", "no place");
    refused("[::1]", "no place");
    refused("[zz]:5", "no place");
    memset(longer + 1, 'a', sizeof(longer) - 2);
    refused(longer, "too long");
    cr_assert(zero(int, gdb_listen_check("[::1]:5", &failure)));
    cr_assert(zero(int, gdb_listen_check("0.0.0.0:5", &failure)));
}

Test(gdb_listen, a_port_is_the_loopbacks_and_a_port_that_is_taken_is_said_to_be)
{
    struct gdb_listen one, two;

    cr_assert(zero(int, gdb_listen_open("0", &one, &failure)));
    cr_assert(zero(int, strncmp(one.where, "127.0.0.1:", 10)));
    cr_assert(eq(int, gdb_listen_open(one.where, &two, &failure), -EADDRINUSE));
    cr_assert_not_null(strstr(failure.message, "another port"));
    gdb_listen_close(&one);
}

Test(gdb_listen, a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not)
{
    struct gdb_listen one, two;
    char name[64];

    snprintf(name, sizeof(name), "/tmp/vkvm-listen.%d", (int)getpid());
    cr_assert(zero(int, gdb_listen_open(name, &one, &failure)));
    cr_assert(eq(int, gdb_listen_open(name, &two, &failure), -EADDRINUSE));
    close(one.fd);
    cr_assert(zero(int, gdb_listen_open(name, &two, &failure)));
    gdb_listen_close(&two);
    cr_assert(eq(int, access(name, F_OK), -1));
    one.fd = -1;
    gdb_listen_close(&one);
}
