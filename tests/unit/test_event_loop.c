/* SPDX-License-Identifier: BSD-2-Clause */
/* The event loop: what is told, how often, and what removing a source promises. */
#include "tests/unit/checked_test.h"
#include "vmm/base/event_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MS UINT64_C(1000000)

static struct event_loop *loop;

/* A client: counts its calls, and stops the loop at one of them. */
struct client {
    struct event_source *source;
    _Atomic unsigned calls;
    unsigned stop_at;            /* 0 = never */
    struct event_source *remove; /* in the call; NULL = none */
    unsigned told;               /* events, or the signal */
    int fd;                      /* a byte is read from it; 0 = none */
    _Atomic bool enter;          /* set when a call has begun ... */
    _Atomic bool leave;          /* ... which waits for this, if `slow` */
    bool slow;
};

static void
event_loop_setup(void)
{
    cr_assert_eq(event_loop_create(&loop), 0);
}

static void
event_loop_teardown(void)
{
    event_loop_destroy(loop);
}

static void
sleep_ms(long ms)
{
    const struct timespec time = { .tv_nsec = ms * 1000000 };

    nanosleep(&time, NULL);
}

static void
on_call(void *context)
{
    struct client *client = context;
    char byte;

    atomic_store(&client->enter, true);
    while (client->slow && !atomic_load(&client->leave))
        sleep_ms(1);
    if (client->fd != 0)
        cr_assert_eq(read(client->fd, &byte, 1), 1);
    if (client->remove != NULL)
        event_source_remove(client->remove);
    client->remove = NULL;
    if (atomic_fetch_add(&client->calls, 1) + 1 == client->stop_at)
        event_loop_stop(loop);
}

static void
on_fd(void *context, unsigned events)
{
    ((struct client *)context)->told = events;
    on_call(context);
}

static void
on_signal(void *context, int signal)
{
    ((struct client *)context)->told = (unsigned)signal;
    on_call(context);
}

static void
add_timer(struct client *client, uint64_t first, uint64_t interval)
{
    cr_assert_eq(event_loop_add_timer(loop, on_call, client, &client->source), 0);
    event_timer_set(client->source, first, interval);
}

static void
run(void)
{
    cr_assert_eq(event_loop_run(loop), 0);
}

static void *
run_thread(void *argument)
{
    (void)argument;
    run();
    return NULL;
}

static pthread_t
run_in_background(void)
{
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, run_thread, NULL), 0);
    return thread;
}

static void
stop_background(pthread_t thread)
{
    event_loop_stop(loop);
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

CHECKED_TEST(event_loop, a_descriptor_is_told_as_long_as_something_is_left)
{
    struct client client = { .stop_at = 3 };
    int ends[2];

    cr_assert_eq(pipe(ends), 0);
    client.fd = ends[0];
    cr_assert_eq(write(ends[1], "abc", 3), 3);
    cr_assert_eq(event_loop_add_fd(loop, ends[0], EVENT_READ, on_fd, &client, &client.source), 0);
    run();
    cr_assert_eq(client.calls, 3);
    cr_assert_eq(client.told, EVENT_READ);
    event_source_remove(client.source);
    close(ends[0]);
    close(ends[1]);
}

CHECKED_TEST(event_loop, a_descriptor_that_can_be_written_is_told)
{
    struct client client = { .stop_at = 1 };
    int ends[2];

    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(event_loop_add_fd(loop, ends[1], EVENT_WRITE, on_fd, &client, &client.source), 0);
    cr_assert_eq(event_loop_add_fd(loop, ends[1], EVENT_WRITE, on_fd, &client, &client.source),
                 -EEXIST);
    run();
    cr_assert_eq(client.told, EVENT_WRITE);
}

CHECKED_TEST(event_loop, a_hang_up_is_told_once_and_does_not_make_the_loop_spin)
{
    struct client client = { .stop_at = 0 }, end = { .stop_at = 1 };
    int ends[2];

    cr_assert_eq(pipe(ends), 0);
    close(ends[1]);
    cr_assert_eq(event_loop_add_fd(loop, ends[0], EVENT_READ, on_fd, &client, &client.source), 0);
    add_timer(&end, 20 * MS, 0);
    run();
    cr_assert_eq(client.calls, 1);
    cr_assert_eq(client.told, EVENT_FAILED);
    event_source_remove(client.source);
    close(ends[0]);
}

CHECKED_TEST(event_loop, a_regular_file_is_refused)
{
    struct client client = { .stop_at = 0 };
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    cr_assert_eq(event_loop_add_fd(loop, fd, EVENT_READ, on_fd, &client, &client.source), -EPERM);
    cr_assert_null(client.source);
    close(fd);
}

CHECKED_TEST(event_loop, a_timer_calls_once_or_at_intervals_and_not_after_it_was_set_to_never)
{
    struct client once = { .stop_at = 0 }, again = { .stop_at = 0 }, never = { .stop_at = 0 };
    struct client end = { .stop_at = 1 };

    add_timer(&once, MS, 0);
    add_timer(&again, MS, MS);
    add_timer(&never, MS, MS);
    event_timer_set(never.source, 0, 0);
    add_timer(&end, 30 * MS, 0);
    run();
    cr_assert_eq(once.calls, 1);
    cr_assert_gt(again.calls, 1);
    cr_assert_eq(never.calls, 0);
}

CHECKED_TEST(event_loop, signals_are_received_instead_of_delivered)
{
    struct client client = { .stop_at = 1 };
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    cr_assert_eq(event_loop_add_signals(loop, &set, on_signal, &client, &client.source), 0);
    kill(getpid(), SIGUSR1);
    run();
    cr_assert_eq(client.told, (unsigned)SIGUSR1);
}

CHECKED_TEST(event_loop, a_stop_before_it_runs_ends_the_first_run_only)
{
    struct client client = { .stop_at = 1 };

    add_timer(&client, MS, 0);
    event_loop_stop(loop);
    run();
    cr_assert_eq(client.calls, 0);
    run();
    cr_assert_eq(client.calls, 1);
}

CHECKED_TEST(event_loop, a_wake_up_from_another_thread_is_told)
{
    struct client client = { .stop_at = 0 };
    pthread_t thread;

    cr_assert_eq(event_loop_add_wake(loop, on_call, &client, &client.source), 0);
    thread = run_in_background();
    for (unsigned i = 1; i <= 5; i++) {
        event_wake(client.source);
        while (atomic_load(&client.calls) < i)
            sleep_ms(1);
    }
    stop_background(thread);
    cr_assert_eq(client.calls, 5);
}

CHECKED_TEST(event_loop, a_call_may_remove_its_own_source)
{
    struct client client = { .stop_at = 0 }, end = { .stop_at = 1 };

    add_timer(&client, MS, MS);
    client.remove = client.source;
    add_timer(&end, 20 * MS, 0);
    run();
    cr_assert_eq(client.calls, 1);
}

CHECKED_TEST(event_loop, a_source_removed_in_a_call_is_not_told_although_it_is_ready)
{
    struct client one = { .stop_at = 0 }, other = { .stop_at = 0 }, end = { .stop_at = 1 };

    cr_assert_eq(event_loop_add_wake(loop, on_call, &one, &one.source), 0);
    cr_assert_eq(event_loop_add_wake(loop, on_call, &other, &other.source), 0);
    one.remove = other.source;
    other.remove = one.source;
    event_wake(one.source);
    event_wake(other.source);
    add_timer(&end, 20 * MS, 0);
    run();
    cr_assert_eq(one.calls + other.calls, 1);
}

struct remover {
    struct event_source *source;
    _Atomic bool done;
};

static void *
remove_thread(void *argument)
{
    struct remover *remover = argument;

    event_source_remove(remover->source);
    atomic_store(&remover->done, true);
    return NULL;
}

CHECKED_TEST(event_loop, removing_waits_for_the_call_under_way)
{
    struct client client = { .slow = true };
    struct remover remover = { .done = false };
    pthread_t thread, removing;

    cr_assert_eq(event_loop_add_wake(loop, on_call, &client, &client.source), 0);
    remover.source = client.source;
    thread = run_in_background();
    event_wake(client.source);
    while (!atomic_load(&client.enter))
        sleep_ms(1);
    cr_assert_eq(pthread_create(&removing, NULL, remove_thread, &remover), 0);
    sleep_ms(20);
    cr_assert_not(atomic_load(&remover.done));
    atomic_store(&client.leave, true);
    pthread_join(removing, NULL);
    cr_assert_eq(client.calls, 1);
    stop_background(thread);
}

CHECKED_TEST(event_loop, sources_come_and_go_while_it_runs)
{
    pthread_t thread = run_in_background();

    for (unsigned round = 0; round < 300; round++) {
        struct client *client = calloc(1, sizeof(*client));

        cr_assert_eq(event_loop_add_wake(loop, on_call, client, &client->source), 0);
        event_wake(client->source);
        if (round % 3 == 0)
            while (atomic_load(&client->calls) == 0)
                sleep_ms(1);
        event_source_remove(client->source);
        free(client); /* no call uses it any more */
    }
    stop_background(thread);
}

CHECKED_TEST(event_loop, waiting_that_fails_ends_the_run_with_its_error)
{
    int first = dup(STDIN_FILENO), null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct event_loop *broken;

    close(first); /* the next descriptor made is epoll's */
    cr_assert_eq(event_loop_create(&broken), 0);
    dup2(null, first);
    cr_assert_eq(event_loop_run(broken), -EINVAL);
    event_loop_destroy(broken);
    close(null);
}
