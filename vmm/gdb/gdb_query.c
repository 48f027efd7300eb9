/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * q and Q packets: what both sides can do, the registers' description, threads, `monitor`.
 */
#include "vmm/gdb/gdb_session.h"

#include "vmm/x86_64/debug.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of text in one packet of output. */
#define CONSOLE_MAX ((GDB_PACKET_MAX - 1) / 2)

/* Is `word` one of the words between semicolons? */
static bool
has_feature(const char *list, const char *word)
{
    size_t size = strlen(word);

    for (const char *p = list; (p = strstr(p, word)) != NULL; p++) {
        if ((p[-1] == ';' || p[-1] == ':') && (p[size] == ';' || p[size] == '\0'))
            return true;
    }
    return false;
}

static void
supported(struct gdb_session *session, const char *packet, size_t size)
{
    char text[160];

    (void)size;
    session->tells_software = has_feature(packet, "swbreak+");
    session->tells_hardware = has_feature(packet, "hwbreak+");
    snprintf(text, sizeof(text),
             "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;vContSupported+;swbreak+;"
             "hwbreak+",
             GDB_PACKET_MAX);
    gdb_reply_text(session, text);
}

/* This packet and its answer are still acknowledged. */
static void
start_no_ack(struct gdb_session *session, const char *packet, size_t size)
{
    (void)packet;
    (void)size;
    gdb_reply_text(session, "OK");
    session->no_ack = true;
}

/* qXfer:features:read:NAME:OFFSET,SIZE */
static void
read_features(struct gdb_session *session, const char *packet, size_t packet_size)
{
    static const char name[] = "target.xml:";
    const char *text = strrchr(packet, ':') + 1;
    char reply[GDB_PACKET_MAX];
    uint64_t offset, size;
    size_t left;

    (void)packet_size;
    if (strncmp(packet + sizeof("qXfer:features:read:") - 1, name, sizeof(name) - 1) != 0 ||
        !gdb_hex_number(&text, &offset) || *text++ != ',' || !gdb_hex_number(&text, &size) ||
        *text != '\0') {
        gdb_reply_error(session, -EINVAL, "the only description is target.xml");
        return;
    }
    left = offset < session->description_size ? session->description_size - offset : 0;
    if (size > sizeof(reply) - 1)
        size = sizeof(reply) - 1;
    reply[0] = left > size ? 'm' : 'l';
    if (left > size)
        left = size;
    memcpy(reply + 1, session->description + (left != 0 ? offset : 0), left);
    gdb_reply(session, reply, left + 1);
}

static void
first_threads(struct gdb_session *session, const char *packet, size_t size)
{
    unsigned ncpus = session->ops->ncpus(session->target);
    char text[512];
    size_t n = 0;

    (void)packet;
    (void)size;
    for (unsigned i = 0; i < ncpus; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%c%x", i == 0 ? 'm' : ',', i + 1);
    gdb_reply(session, text, n);
}

static void
more_threads(struct gdb_session *session, const char *packet, size_t size)
{
    (void)packet;
    (void)size;
    gdb_reply_text(session, "l");
}

static void
current_thread(struct gdb_session *session, const char *packet, size_t size)
{
    char text[16];

    (void)packet;
    (void)size;
    snprintf(text, sizeof(text), "QC%x", session->cpu + 1);
    gdb_reply_text(session, text);
}

static void
describe_thread(struct gdb_session *session, const char *packet, size_t size)
{
    const char *text = packet + sizeof("qThreadExtraInfo,") - 1;
    char line[256], hex[2 * sizeof(line)];
    unsigned cpu;
    bool any;

    (void)size;
    if (!gdb_thread(session, &text, &cpu, &any) || *text != '\0') {
        gdb_reply_error(session, -ESRCH, "no such thread");
        return;
    }
    session->ops->describe(session->target, cpu, line, sizeof(line));
    gdb_hex_encode(line, strlen(line), hex);
    gdb_reply(session, hex, 2 * strlen(line));
}

/* Nobody's process ends when the debugger does: it was there before. */
static void
attached(struct gdb_session *session, const char *packet, size_t size)
{
    (void)packet;
    (void)size;
    gdb_reply_text(session, "1");
}

static void
reply_console(struct gdb_session *session, const char *text, size_t size)
{
    char packet[1 + 2 * CONSOLE_MAX];

    packet[0] = 'O';
    while (size != 0) {
        size_t n = size < CONSOLE_MAX ? size : CONSOLE_MAX;

        gdb_hex_encode(text, n, packet + 1);
        gdb_reply(session, packet, 1 + 2 * n);
        text += n;
        size -= n;
    }
}

/* qRcmd,COMMAND in digits */
static void
monitor(struct gdb_session *session, const char *packet, size_t packet_size)
{
    const char *hex = packet + sizeof("qRcmd,") - 1;
    size_t digits = packet_size - (sizeof("qRcmd,") - 1), size;
    char command[256], *text;
    FILE *to;

    if (digits / 2 >= sizeof(command) || digits % 2 != 0 ||
        !gdb_hex_decode(hex, digits, command, digits / 2)) {
        gdb_reply_error(session, -EINVAL, "malformed command");
        return;
    }
    command[digits / 2] = '\0';
    to = open_memstream(&text, &size);
    if (to == NULL) {
        gdb_reply_error(session, -ENOMEM, "no memory");
        return;
    }
    session->ops->monitor(session->target, session->cpu, command, to);
    if (fclose(to) == 0)
        reply_console(session, text, size);
    free(text);
    gdb_reply_text(session, "OK");
}

static const struct query {
    const char *name;
    bool whole; /* nothing may follow the name */
    void (*answer)(struct gdb_session *session, const char *packet, size_t size);
} queries[] = {
    { "qSupported", false, supported },
    { "QStartNoAckMode", true, start_no_ack },
    { "qXfer:features:read:", false, read_features },
    { "qfThreadInfo", true, first_threads },
    { "qsThreadInfo", true, more_threads },
    { "qThreadExtraInfo,", false, describe_thread },
    { "qAttached", false, attached },
    { "qRcmd,", false, monitor },
    { "qC", true, current_thread },
};

void
gdb_query(struct gdb_session *session, const char *packet, size_t size)
{
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
        size_t n = strlen(queries[i].name);

        if (strncmp(packet, queries[i].name, n) == 0 && (!queries[i].whole || size == n)) {
            queries[i].answer(session, packet, size);
            return;
        }
    }
    gdb_reply_text(session, "");
}

/* --- the description ----------------------------------------------------------------- */

static void
describe_registers(FILE *to)
{
    const struct arch_debug_register *reg;
    const char *feature = NULL;
    size_t offset;

    for (unsigned i = 0; (reg = arch_debug_register(i, &offset)) != NULL; i++) {
        if (feature == NULL || strcmp(feature, reg->feature) != 0) {
            fprintf(to, "%s<feature name=\"%s\">%s", feature == NULL ? "" : "</feature>",
                    reg->feature, arch_debug_feature_types(reg->feature));
            feature = reg->feature;
        }
        fprintf(to, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" regnum=\"%u\"/>", reg->name,
                reg->bits, reg->type, i);
    }
    fputs("</feature>", to);
}

char *
gdb_query_description(size_t *size)
{
    char *text;
    FILE *to = open_memstream(&text, size);

    if (to == NULL)
        return NULL;
    fprintf(to,
            "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">"
            "<target version=\"1.0\"><architecture>%s</architecture>",
            arch_debug_architecture);
    describe_registers(to);
    fputs("</target>", to);
    if (fclose(to) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
