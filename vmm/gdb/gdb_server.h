/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The debugger's connection: a client of the event loop that never blocks it.
 *
 *      IDLE --accept--> ATTACHED --D, or the connection is lost--> LEAVING --> IDLE
 *
 * ATTACHED begins by stopping the machine.  A packet is executed when what it needs is so: all
 * vCPUs rest, nothing is left to be sent.  What may sleep is executed by a worker, one at a time;
 * the loop goes on meanwhile.  LEAVING takes away what the debugger set, which needs the same, and
 * lets the machine run.  A second debugger is told that there is one, and refused.
 *
 * Locks: everything happens in the loop's thread, but for the worker, who has the session while
 * `busy` is set, and wakes `done` with done_lock held.
 */
#ifndef GDB_SERVER_H
#define GDB_SERVER_H

#include "vmm/base/event_loop.h"
#include "vmm/base/workers.h"
#include "vmm/gdb/gdb_session.h"
#include "vmm/vpagetable/vm_lock.h"

#include <stdatomic.h>

/* What may come while a packet is executed; a debugger waits for its answer. */
#define GDB_SERVER_INPUT 4096u

enum gdb_server_state {
    GDB_SERVER_IDLE,
    GDB_SERVER_ATTACHED,
    GDB_SERVER_LEAVING
};

struct gdb_server {
    struct gdb_session session;
    int listen_fd;                 /* (c) borrowed */
    struct event_loop *loop;       /* (c) borrowed; NULL = not started */
    struct event_source *listener; /* owned */
    struct vm_mutex done_lock;     /* debugger: `done`, which may go while the worker works */
    struct event_source *done;     /* owned: woken by the worker */
    struct workers *workers;       /* owned */
    enum gdb_server_state state;
    int fd;                       /* owned: the debugger; -1 = none */
    struct event_source *source;  /* owned: of fd */
    bool wants_write;             /* ... waits for room too */
    bool lost;                    /* the connection is of no use any more */
    int refused_fd;               /* owned: the last one that was refused; -1 = none */
    struct event_source *refused; /* owned */
    bool busy;                    /* the worker has the session */
    _Atomic bool finished;        /* (a) ... and is done with it */
    bool has_packet;              /* reader.data is to be executed */
    struct gdb_reader reader;
    uint8_t input[GDB_SERVER_INPUT]; /* received and not looked at: [taken, received) */
    size_t taken, received;
    size_t sent; /* of session.out */
    void (*warn)(void *context, const char *message);
    void *warn_context; /* borrowed */
};

/*
 * The descriptor listens, and stays the caller's.  warn, which may be NULL, is told in one line what
 * a person should know.  Returns 0, or -ENOMEM and nothing is held.
 */
int gdb_server_init(struct gdb_server *server, int listen_fd, const struct gdb_target_ops *ops,
                    void *target, void (*warn)(void *context, const char *message),
                    void *warn_context) __attribute__((warn_unused_result));

/* Serve.  Returns 0, or -errno: gdb_server_finish then, too. */
int gdb_server_start(struct gdb_server *server, struct event_loop *loop)
    __attribute__((warn_unused_result));

/* By the loop: all vCPUs rest. */
void gdb_server_rested(struct gdb_server *server);

/*
 * The machine has ended, with that signal or exit status, and the loop does not run any more: tell
 * the debugger, for which there are 50 ms, and let go of it and the loop.  A worker whose read waits
 * for a page goes on without them: its debugger sees the connection close, and gdb_server_fini waits.
 */
void gdb_server_finish(struct gdb_server *server, bool signalled, unsigned status);

/* After gdb_server_finish, or instead of a start.  Sleeps until the worker is done. */
void gdb_server_fini(struct gdb_server *server);

#endif
