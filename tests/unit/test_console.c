/* SPDX-License-Identifier: BSD-2-Clause */
/* The console's output: what becomes one write, in which order, and that a flush never waits. */
#include "vmm/device/console.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct console console;
static int pipe_fds[2];
static unsigned laters;
static uint64_t later_ns;
static unsigned gave_up; /* asks until it is given up; 0: never */

static void
on_later(void *context, uint64_t ns)
{
    (void)context;
    laters++;
    later_ns = ns;
}

static bool
give_up(void *context)
{
    (void)context;
    return gave_up != 0 && --gave_up == 0;
}

/* A pipe of packets: what one write wrote is what one read reads. */
static void
setup(void)
{
    laters = 0;
    gave_up = 0;
    cr_assert(pipe2(pipe_fds, O_DIRECT) == 0);
    cr_assert(fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK) == 0);
    console_init(&console, -1, pipe_fds[1]);
    console_set_later(&console, on_later, NULL);
}

static void
teardown(void)
{
    console_fini(&console);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

TestSuite(console, .init = setup, .fini = teardown);

static void
collect(const char *text)
{
    for (; *text != '\0'; text++)
        cr_assert(eq(int, console_collect(&console, text, 1, give_up, NULL), 0));
}

/* The next write was this; NULL: there is none. */
static void
expect_write(const char *text)
{
    char bytes[512];
    ssize_t n = read(pipe_fds[0], bytes, sizeof(bytes) - 1);

    if (text == NULL) {
        cr_assert(n < 0 && errno == EAGAIN);
        return;
    }
    cr_assert(n >= 0);
    bytes[n] = '\0';
    cr_assert(strcmp(bytes, text) == 0, "%s", bytes);
}

/* Fill the pipe.  Returns how many writes it took. */
static unsigned
fill(void)
{
    unsigned nwrites = 0;

    cr_assert(fcntl(pipe_fds[1], F_SETFL, O_DIRECT | O_NONBLOCK) == 0);
    while (write(pipe_fds[1], "x", 1) == 1)
        nwrites++;
    cr_assert(fcntl(pipe_fds[1], F_SETFL, O_DIRECT) == 0);
    return nwrites;
}

Test(console, a_line_that_comes_byte_by_byte_is_one_write)
{
    collect("Linux version\nno");
    expect_write("Linux version\n");
    expect_write(NULL);
}

Test(console, a_full_buffer_is_written_without_a_lines_end)
{
    char text[CONSOLE_LINE + 2];

    memset(text, 'x', sizeof(text));
    text[CONSOLE_LINE + 1] = '\0';
    collect(text);
    text[CONSOLE_LINE] = '\0';
    expect_write(text);
    expect_write(NULL);
}

Test(console, a_line_without_an_end_is_asked_for_once_until_it_is_written)
{
    collect("login: ");
    cr_assert(eq(uint, laters, 1));
    cr_assert(eq(int, console_flush(&console, 0), 0));
    expect_write("login: ");
    cr_assert(eq(uint, laters, 1));
    collect("r");
    cr_assert(eq(uint, laters, 2));
}

Test(console, the_delay_grows_while_output_flows_and_is_short_again_after_a_pause)
{
    for (uint64_t ns = CONSOLE_DELAY_NS; ns < 4 * CONSOLE_DELAY_MAX_NS; ns *= 2) {
        collect("ab");
        cr_assert(eq(u64, later_ns, ns < CONSOLE_DELAY_MAX_NS ? ns : CONSOLE_DELAY_MAX_NS));
        cr_assert(eq(int, console_flush(&console, 0), 0));
    }
    collect("r");
    cr_assert(eq(u64, later_ns, CONSOLE_DELAY_MAX_NS));
    cr_assert(eq(int, console_flush(&console, 0), 0));
    collect("o");
    cr_assert(eq(u64, later_ns, CONSOLE_DELAY_NS));
}

/* Also when the line ended meanwhile: the flush has nothing to write and is there all the same. */
Test(console, lines_that_end_by_themselves_are_flowing_output)
{
    collect("a\nb\n");
    cr_assert(eq(uint, laters, 1));
    cr_assert(eq(int, console_flush(&console, 0), 0));
    collect("c");
    cr_assert(eq(u64, later_ns, 2 * CONSOLE_DELAY_NS));
}

/* As a terminal may have room for one byte and not for two. */
Test(console, what_is_no_pipe_is_given_a_byte_at_a_time_by_a_flush)
{
    int sockets[2];

    cr_assert(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets) == 0);
    cr_assert(dup2(sockets[0], pipe_fds[0]) >= 0 && dup2(sockets[1], pipe_fds[1]) >= 0);
    console_fini(&console);
    console_init(&console, -1, pipe_fds[1]);
    console_set_later(&console, on_later, NULL);
    collect("$ ");
    cr_assert(eq(int, console_flush(&console, 0), 0));
    expect_write("$");
    expect_write(" ");
}

Test(console, what_is_written_at_once_comes_behind_what_was_collected)
{
    collect("ab");
    cr_assert(eq(int, console_write(&console, "c", 1, give_up, NULL), 0));
    expect_write("ab");
    expect_write("c");
}

Test(console, nothing_is_collected_where_nobody_would_come_for_it)
{
    console_set_later(&console, NULL, NULL);
    collect("ab");
    expect_write("a");
    expect_write("b");
}

Test(console, a_flush_waits_for_nobody_and_asks_again)
{
    unsigned nwrites = fill();

    collect("$ ");
    cr_assert(eq(int, console_flush(&console, 0), 0));
    cr_assert(eq(uint, laters, 2));
    while (nwrites-- > 0)
        expect_write("x");
    cr_assert(eq(int, console_flush(&console, 0), 0));
    expect_write("$ ");
    cr_assert(eq(uint, laters, 2));
}

Test(console, a_line_that_nobody_takes_can_be_given_up)
{
    fill();
    gave_up = 4; /* two bytes collected, the first try to write, then it is enough */
    cr_assert(eq(int, console_collect(&console, "a", 1, give_up, NULL), 0));
    cr_assert(eq(int, console_collect(&console, "\n", 1, give_up, NULL), -ECANCELED));
}

Test(console, a_flush_leaves_output_to_the_thread_that_has_it)
{
    collect("ab");
    console.owned = true;
    cr_assert(eq(int, console_flush(&console, 0), 0));
    expect_write(NULL);
    cr_assert(not(console.expected));
    gave_up = 2;
    cr_assert(eq(int, console_write(&console, "c", 1, give_up, NULL), -ECANCELED));
    console.owned = false;
    collect("\n");
    expect_write("ab\n");
}

Test(console, a_reader_that_is_gone_is_told_by_a_flush_too)
{
    collect("ab");
    close(pipe_fds[0]);
    cr_assert(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    cr_assert(eq(int, console_flush(&console, 0), -EPIPE));
    cr_assert(eq(int, console_flush(&console, 0), 0));
}
