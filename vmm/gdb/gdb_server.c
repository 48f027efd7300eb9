/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each call of the loop changes something and then settles: what became possible is done, and a
 * lost connection is left.
 */
#include "vmm/gdb/gdb_server.h"

#include "vmm/base/clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* One works; another may not have come back from the job before. */
#define WORKERS 2u

/* The most that is kept for a debugger who does not read. */
#define UNSENT_MAX (1u << 20)

/* How long the last words may take. */
#define FINISH_NS UINT64_C(50000000)

static void on_connection(void *context, unsigned events);

/* --- sending ------------------------------------------------------------------------ */

static bool
all_sent(const struct gdb_server *server)
{
    return server->sent == server->session.out.size;
}

/* Wait for room in the connection, or not any more. */
static void
watch(struct gdb_server *server, bool write)
{
    if (server->source != NULL && server->wants_write == write)
        return;
    event_source_remove(server->source);
    server->source = NULL;
    server->wants_write = write;
    if (event_loop_add_fd(server->loop, server->fd, EVENT_READ | (write ? EVENT_WRITE : 0),
                          on_connection, server, &server->source) != 0)
        server->lost = true;
}

static void
flush(struct gdb_server *server)
{
    const struct gdb_output *out = &server->session.out;

    if (out->failed || out->size - server->sent > UNSENT_MAX)
        server->lost = true;
    while (!server->lost && !all_sent(server)) {
        ssize_t n = send(server->fd, out->bytes + server->sent, out->size - server->sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n > 0)
            server->sent += (size_t)n;
        else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        else if (n == 0 || errno != EINTR)
            server->lost = true;
    }
    if (!server->lost)
        watch(server, !all_sent(server));
}

/* Begin to answer: what was sent is forgotten. */
static void
begin_output(struct gdb_server *server, char acknowledgment)
{
    if (acknowledgment != '\0') {
        gdb_session_clear(&server->session, acknowledgment);
    } else {
        server->session.out.size = 0;
        server->session.out.replies = 0;
    }
    server->sent = 0;
}

/* --- receiving ---------------------------------------------------------------------- */

static void
receive(struct gdb_server *server)
{
    ssize_t n;

    memmove(server->input, server->input + server->taken, server->received - server->taken);
    server->received -= server->taken;
    server->taken = 0;
    if (server->received == sizeof(server->input)) { /* no debugger sends on without an answer */
        server->lost = true;
        return;
    }
    n = recv(server->fd, server->input + server->received, sizeof(server->input) - server->received,
             MSG_DONTWAIT);
    if (n > 0)
        server->received += (size_t)n;
    else if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
        server->lost = true;
}

static void
take_interrupt(struct gdb_server *server)
{
    if (server->session.running)
        server->session.ops->interrupt(server->session.target);
}

/* A packet came wrong. */
static void
ask_again(struct gdb_server *server)
{
    begin_output(server, '-');
    flush(server);
}

static void
take_packet(struct gdb_server *server)
{
    server->has_packet = true;
    begin_output(server, '+');
    flush(server);
}

/* Look at what was received, up to a packet. */
static void
take_input(struct gdb_server *server)
{
    while (!server->lost && !server->has_packet && server->taken < server->received) {
        server->reader.check = !server->session.no_ack;
        switch (gdb_reader_take(&server->reader, server->input[server->taken++])) {
        case GDB_INPUT_PACKET:
            take_packet(server);
            break;
        case GDB_INPUT_INTERRUPT:
            take_interrupt(server);
            break;
        case GDB_INPUT_BAD:
            ask_again(server);
            break;
        case GDB_INPUT_NAK: /* what was sent last is still there */
            server->sent = server->session.out.replies;
            flush(server);
            break;
        case GDB_INPUT_NONE:
            break;
        }
    }
}

/* --- executing ---------------------------------------------------------------------- */

static void
work(void *argument)
{
    struct gdb_server *server = argument;

    if (server->state == GDB_SERVER_LEAVING)
        server->session.ops->remove_all(server->session.target);
    else
        gdb_session_execute(&server->session, server->reader.data, server->reader.size);
    atomic_store(&server->finished, true);
    vm_mutex_lock(&server->done_lock);
    if (server->done != NULL) /* else the machine has ended */
        event_wake(server->done);
    vm_mutex_unlock(&server->done_lock);
}

/* Returns 0; -EAGAIN: try again, `done` will be called; another -errno: there is no worker. */
static int
begin_work(struct gdb_server *server)
{
    int error = workers_begin(server->workers, work, server);

    if (error == -EBUSY) {
        event_wake(server->done);
        return -EAGAIN;
    }
    server->busy = error == 0;
    return error == -EAGAIN ? -ENOMEM : error;
}

static void
executed(struct gdb_server *server)
{
    server->has_packet = false;
    flush(server);
    if (server->session.over)
        server->lost = true;
}

/* Returns whether the packet was executed here and now. */
static bool
execute(struct gdb_server *server)
{
    struct gdb_session *session = &server->session;
    const struct gdb_reader *reader = &server->reader;
    unsigned needs = gdb_session_needs(session, reader->data, reader->size);
    int error;

    if ((needs & GDB_NEEDS_REST) != 0 && !session->ops->all_rest(session->target))
        return false;
    if ((needs & GDB_NEEDS_SLEEP) == 0) {
        gdb_session_execute(session, reader->data, reader->size);
    } else {
        error = begin_work(server);
        if (error == 0 || error == -EAGAIN)
            return false;
        gdb_reply_error(session, error, "no thread could be made for this: see ulimit -u");
    }
    executed(server);
    return true;
}

static void
serve(struct gdb_server *server)
{
    while (!server->busy && !server->lost && all_sent(server)) {
        take_input(server);
        if (!server->has_packet || !all_sent(server) || !execute(server))
            break;
    }
}

/* --- leaving ------------------------------------------------------------------------ */

static void
close_connection(struct gdb_server *server)
{
    event_source_remove(server->source);
    server->source = NULL;
    close(server->fd);
    server->fd = -1;
    server->lost = false;
}

static void
released(struct gdb_server *server)
{
    server->session.ops->release(server->session.target);
    server->state = GDB_SERVER_IDLE;
}

/* Take away what the debugger set, as soon as that is possible. */
static void
leave(struct gdb_server *server)
{
    struct gdb_session *session = &server->session;
    int error;

    if (server->busy || !session->ops->all_rest(session->target))
        return;
    error = begin_work(server);
    if (error == 0 || error == -EAGAIN)
        return;
    session->ops->remove_all(session->target);
    released(server);
}

/* The connection is of no use: forget it, but not before the worker let go of the session. */
static void
lose(struct gdb_server *server)
{
    if (server->busy)
        return;
    close_connection(server);
    if (server->session.over) {
        server->state = GDB_SERVER_IDLE;
        return;
    }
    server->state = GDB_SERVER_LEAVING;
    server->session.running = false;
    server->session.ops->interrupt(server->session.target);
}

/* A stop reply is owed, and all vCPUs rest. */
static void
tell_stop(struct gdb_server *server)
{
    struct gdb_session *session = &server->session;

    if (server->busy || !session->running || !session->ops->all_rest(session->target))
        return;
    if (all_sent(server))
        begin_output(server, '\0');
    gdb_session_stopped(session);
    flush(server);
}

static void
settle(struct gdb_server *server)
{
    if (server->state == GDB_SERVER_ATTACHED) {
        tell_stop(server);
        serve(server);
    }
    if (server->state == GDB_SERVER_ATTACHED && server->lost)
        lose(server);
    if (server->state == GDB_SERVER_LEAVING)
        leave(server);
}

/* --- the loop's calls ----------------------------------------------------------------- */

static void
on_connection(void *context, unsigned events)
{
    struct gdb_server *server = context;

    if ((events & EVENT_FAILED) != 0)
        server->lost = true;
    if ((events & EVENT_READ) != 0)
        receive(server);
    if ((events & EVENT_WRITE) != 0 && !server->busy)
        flush(server);
    if (server->lost) { /* told again and again otherwise, while the worker is busy */
        event_source_remove(server->source);
        server->source = NULL;
    }
    settle(server);
}

static void
on_done(void *context)
{
    struct gdb_server *server = context;

    if (server->busy && atomic_exchange(&server->finished, false)) {
        server->busy = false;
        if (server->state == GDB_SERVER_LEAVING)
            released(server);
        else if (!server->lost)
            executed(server);
    }
    settle(server);
}

void
gdb_server_rested(struct gdb_server *server)
{
    settle(server);
}

/* --- accepting ---------------------------------------------------------------------- */

static void
drop_refused(struct gdb_server *server)
{
    event_source_remove(server->refused);
    server->refused = NULL;
    if (server->refused_fd >= 0)
        close(server->refused_fd);
    server->refused_fd = -1;
}

/* It is closed when the other side has: a reset could overtake what it is told. */
static void
on_refused(void *context, unsigned events)
{
    struct gdb_server *server = context;
    char bytes[512];
    ssize_t n = recv(server->refused_fd, bytes, sizeof(bytes), MSG_DONTWAIT);

    (void)events;
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        drop_refused(server);
}

static void
refuse(struct gdb_server *server, int fd)
{
    static const char why[] = "E.vkvm: another debugger is attached";
    char text[2 * sizeof(why) + 8] = "+";
    size_t n = 1 + gdb_packet_frame(why, sizeof(why) - 1, text + 1);

    drop_refused(server);
    (void)!send(fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)shutdown(fd, SHUT_WR);
    server->refused_fd = fd;
    if (event_loop_add_fd(server->loop, fd, EVENT_READ, on_refused, server, &server->refused) != 0)
        drop_refused(server);
}

static void
attach(struct gdb_server *server, int fd)
{
    const int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* a Unix socket has none */
    gdb_session_begin(&server->session);
    gdb_reader_init(&server->reader);
    server->fd = fd;
    server->has_packet = false;
    server->taken = server->received = 0;
    server->sent = 0;
    server->lost = false;
    server->state = GDB_SERVER_ATTACHED;
    server->session.ops->interrupt(server->session.target);
    watch(server, false);
    settle(server);
}

/* What cannot be accepted now would be told again at once, for ever. */
static void
stop_listening(struct gdb_server *server, int error)
{
    char line[160];

    snprintf(line, sizeof(line), "no debugger can attach any more: %s", strerror(error));
    if (server->warn != NULL)
        server->warn(server->warn_context, line);
    event_source_remove(server->listener);
    server->listener = NULL;
}

static void
on_listener(void *context, unsigned events)
{
    struct gdb_server *server = context;
    int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)events;
    if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
        return;
    if (fd < 0)
        stop_listening(server, errno);
    else if (server->state != GDB_SERVER_IDLE)
        refuse(server, fd);
    else
        attach(server, fd);
}

/* --- life --------------------------------------------------------------------------- */

int
gdb_server_init(struct gdb_server *server, int listen_fd, const struct gdb_target_ops *ops,
                void *target, void (*warn)(void *context, const char *message), void *warn_context)
{
    int error;

    memset(server, 0, sizeof(*server));
    server->listen_fd = listen_fd;
    server->fd = -1;
    server->refused_fd = -1;
    server->warn = warn;
    server->warn_context = warn_context;
    error = gdb_session_init(&server->session, ops, target);
    if (error == 0)
        error = workers_create(WORKERS, &server->workers);
    if (error != 0)
        gdb_session_fini(&server->session);
    else
        vm_mutex_init(&server->done_lock);
    return error;
}

int
gdb_server_start(struct gdb_server *server, struct event_loop *loop)
{
    int error;

    server->loop = loop;
    error = event_loop_add_wake(loop, on_done, server, &server->done);
    if (error == 0)
        error = event_loop_add_fd(loop, server->listen_fd, EVENT_READ, on_listener, server,
                                  &server->listener);
    return error;
}

/* The last words, while the other side takes them. */
static void
send_rest(struct gdb_server *server)
{
    struct pollfd room = { .fd = server->fd, .events = POLLOUT };
    uint64_t end = clock_now_ns() + FINISH_NS, now;

    flush(server);
    while (!server->lost && !all_sent(server) && (now = clock_now_ns()) < end) {
        (void)poll(&room, 1, (int)((end - now) / 1000000) + 1);
        flush(server);
    }
}

/* The worker finds no loop to wake any more. */
static void
remove_done(struct gdb_server *server)
{
    struct event_source *done;

    vm_mutex_lock(&server->done_lock);
    done = server->done;
    server->done = NULL;
    vm_mutex_unlock(&server->done_lock);
    event_source_remove(done);
}

static void
say_goodbye(struct gdb_server *server, bool signalled, unsigned status)
{
    if (!server->lost && all_sent(server))
        begin_output(server, '\0');
    gdb_session_ended(&server->session, signalled, status);
    if (!server->lost)
        send_rest(server);
}

void
gdb_server_finish(struct gdb_server *server, bool signalled, unsigned status)
{
    workers_stop(server->workers);
    remove_done(server);
    if (server->state == GDB_SERVER_ATTACHED) {
        if (!server->busy) /* else the session is the worker's, and its answer comes too late */
            say_goodbye(server, signalled, status);
        close_connection(server);
    }
    drop_refused(server);
    event_source_remove(server->listener);
    server->listener = NULL;
}

void
gdb_server_fini(struct gdb_server *server)
{
    workers_destroy(server->workers);
    vm_mutex_fini(&server->done_lock);
    gdb_session_fini(&server->session);
}
