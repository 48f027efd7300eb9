/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packets by their first letter; gdb_query.c has q and Q.  An answer of no bytes says that a packet
 * is not known, which the debugger lives with.
 */
#include "vmm/gdb/gdb_session.h"

#include "vmm/x86_64/debug.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Memory that one answer or packet holds: two digits a byte. */
#define MEMORY_MAX ((GDB_PACKET_MAX - 1) / 2)

/* More vCPUs than any machine has (MACHINE_MAX_VCPUS). */
#define CPUS_MAX 64u

/* What gdb shows for a stop: its own numbers of signals, which for these are everybody's. */
#define SIGNAL_INTERRUPT 2
#define SIGNAL_TRAP 5

/* --- answers ------------------------------------------------------------------------ */

static bool
reserve(struct gdb_output *out, size_t more)
{
    size_t capacity = out->capacity != 0 ? out->capacity : 1024;
    char *bytes;

    while (capacity - out->size < more)
        capacity *= 2;
    if (capacity == out->capacity)
        return true;
    bytes = realloc(out->bytes, capacity);
    if (bytes == NULL) {
        out->failed = true;
        return false;
    }
    out->bytes = bytes;
    out->capacity = capacity;
    return true;
}

void
gdb_reply(struct gdb_session *session, const char *data, size_t size)
{
    struct gdb_output *out = &session->out;

    if (reserve(out, 2 * size + 4))
        out->size += gdb_packet_frame(data, size, out->bytes + out->size);
}

void
gdb_reply_text(struct gdb_session *session, const char *text)
{
    gdb_reply(session, text, strlen(text));
}

void
gdb_reply_error(struct gdb_session *session, int error, const char *why)
{
    char text[GDB_WHY_SIZE + 8];

    if (*why != '\0')
        snprintf(text, sizeof(text), "E.%s", why);
    else
        snprintf(text, sizeof(text), "E%02x", (unsigned)-error & 0xFF);
    gdb_reply_text(session, text);
}

static void
reply_result(struct gdb_session *session, int error, const char *why)
{
    if (error == 0)
        gdb_reply_text(session, "OK");
    else
        gdb_reply_error(session, error, why);
}

static void
reply_malformed(struct gdb_session *session)
{
    gdb_reply_error(session, -EINVAL, "malformed packet");
}

/* --- threads ------------------------------------------------------------------------ */

bool
gdb_thread(const struct gdb_session *session, const char **text, unsigned *cpu, bool *any)
{
    uint64_t thread;

    *cpu = session->cpu;
    *any = true;
    if (strncmp(*text, "-1", 2) == 0) {
        *text += 2;
        return true;
    }
    if (!gdb_hex_number(text, &thread) || thread > session->ops->ncpus(session->target))
        return false;
    if (thread != 0) {
        *cpu = (unsigned)thread - 1;
        *any = false;
    }
    return true;
}

static void
set_thread(struct gdb_session *session, const char *packet, size_t size)
{
    const char *text = packet + 2;
    unsigned cpu;
    bool any;

    if (size < 3 || (packet[1] != 'g' && packet[1] != 'c') ||
        !gdb_thread(session, &text, &cpu, &any) || *text != '\0') {
        gdb_reply_error(session, -EINVAL, "no such thread");
        return;
    }
    if (packet[1] == 'g') {
        session->cpu = cpu;
    } else {
        session->resume_cpu = cpu;
        session->resume_all = any;
    }
    gdb_reply_text(session, "OK");
}

static void
is_alive(struct gdb_session *session, const char *packet, size_t size)
{
    const char *text = packet + 1;
    unsigned cpu;
    bool any;

    (void)size;
    if (gdb_thread(session, &text, &cpu, &any) && *text == '\0')
        gdb_reply_text(session, "OK");
    else
        gdb_reply_error(session, -ESRCH, "no such thread");
}

/* --- registers ---------------------------------------------------------------------- */

static bool
load_registers(struct gdb_session *session, uint8_t *bytes)
{
    int error = session->ops->get_registers(session->target, session->cpu, bytes);

    if (error != 0)
        gdb_reply_error(session, error, "");
    return error == 0;
}

static void
store_registers(struct gdb_session *session, const uint8_t *bytes)
{
    reply_result(session, session->ops->set_registers(session->target, session->cpu, bytes),
                 "KVM does not take this value");
}

static void
read_registers(struct gdb_session *session, const char *packet, size_t size)
{
    uint8_t bytes[ARCH_DEBUG_REGISTERS_SIZE];
    char hex[2 * ARCH_DEBUG_REGISTERS_SIZE];
    size_t n = arch_debug_registers_size();

    (void)packet;
    (void)size;
    if (!load_registers(session, bytes))
        return;
    gdb_hex_encode(bytes, n, hex);
    gdb_reply(session, hex, 2 * n);
}

static void
write_registers(struct gdb_session *session, const char *packet, size_t size)
{
    uint8_t bytes[ARCH_DEBUG_REGISTERS_SIZE];

    if (gdb_hex_decode(packet + 1, size - 1, bytes, arch_debug_registers_size()))
        store_registers(session, bytes);
    else
        reply_malformed(session);
}

static void
read_register(struct gdb_session *session, const char *packet, size_t size)
{
    const char *text = packet + 1;
    const struct arch_debug_register *reg;
    uint8_t bytes[ARCH_DEBUG_REGISTERS_SIZE];
    char hex[64];
    uint64_t number;
    size_t offset;

    (void)size;
    if (!gdb_hex_number(&text, &number) || *text != '\0') {
        reply_malformed(session);
        return;
    }
    reg = number > UINT32_MAX ? NULL : arch_debug_register((unsigned)number, &offset);
    if (reg == NULL) {
        gdb_reply_error(session, -EINVAL, "no such register");
        return;
    }
    if (!load_registers(session, bytes))
        return;
    gdb_hex_encode(bytes + offset, reg->bits / 8, hex);
    gdb_reply(session, hex, reg->bits / 4);
}

static void
write_register(struct gdb_session *session, const char *packet, size_t size)
{
    const char *text = packet + 1;
    const struct arch_debug_register *reg = NULL;
    uint8_t bytes[ARCH_DEBUG_REGISTERS_SIZE], value[16];
    uint64_t number;
    size_t offset;

    if (gdb_hex_number(&text, &number) && number <= UINT32_MAX && *text++ == '=')
        reg = arch_debug_register((unsigned)number, &offset);
    if (reg == NULL ||
        !gdb_hex_decode(text, size - (size_t)(text - packet), value, reg->bits / 8)) {
        reply_malformed(session);
        return;
    }
    if (!load_registers(session, bytes))
        return;
    memcpy(bytes + offset, value, reg->bits / 8);
    store_registers(session, bytes);
}

/* --- memory ------------------------------------------------------------------------- */

/* "ADDRESS,SIZE" at **text. */
static bool
parse_range(const char **text, uint64_t *address, uint64_t *size)
{
    if (!gdb_hex_number(text, address) || **text != ',')
        return false;
    (*text)++;
    return gdb_hex_number(text, size);
}

/* m: as digits; x: as they are, behind a b. */
static void
read_memory(struct gdb_session *session, const char *packet, size_t packet_size)
{
    uint8_t bytes[MEMORY_MAX];
    char reply[2 * MEMORY_MAX];
    const char *text = packet + 1;
    uint64_t address, size;
    size_t n;

    (void)packet_size;
    if (!parse_range(&text, &address, &size) || *text != '\0') {
        reply_malformed(session);
        return;
    }
    n = size == 0 ? 0
                  : session->ops->read(session->target, session->cpu, address, bytes,
                                       size < MEMORY_MAX ? size : MEMORY_MAX);
    if (n == 0 && size != 0) {
        gdb_reply_error(session, -EFAULT, "");
    } else if (packet[0] == 'm') {
        gdb_hex_encode(bytes, n, reply);
        gdb_reply(session, reply, 2 * n);
    } else {
        reply[0] = 'b';
        memcpy(reply + 1, bytes, n);
        gdb_reply(session, reply, n + 1);
    }
}

/* M: digits; X: bytes. */
static void
write_memory(struct gdb_session *session, const char *packet, size_t packet_size)
{
    uint8_t bytes[GDB_PACKET_MAX];
    char why[GDB_WHY_SIZE] = "";
    const char *text = packet + 1;
    uint64_t address, size;
    size_t left;
    bool whole;

    if (!parse_range(&text, &address, &size) || *text++ != ':') {
        reply_malformed(session);
        return;
    }
    left = packet_size - (size_t)(text - packet);
    if (packet[0] == 'M') {
        whole = size <= left / 2 && left % 2 == 0 && left / 2 == size &&
                gdb_hex_decode(text, left, bytes, size);
    } else {
        whole = size == left;
        memcpy(bytes, text, left);
    }
    if (!whole) {
        reply_malformed(session);
        return;
    }
    reply_result(session,
                 size == 0 ? 0
                           : session->ops->write(session->target, session->cpu, address, bytes,
                                                 size, why),
                 why);
}

/* --- points ------------------------------------------------------------------------- */

/*
 * Z, z: "KIND,ADDRESS,SIZE", perhaps with conditions behind it, which nobody offered.  Watching reads alone is
 * "not known", as the processor cannot: gdb then asks to watch accesses, and passes over the writes itself.
 */
static void
change_point(struct gdb_session *session, const char *packet, size_t packet_size)
{
    char why[GDB_WHY_SIZE] = "";
    const char *text = packet + 3;
    uint64_t address, size;
    enum gdb_point kind;
    int error;

    if (packet_size < 4 || packet[1] < '0' || packet[1] > '4' || packet[2] != ',' ||
        packet[1] - '0' == GDB_POINT_READ || !parse_range(&text, &address, &size)) {
        gdb_reply_text(session, "");
        return;
    }
    kind = (enum gdb_point)(packet[1] - '0');
    if (packet[0] == 'Z')
        error = session->ops->insert(session->target, session->cpu, kind, address, size, why);
    else
        error = session->ops->remove(session->target, session->cpu, kind, address, size, why);
    reply_result(session, error, why);
}

/* --- running and stopping ----------------------------------------------------------- */

static void
reply_stop(struct gdb_session *session)
{
    const struct gdb_stop *stop = &session->stop;
    char text[96], more[48] = "";

    if (stop->cause == GDB_STOP_SOFTWARE && session->tells_software)
        snprintf(more, sizeof(more), "swbreak:;");
    else if (stop->cause == GDB_STOP_HARDWARE && session->tells_hardware)
        snprintf(more, sizeof(more), "hwbreak:;");
    else if (stop->cause == GDB_STOP_WRITE || stop->cause == GDB_STOP_ACCESS)
        snprintf(more, sizeof(more), "%swatch:%" PRIx64 ";",
                 stop->cause == GDB_STOP_ACCESS ? "a" : "", stop->address);
    snprintf(text, sizeof(text), "T%02xthread:%x;%s",
             stop->cause == GDB_STOP_INTERRUPT ? SIGNAL_INTERRUPT : SIGNAL_TRAP, stop->cpu + 1,
             more);
    gdb_reply_text(session, text);
}

void
gdb_session_stopped(struct gdb_session *session)
{
    session->ops->take_stop(session->target, &session->stop);
    session->running = false;
    session->cpu = session->stop.cpu;
    reply_stop(session);
}

static void
resume(struct gdb_session *session, const enum gdb_action *actions)
{
    char why[GDB_WHY_SIZE] = "";
    int error = session->ops->resume(session->target, actions, why);

    if (error == -EALREADY) {
        gdb_session_stopped(session);
    } else if (error != 0) {
        gdb_reply_error(session, error, why);
    } else {
        session->running = true;
    }
}

/* c, s, C and S without an address: for the thread of Hc, or all. */
static void
resume_old(struct gdb_session *session, const char *packet, size_t size)
{
    enum gdb_action actions[CPUS_MAX] = { GDB_HOLD };
    char letter = packet[0];
    bool signal = letter == 'C' || letter == 'S';
    unsigned ncpus = session->ops->ncpus(session->target);
    bool step = letter == 's' || letter == 'S';

    if (size != (signal ? 3u : 1u)) {
        gdb_reply_error(session, -EINVAL, "set $pc instead of continuing at an address");
        return;
    }
    for (unsigned i = 0; i < ncpus; i++)
        actions[i] = step                                              ? GDB_HOLD
                     : session->resume_all || i == session->resume_cpu ? GDB_CONTINUE
                                                                       : GDB_HOLD;
    if (step)
        actions[session->resume_all ? session->cpu : session->resume_cpu] = GDB_STEP;
    resume(session, actions);
}

/* One action of vCont at **text: "c", "C05", "s", "S05", "t", and a thread behind a colon. */
static bool
parse_action(const struct gdb_session *session, const char **text, enum gdb_action *action,
             unsigned *cpu, bool *any)
{
    uint8_t signal;
    char letter = *(*text)++;

    if (letter == 'c' || letter == 'C')
        *action = GDB_CONTINUE;
    else if (letter == 's' || letter == 'S')
        *action = GDB_STEP;
    else if (letter == 't')
        *action = GDB_HOLD;
    else
        return false;
    if (letter == 'C' || letter == 'S') { /* a vCPU takes no signals */
        if (!gdb_hex_decode(*text, strnlen(*text, 2), &signal, 1))
            return false;
        *text += 2;
    }
    *any = true;
    if (**text != ':')
        return true;
    (*text)++;
    return gdb_thread(session, text, cpu, any);
}

/* The leftmost action that names a vCPU is its; one that no action names stays. */
static void
resume_threads(struct gdb_session *session, const char *text)
{
    enum gdb_action actions[CPUS_MAX] = { GDB_HOLD };
    bool named[CPUS_MAX] = { false };
    unsigned ncpus = session->ops->ncpus(session->target);
    enum gdb_action action;
    bool any, moves = false;
    unsigned cpu = 0;

    while (*text == ';') {
        text++;
        if (!parse_action(session, &text, &action, &cpu, &any)) {
            reply_malformed(session);
            return;
        }
        for (unsigned i = any ? 0 : cpu; i < (any ? ncpus : cpu + 1); i++) {
            if (!named[i])
                actions[i] = action;
            named[i] = true;
            moves |= actions[i] != GDB_HOLD;
        }
    }
    if (*text != '\0' || !moves)
        reply_malformed(session);
    else
        resume(session, actions);
}

static void
take_v(struct gdb_session *session, const char *packet, size_t size)
{
    (void)size;
    if (strcmp(packet, "vCont?") == 0)
        gdb_reply_text(session, "vCont;c;C;s;S;t");
    else if (strncmp(packet, "vCont", 5) == 0)
        resume_threads(session, packet + 5);
    else
        gdb_reply_text(session, "");
}

static void
tell_stop(struct gdb_session *session, const char *packet, size_t size)
{
    (void)packet;
    (void)size;
    reply_stop(session);
}

/* --- the end ------------------------------------------------------------------------ */

static void
detach(struct gdb_session *session, const char *packet, size_t size)
{
    (void)packet;
    (void)size;
    session->ops->remove_all(session->target);
    session->ops->release(session->target);
    session->running = false;
    session->over = true;
    gdb_reply_text(session, "OK");
}

static void
kill_target(struct gdb_session *session, const char *packet, size_t size)
{
    (void)packet;
    (void)size;
    session->ops->kill(session->target);
}

void
gdb_session_ended(struct gdb_session *session, bool signalled, unsigned status)
{
    char text[8];

    if (!session->running)
        return; /* nothing but an answer may be sent now: the connection's end must do */
    session->running = false;
    snprintf(text, sizeof(text), "%c%02x", signalled ? 'X' : 'W', status & 0xFF);
    gdb_reply_text(session, text);
}

/* --- packets ------------------------------------------------------------------------ */

static const struct command {
    char letter;
    unsigned needs;
    void (*execute)(struct gdb_session *session, const char *packet, size_t size);
} commands[] = {
    { '?', GDB_NEEDS_REST, tell_stop },
    { 'g', GDB_NEEDS_REST, read_registers },
    { 'G', GDB_NEEDS_REST, write_registers },
    { 'p', GDB_NEEDS_REST, read_register },
    { 'P', GDB_NEEDS_REST, write_register },
    { 'm', GDB_NEEDS_REST | GDB_NEEDS_SLEEP, read_memory },
    { 'x', GDB_NEEDS_REST | GDB_NEEDS_SLEEP, read_memory },
    { 'M', GDB_NEEDS_REST | GDB_NEEDS_SLEEP, write_memory },
    { 'X', GDB_NEEDS_REST | GDB_NEEDS_SLEEP, write_memory },
    { 'Z', GDB_NEEDS_REST | GDB_NEEDS_SLEEP, change_point },
    { 'z', GDB_NEEDS_REST | GDB_NEEDS_SLEEP, change_point },
    { 'c', GDB_NEEDS_REST, resume_old },
    { 'C', GDB_NEEDS_REST, resume_old },
    { 's', GDB_NEEDS_REST, resume_old },
    { 'S', GDB_NEEDS_REST, resume_old },
    { 'v', 0, take_v },
    { 'H', 0, set_thread },
    { 'T', 0, is_alive },
    { 'D', GDB_NEEDS_REST | GDB_NEEDS_SLEEP, detach },
    { 'k', 0, kill_target },
    { 'q', 0, gdb_query },
    { 'Q', 0, gdb_query },
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct command *
find_command(const char *packet, size_t size)
{
    for (size_t i = 0; i < COMMANDS && size != 0; i++) {
        if (commands[i].letter == packet[0])
            return &commands[i];
    }
    return NULL;
}

/* Those that what follows the letter decides about. */
static unsigned
needs_of(const struct command *command, const char *packet)
{
    if (strncmp(packet, "vCont;", 6) == 0 || strncmp(packet, "qThreadExtraInfo", 16) == 0)
        return GDB_NEEDS_REST;
    if (strncmp(packet, "qRcmd", 5) == 0)
        return GDB_NEEDS_SLEEP;
    return command->needs;
}

unsigned
gdb_session_needs(const struct gdb_session *session, const char *packet, size_t size)
{
    const struct command *command = find_command(packet, size);

    if (command == NULL || (session->running && (needs_of(command, packet) & GDB_NEEDS_REST) != 0))
        return 0; /* it is refused */
    return needs_of(command, packet);
}

void
gdb_session_execute(struct gdb_session *session, const char *packet, size_t size)
{
    const struct command *command = find_command(packet, size);

    if (command == NULL)
        gdb_reply_text(session, "");
    else if (session->running && (needs_of(command, packet) & GDB_NEEDS_REST) != 0)
        gdb_reply_error(session, -EBUSY, "the machine runs: interrupt it first");
    else
        command->execute(session, packet, size);
}

void
gdb_session_clear(struct gdb_session *session, char acknowledgment)
{
    struct gdb_output *out = &session->out;

    out->size = 0;
    if (!session->no_ack && reserve(out, 1))
        out->bytes[out->size++] = acknowledgment;
    out->replies = out->size;
}

void
gdb_session_begin(struct gdb_session *session)
{
    session->cpu = 0;
    session->resume_cpu = 0;
    session->resume_all = true;
    session->running = false;
    session->no_ack = false;
    session->tells_software = false;
    session->tells_hardware = false;
    session->over = false;
    session->stop = (struct gdb_stop){ .cause = GDB_STOP_INTERRUPT };
    session->out.size = 0;
    session->out.replies = 0;
    session->out.failed = false;
}

int
gdb_session_init(struct gdb_session *session, const struct gdb_target_ops *ops, void *target)
{
    *session = (struct gdb_session){ .ops = ops, .target = target };
    session->description = gdb_query_description(&session->description_size);
    if (session->description == NULL)
        return -ENOMEM;
    gdb_session_begin(session);
    return 0;
}

void
gdb_session_fini(struct gdb_session *session)
{
    free(session->description);
    free(session->out.bytes);
}
