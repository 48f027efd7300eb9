/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * epoll, with a timerfd, an eventfd or a signalfd behind each source that is no descriptor of the
 * client's.
 *
 * Events are taken one at a time, so that no event of a removed source waits in a batch.  One may
 * still be on its way from epoll_wait when its source is removed: a removed source is marked dead
 * and freed only by the loop's thread before it waits again, or with the loop.
 *
 * Locks: `loop`, which is not held across a call of a client.
 */
#include "vmm/base/event_loop.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum kind {
    KIND_FD,
    KIND_TIMER,
    KIND_WAKE,
    KIND_SIGNALS
};

struct event_source {
    struct event_loop *loop; /* (c) borrowed */
    enum kind kind;          /* (c) */
    int fd;                  /* (c) owned unless KIND_FD */
    union {
        event_fd_fn *fd;
        event_timer_fn *timer;
        event_wake_fn *wake;
        event_signal_fn *signal;
    } call;                    /* (c) */
    void *context;             /* (c) borrowed */
    bool dead;                 /* loop */
    struct event_source *next; /* loop: of loop->live or loop->dead */
};

struct event_loop {
    int epoll_fd;                 /* (c) owned */
    struct event_source *stop;    /* (c) owned: wakes the loop */
    pthread_mutex_t lock;         /* loop */
    pthread_cond_t called;        /* loop: broadcast when a call is over */
    bool stopping;                /* loop */
    bool runs;                    /* loop: a thread is in event_loop_run ... */
    pthread_t thread;             /* loop: ... this one */
    struct event_source *calling; /* loop: whose call is under way; NULL = none */
    struct event_source *live;    /* loop: owned */
    struct event_source *dead;    /* loop: owned, to be freed */
};

static void
lock(struct event_loop *loop)
{
    int error = pthread_mutex_lock(&loop->lock);

    assert(error == 0);
    (void)error;
}

static void
unlock(struct event_loop *loop)
{
    int error = pthread_mutex_unlock(&loop->lock);

    assert(error == 0);
    (void)error;
}

/* --- sources ---------------------------------------------------------------- */

static void
free_source(struct event_source *source)
{
    if (source->kind != KIND_FD && source->fd >= 0)
        close(source->fd);
    free(source);
}

static void
free_list(struct event_source *list)
{
    while (list != NULL) {
        struct event_source *next = list->next;

        free_source(list);
        list = next;
    }
}

/* Have epoll watch the source.  Returns 0 or -errno, and the source is freed. */
static int
add_source(struct event_loop *loop, const struct event_source *from, uint32_t events,
           struct event_source **sourcep)
{
    struct event_source *source = malloc(sizeof(*source));
    struct epoll_event event = { .events = events, .data.ptr = source };
    int error;

    if (source == NULL) {
        if (from->kind != KIND_FD)
            close(from->fd);
        return -ENOMEM;
    }
    *source = *from;
    source->loop = loop;
    lock(loop);
    error = epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, source->fd, &event) == 0 ? 0 : -errno;
    if (error == 0) {
        source->next = loop->live;
        loop->live = source;
        *sourcep = source; /* before the first call, which takes loop */
    }
    unlock(loop);
    if (error != 0)
        free_source(source);
    return error;
}

/* The same with a descriptor just made: -1 means that errno says why not. */
static int
add_made(struct event_loop *loop, const struct event_source *from, struct event_source **source)
{
    return from->fd < 0 ? -errno : add_source(loop, from, EPOLLIN, source);
}

int
event_loop_add_fd(struct event_loop *loop, int fd, unsigned events, event_fd_fn *call,
                  void *context, struct event_source **source)
{
    const struct event_source from = {
        .kind = KIND_FD, .fd = fd, .call.fd = call, .context = context
    };

    return add_source(loop, &from,
                      ((events & EVENT_READ) != 0 ? (uint32_t)EPOLLIN : 0) |
                          ((events & EVENT_WRITE) != 0 ? (uint32_t)EPOLLOUT : 0),
                      source);
}

int
event_loop_add_timer(struct event_loop *loop, event_timer_fn *call, void *context,
                     struct event_source **source)
{
    const struct event_source from = {
        .kind = KIND_TIMER,
        .fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
        .call.timer = call,
        .context = context,
    };

    return add_made(loop, &from, source);
}

int
event_loop_add_wake(struct event_loop *loop, event_wake_fn *call, void *context,
                    struct event_source **source)
{
    const struct event_source from = {
        .kind = KIND_WAKE,
        .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        .call.wake = call,
        .context = context,
    };

    return add_made(loop, &from, source);
}

int
event_loop_add_signals(struct event_loop *loop, const sigset_t *signals, event_signal_fn *call,
                       void *context, struct event_source **source)
{
    const struct event_source from = {
        .kind = KIND_SIGNALS,
        .fd = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK),
        .call.signal = call,
        .context = context,
    };

    return add_made(loop, &from, source);
}

static struct timespec
timespec_of(uint64_t ns)
{
    return (struct timespec){ .tv_sec = (time_t)(ns / 1000000000u),
                              .tv_nsec = (long)(ns % 1000000000u) };
}

void
event_timer_set(struct event_source *timer, uint64_t first, uint64_t interval)
{
    const struct itimerspec when = {
        .it_value = timespec_of(first),
        .it_interval = timespec_of(first != 0 ? interval : 0),
    };
    int error = timerfd_settime(timer->fd, 0, &when, NULL);

    assert(timer->kind == KIND_TIMER && error == 0);
    (void)error;
}

void
event_wake(struct event_source *source)
{
    const uint64_t one = 1;
    int saved = errno;

    if (write(source->fd, &one, sizeof(one)) < 0)
        assert(errno == EAGAIN); /* the counter is full: readable all the same */
    errno = saved;
}

/* Locked: `loop`. */
static void
bury(struct event_loop *loop, struct event_source *source)
{
    struct event_source **link = &loop->live;

    while (*link != source)
        link = &(*link)->next;
    *link = source->next;
    source->next = loop->dead;
    loop->dead = source;
}

/* Locked: `loop`. */
static bool
is_called_elsewhere(const struct event_loop *loop, const struct event_source *source)
{
    return loop->calling == source && !pthread_equal(loop->thread, pthread_self());
}

void
event_source_remove(struct event_source *source)
{
    struct event_loop *loop;

    if (source == NULL)
        return;
    loop = source->loop;
    lock(loop);
    assert(!source->dead);
    source->dead = true;
    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
    while (is_called_elsewhere(loop, source))
        (void)pthread_cond_wait(&loop->called, &loop->lock);
    bury(loop, source);
    unlock(loop);
}

/* --- calls ------------------------------------------------------------------ */

static void
call_fd(struct event_source *source, uint32_t events)
{
    unsigned told =
        ((events & EPOLLIN) != 0 ? EVENT_READ : 0) | ((events & EPOLLOUT) != 0 ? EVENT_WRITE : 0);

    if (told == 0) {
        told = EVENT_FAILED;
        (void)epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
    }
    source->call.fd(source->context, told);
}

/* A timer or a wake-up: take the count, which another setting may have cleared meanwhile. */
static bool
take_count(const struct event_source *source)
{
    uint64_t count;

    return read(source->fd, &count, sizeof(count)) == (ssize_t)sizeof(count);
}

static void
call_source(struct event_source *source, uint32_t events)
{
    struct signalfd_siginfo info;

    switch (source->kind) {
    case KIND_FD:
        call_fd(source, events);
        break;
    case KIND_TIMER:
        if (take_count(source))
            source->call.timer(source->context);
        break;
    case KIND_WAKE:
        if (take_count(source))
            source->call.wake(source->context);
        break;
    case KIND_SIGNALS:
        if (read(source->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
            source->call.signal(source->context, (int)info.ssi_signo);
        break;
    }
}

/* Make the call of an event, if its source has not been removed since. */
static void
dispatch(struct event_loop *loop, const struct epoll_event *event)
{
    struct event_source *source = event->data.ptr;
    bool dead;

    lock(loop);
    dead = source->dead;
    if (!dead)
        loop->calling = source;
    unlock(loop);
    if (dead)
        return;
    call_source(source, event->events);
    lock(loop);
    loop->calling = NULL;
    (void)pthread_cond_broadcast(&loop->called);
    unlock(loop);
}

/* --- the loop --------------------------------------------------------------- */

/* Free what was removed; false when it is time to return. */
static bool
begin_wait(struct event_loop *loop)
{
    struct event_source *dead;
    bool stopping;

    lock(loop);
    dead = loop->dead;
    loop->dead = NULL;
    stopping = loop->stopping;
    unlock(loop);
    free_list(dead);
    return !stopping;
}

/* An EINTR is a signal that somebody sent: waiting again makes no spin. */
static int
serve(struct event_loop *loop)
{
    struct epoll_event event;
    int n;

    while (begin_wait(loop)) {
        n = epoll_wait(loop->epoll_fd, &event, 1, -1);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 1)
            dispatch(loop, &event);
    }
    return 0;
}

int
event_loop_run(struct event_loop *loop)
{
    int error;

    lock(loop);
    assert(!loop->runs);
    loop->runs = true;
    loop->thread = pthread_self();
    unlock(loop);
    error = serve(loop);
    lock(loop);
    loop->runs = false;
    loop->stopping = false;
    unlock(loop);
    return error;
}

void
event_loop_stop(struct event_loop *loop)
{
    lock(loop);
    loop->stopping = true;
    unlock(loop);
    event_wake(loop->stop);
}

/* What stops the loop is seen by begin_wait. */
static void
on_stop(void *context)
{
    (void)context;
}

int
event_loop_create(struct event_loop **loopp)
{
    struct event_loop *loop = calloc(1, sizeof(*loop));
    int error;

    if (loop == NULL)
        return -ENOMEM;
    (void)pthread_mutex_init(&loop->lock, NULL);
    (void)pthread_cond_init(&loop->called, NULL);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    error = loop->epoll_fd < 0 ? -errno : event_loop_add_wake(loop, on_stop, NULL, &loop->stop);
    if (error != 0) {
        event_loop_destroy(loop);
        return error;
    }
    *loopp = loop;
    return 0;
}

void
event_loop_destroy(struct event_loop *loop)
{
    free_list(loop->live);
    free_list(loop->dead);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    (void)pthread_cond_destroy(&loop->called);
    (void)pthread_mutex_destroy(&loop->lock);
    free(loop);
}
