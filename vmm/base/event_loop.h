/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One thread that waits for many things: descriptors, timers, signals, and other threads.
 *
 * A source is something to wait for and the function to call then.  The calls are made by the
 * thread in event_loop_run, one after the other, without any lock of the loop.  No client blocks:
 * while a call lasts nothing else is served, the end of a VM included.
 *
 * Sources are added and removed from any thread, those calls included, whether the loop runs or
 * not.  Once event_source_remove has returned the source's call is over and does not come again,
 * unless the call itself removes its source: then it goes on to its end.
 *
 * A descriptor is level-triggered: the call comes again until nothing is left.  What cannot be
 * read or written any more (an error, a hang-up) is told once, then the source is silent: a client
 * that does not know what to do with that does not make the loop spin.
 */
#ifndef EVENT_LOOP_H
#define EVENT_LOOP_H

#include <signal.h>
#include <stdint.h>

struct event_loop;   /* event_loop.c */
struct event_source; /* event_loop.c */

#define EVENT_READ 0x1u  /* a read does not wait */
#define EVENT_WRITE 0x2u /* a write does not wait */
#define EVENT_FAILED \
    0x4u /* told, not asked for: neither, but an error or a hang-up (a pipe's end) */

typedef void event_fd_fn(void *context, unsigned events);
typedef void event_timer_fn(void *context);
typedef void event_wake_fn(void *context);
typedef void event_signal_fn(void *context, int signal);

/* Returns 0, or -errno: -EMFILE, -ENFILE, -ENOMEM. */
int event_loop_create(struct event_loop **loop) __attribute__((warn_unused_result));

/* Frees the loop and the sources that are left.  It does not run, and nobody uses it any more. */
void event_loop_destroy(struct event_loop *loop);

/*
 * Serve until event_loop_stop; at once if that came before.  May be called again.
 * Returns 0, or -errno: waiting failed, and would do so again.
 */
int event_loop_run(struct event_loop *loop) __attribute__((warn_unused_result));

/* Make event_loop_run return when the call under way is over.  Any thread. */
void event_loop_stop(struct event_loop *loop);

/*
 * Wait for a descriptor, EVENT_READ, EVENT_WRITE or both.  Owns: the caller keeps the descriptor
 * and removes the source before he closes it.
 * Returns 0, or -errno: -EPERM for what is always ready (a regular file), -EEXIST when the
 * descriptor has a source already, -ENOMEM, -ENOSPC (fs.epoll.max_user_watches).
 */
int event_loop_add_fd(struct event_loop *loop, int fd, unsigned events, event_fd_fn *call,
                      void *context, struct event_source **source)
    __attribute__((warn_unused_result));

/* A timer, not set yet.  Returns 0, or -errno: -EMFILE, -ENFILE, -ENOMEM, -ENOSPC. */
int event_loop_add_timer(struct event_loop *loop, event_timer_fn *call, void *context,
                         struct event_source **source) __attribute__((warn_unused_result));

/*
 * Set the timer to call after `first` ns, 0: never, and then every `interval` ns, 0: only once.
 * A time that has come but was not told is forgotten.  Any thread.
 */
void event_timer_set(struct event_source *timer, uint64_t first, uint64_t interval);

/* Something that other threads wake.  Returns 0, or -errno as for a timer. */
int event_loop_add_wake(struct event_loop *loop, event_wake_fn *call, void *context,
                        struct event_source **source) __attribute__((warn_unused_result));

/* Have the source's call made; several wake-ups may become one.  Any thread; in a signal handler too. */
void event_wake(struct event_source *source);

/*
 * Receive signals, which all threads of the process block.  Returns 0, or -errno as for a timer.
 */
int event_loop_add_signals(struct event_loop *loop, const sigset_t *signals, event_signal_fn *call,
                           void *context, struct event_source **source)
    __attribute__((warn_unused_result));

/* Take a source away; see above.  Locks: none that its call takes.  NULL is nothing. */
void event_source_remove(struct event_source *source);

#endif
