/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fuzzer of gdb's protocol: packets of a grammar, then damaged, cut and run together, are fed to
 * the reader and the session byte by byte.  Whatever comes:
 *
 *   - every answer is a row of whole packets, which the reader takes, none longer than it may be;
 *   - an answer is given exactly once per packet, but for what runs the machine, kills it, or is owed;
 *   - what was not damaged and reads memory gives what a model of the memory has;
 *   - the session's vCPUs are such as there are, and the target sees only these (its arrays are as
 *     long as there are vCPUs, which the address sanitizer knows).
 *
 * The seed is fixed; GDB_FUZZ_SEED and GDB_FUZZ_ROUNDS try others.
 */
#include "tests/unit/gdb_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

#define SEED 20240607u
#define ROUNDS 20000u
#define PACKET_ROOM 2048u

TestSuite(gdb_fuzz, .timeout = 120);

static struct gdb_rig rig;
static struct gdb_reader reader, answers;
static uint64_t state;

/* --- chance ------------------------------------------------------------------------- */

static uint32_t
chance(uint32_t limit)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(state >> 33) % limit;
}

static uint64_t
from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text == NULL ? otherwise : strtoull(text, NULL, 0);
}

/* A number of the kind that breaks things. */
static uint64_t
number(void)
{
    static const uint64_t borders[] = {
        0,          1,
        2,          3,
        RIG_BASE,   RIG_BASE + RIG_SIZE - 1,
        RIG_SIZE,   16,
        17,         63,
        64,         65,
        0x1FFE,     0x1FFF,
        0x2000,     0x3FFF,
        0x4000,     INT32_MAX,
        UINT32_MAX, INT64_MAX,
        UINT64_MAX, UINT64_MAX - 1,
    };

    if (chance(4) == 0)
        return (uint64_t)chance(UINT32_MAX) << chance(33);
    return borders[chance(sizeof(borders) / sizeof(borders[0]))];
}

/* --- the grammar ---------------------------------------------------------------------- */

/*
 * In a form, % and a letter stand for: n a number, t a thread, h bytes in digits, b bytes as they
 * are, k a point's kind, a an action of vCont, w any of the bytes.
 */
static const char *const forms[] = {
    "?",
    "g",
    "G%h",
    "p%n",
    "P%n=%h",
    "m%n,%n",
    "x%n,%n",
    "M%n,%n:%h",
    "X%n,%n:%b",
    "Z%k,%n,%n",
    "z%k,%n,%n",
    "Z%k,%n,%n;X1,0",
    "c",
    "c%n",
    "C05",
    "s",
    "S05;%n",
    "vCont?",
    "vCont;%a",
    "vCont;%a;%a",
    "vCont;%a:%t;%a:%t",
    "vKill;%n",
    "vMustReplyEmpty",
    "Hg%t",
    "Hc%t",
    "H%w%t",
    "T%t",
    "D",
    "D;%n",
    "k",
    "qSupported:swbreak+;hwbreak+;%w%w",
    "qSupported",
    "qC",
    "qAttached:%n",
    "qfThreadInfo",
    "qsThreadInfo",
    "qThreadExtraInfo,%t",
    "qXfer:features:read:target.xml:%n,%n",
    "qXfer:features:read:%w%w:%n,%n",
    "qXfer:features:read:",
    "qRcmd,%h",
    "qRcmd,",
    "QStartNoAckMode",
    "%b",
    "",
};
#define FORMS (sizeof(forms) / sizeof(forms[0]))

static size_t
put_digits(char *to)
{
    static const char digits[] = "0123456789abcdef";
    unsigned n = chance(8) == 0 ? chance(1100) : chance(20);

    for (unsigned i = 0; i < n; i++)
        to[i] = digits[chance(16)];
    return n;
}

static size_t
put_bytes(char *to)
{
    unsigned n = chance(40);

    for (unsigned i = 0; i < n; i++)
        to[i] = (char)chance(256);
    return n;
}

static size_t
put_part(char *to, char what)
{
    switch (what) {
    case 'n':
        return (size_t)sprintf(to, "%lx", (unsigned long)number());
    case 't':
        return (size_t)sprintf(to, chance(4) == 0 ? "-1" : "%x", chance(5));
    case 'h':
        return put_digits(to);
    case 'b':
        return put_bytes(to);
    case 'k':
        to[0] = (char)('0' + chance(6));
        return 1;
    case 'a':
        return (size_t)sprintf(to, "%s",
                               (const char *[]){ "c", "s", "t", "C05", "S05", "r" }[chance(6)]);
    default:
        to[0] = (char)chance(256);
        return 1;
    }
}

static size_t
make_packet(char *to)
{
    size_t n = 0;

    for (const char *p = forms[chance(FORMS)]; *p != '\0'; p++) {
        if (*p == '%')
            n += put_part(to + n, *++p);
        else
            to[n++] = *p;
    }
    return n;
}

/* Change, drop or double some bytes. */
static size_t
damage(char *bytes, size_t n)
{
    for (unsigned i = 1 + chance(3); i != 0 && n > 1; i--) {
        size_t at = chance((uint32_t)n);

        switch (chance(3)) {
        case 0:
            bytes[at] = (char)chance(256);
            break;
        case 1:
            memmove(bytes + at, bytes + at + 1, n - at - 1);
            n--;
            break;
        default:
            memmove(bytes + at + 1, bytes + at, n - at);
            n++;
            break;
        }
    }
    return n;
}

/* --- what must hold ------------------------------------------------------------------- */

/* The answers are whole packets; how many. */
static unsigned
count_answers(void)
{
    const struct gdb_output *out = &rig.session.out;
    unsigned n = 0;

    cr_assert(not(out->failed));
    for (size_t i = out->replies; i < out->size; i++) {
        enum gdb_input input = gdb_reader_take(&answers, (uint8_t)out->bytes[i]);

        cr_assert(input == GDB_INPUT_NONE || input == GDB_INPUT_PACKET);
        n += input == GDB_INPUT_PACKET;
    }
    cr_assert(eq(int, answers.state, GDB_READER_IDLE));
    return n;
}

/* A packet that reads memory, as it was taken, against the model. */
static void
check_memory(const char *packet)
{
    const char *text = packet + 1;
    uint64_t address, size;
    uint8_t bytes[GDB_PACKET_MAX];

    if (packet[0] != 'm' || answers.data[0] == 'E' || !gdb_hex_number(&text, &address) ||
        *text++ != ',' || !gdb_hex_number(&text, &size) || *text != '\0')
        return;
    cr_assert(le(sz, answers.size / 2, size));
    cr_assert(gdb_hex_decode(answers.data, answers.size, bytes, answers.size / 2));
    if (answers.size != 0)
        cr_assert(zero(int, memcmp(bytes, rig.memory + (address - RIG_BASE), answers.size / 2)));
}

static void
check_session(const char *packet, bool was_running)
{
    const struct gdb_session *session = &rig.session;
    unsigned n = count_answers();
    bool silent = (session->running && !was_running) || packet[0] == 'k';

    cr_assert(lt(uint, session->cpu, RIG_CPUS));
    cr_assert(lt(uint, session->resume_cpu, RIG_CPUS));
    cr_assert(le(uint, rig.npoints, RIG_POINTS));
    if (strncmp(packet, "qRcmd", 5) == 0)
        cr_assert(ge(uint, n, 1));
    else
        cr_assert_eq(n, silent ? 0 : 1, "%u answers to %.60s", n, packet);
    if (n == 1)
        check_memory(packet);
}

/* --- feeding ---------------------------------------------------------------------------- */

static void
execute(void)
{
    struct gdb_session *session = &rig.session;
    bool was_running = session->running;

    rig.stopped_before = chance(8) == 0;
    rig.cannot_step = chance(8) == 0;
    gdb_session_clear(session, '+');
    (void)gdb_session_needs(session, reader.data, reader.size);
    gdb_session_execute(session, reader.data, reader.size);
    check_session(reader.data, was_running);
    if (session->over)
        gdb_session_begin(session);
}

/* The machine stops now and then, for any reason. */
static void
stop_perhaps(void)
{
    if (!rig.session.running || chance(2) == 0)
        return;
    rig.stop = (struct gdb_stop){ (enum gdb_stop_cause)chance(6), chance(RIG_CPUS), number() };
    gdb_session_clear(&rig.session, '+');
    gdb_session_stopped(&rig.session);
    cr_assert(eq(uint, count_answers(), 1));
}

static void
feed(const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        reader.check = !rig.session.no_ack;
        if (gdb_reader_take(&reader, (uint8_t)bytes[i]) == GDB_INPUT_PACKET)
            execute();
    }
    stop_perhaps();
}

Test(gdb_fuzz, no_packet_breaks_the_session)
{
    static char packet[4 * PACKET_ROOM], frame[4 * PACKET_ROOM];
    uint64_t rounds = from_environment("GDB_FUZZ_ROUNDS", ROUNDS);
    size_t n;

    state = from_environment("GDB_FUZZ_SEED", SEED);
    memset(&rig, 0, sizeof(rig));
    cr_assert(zero(int, gdb_session_init(&rig.session, &rig_ops, &rig)));
    gdb_reader_init(&reader);
    gdb_reader_init(&answers);
    for (uint64_t i = 0; i < rounds; i++) {
        n = make_packet(packet);
        if (chance(3) == 0)
            n = damage(packet, n);
        n = gdb_packet_frame(packet, n, frame);
        if (chance(10) == 0)
            n = damage(frame, n);
        feed(frame, n);
    }
    gdb_session_fini(&rig.session);
}
