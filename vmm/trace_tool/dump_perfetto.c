/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Perfetto's own format: a Trace message of TracePackets, written by hand, for no library of it is
 * to be had.  Names are interned: a packet that uses one for the first time brings it along.
 *
 * Source: the .proto files under protos/perfetto/trace: trace_packet, track_event,
 * debug_annotation, interned_data.
 */
#include "vmm/trace_tool/trace_dump.h"
#include "vmm/trace_tool/trace_tracks.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Field numbers, by message. */
enum {
    TRACE_PACKET = 1
};
enum {
    PACKET_TIMESTAMP = 8,
    PACKET_SEQUENCE_ID = 10,
    PACKET_TRACK_EVENT = 11,
    PACKET_INTERNED_DATA = 12,
    PACKET_SEQUENCE_FLAGS = 13,
    PACKET_TRACK_DESCRIPTOR = 60
};
enum {
    INTERNED_EVENT_NAMES = 2,
    INTERNED_ANNOTATION_NAMES = 3,
    INTERNED_STRINGS = 29
};
enum {
    NAME_IID = 1,
    NAME_NAME = 2
};
enum {
    DESCRIPTOR_UUID = 1,
    DESCRIPTOR_NAME = 2,
    DESCRIPTOR_PROCESS = 3,
    DESCRIPTOR_THREAD = 4,
    DESCRIPTOR_PARENT = 5,
    DESCRIPTOR_COUNTER = 8
};
enum {
    PROCESS_PID = 1,
    PROCESS_NAME = 6
};
enum {
    THREAD_PID = 1,
    THREAD_TID = 2,
    THREAD_NAME = 5
};
enum {
    EVENT_ANNOTATIONS = 4,
    EVENT_TYPE = 9,
    EVENT_NAME_IID = 10,
    EVENT_TRACK = 11,
    EVENT_COUNTER = 30
};
enum {
    ANNOTATION_NAME_IID = 1,
    ANNOTATION_UINT = 3,
    ANNOTATION_POINTER = 7,
    ANNOTATION_STRING_IID = 17
};

enum {
    TYPE_BEGIN = 1,
    TYPE_END = 2,
    TYPE_INSTANT = 3,
    TYPE_COUNTER = 4
};
enum {
    FLAG_STATE_CLEARED = 1,
    FLAG_NEEDS_STATE = 2
};
enum {
    WIRE_VARINT = 0,
    WIRE_BYTES = 2
};

#define SEQUENCE_ID 1u
#define PID 1u
#define UUID_PROCESS 1u
#define UUID_FAULTS 2u
#define UUID_RESIDENT 3u
#define UUID_TRACKS 16u /* track i: this plus i */

/* A message's longest form here: some numbers and names. */
#define MESSAGE_MAX 2048u
#define NAME_MAX_SIZE 256u

struct message {
    size_t size;
    uint8_t bytes[MESSAGE_MAX];
};

/* A name that was interned. */
struct name {
    unsigned field; /* of the interned data: names of a kind have numbers of their own */
    const char *text;
};

#define NAMES_MAX 4096u

struct perfetto {
    struct trace_tracks tracks;
    struct trace_counters counters;
    struct name names[NAMES_MAX]; /* name i has number i + 1; texts owned */
    unsigned nnames;
    unsigned fresh; /* names from here on are not in the file yet */
};

/* --- Messages -------------------------------------------------------------- */

static void
put_varint(struct message *m, uint64_t value)
{
    while (value >= 0x80) {
        m->bytes[m->size++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    m->bytes[m->size++] = (uint8_t)value;
}

static void
put_number(struct message *m, unsigned field, uint64_t value)
{
    assert(m->size + 20 <= MESSAGE_MAX);
    put_varint(m, field << 3 | WIRE_VARINT);
    put_varint(m, value);
}

static void
put_bytes(struct message *m, unsigned field, const void *bytes, size_t size)
{
    assert(m->size + size + 20 <= MESSAGE_MAX);
    put_varint(m, field << 3 | WIRE_BYTES);
    put_varint(m, size);
    memcpy(m->bytes + m->size, bytes, size);
    m->size += size;
}

static void
put_text(struct message *m, unsigned field, const char *text)
{
    put_bytes(m, field, text, strlen(text));
}

static void
put_message(struct message *m, unsigned field, const struct message *inner)
{
    put_bytes(m, field, inner->bytes, inner->size);
}

/* A packet, to the file. */
static void
write_packet(FILE *to, const struct message *packet)
{
    struct message head = { .size = 0 };

    put_varint(&head, TRACE_PACKET << 3 | WIRE_BYTES);
    put_varint(&head, packet->size);
    fwrite(head.bytes, 1, head.size, to);
    fwrite(packet->bytes, 1, packet->size, to);
}

/* --- Names ----------------------------------------------------------------- */

/* The name's number.  0: there are too many; it is left out. */
static uint64_t
intern(struct perfetto *p, unsigned field, const char *text)
{
    char *copy;

    for (unsigned i = 0; i < p->nnames; i++) {
        if (p->names[i].field == field && strcmp(p->names[i].text, text) == 0)
            return i + 1;
    }
    copy = p->nnames < NAMES_MAX ? strndup(text, NAME_MAX_SIZE - 1) : NULL;
    if (copy == NULL)
        return 0;
    p->names[p->nnames++] = (struct name){ .field = field, .text = copy };
    return p->nnames;
}

/* The names that are new go with the packet that uses them. */
static void
put_fresh_names(struct perfetto *p, struct message *packet)
{
    struct message data = { .size = 0 };

    if (p->fresh == p->nnames)
        return;
    for (; p->fresh < p->nnames; p->fresh++) {
        struct message name = { .size = 0 };

        put_number(&name, NAME_IID, p->fresh + 1);
        put_text(&name, NAME_NAME, p->names[p->fresh].text);
        put_message(&data, p->names[p->fresh].field, &name);
    }
    put_message(packet, PACKET_INTERNED_DATA, &data);
}

/* --- Tracks ---------------------------------------------------------------- */

static void
write_descriptor(FILE *to, const struct message *descriptor, uint64_t flags)
{
    struct message packet = { .size = 0 };

    put_number(&packet, PACKET_SEQUENCE_ID, SEQUENCE_ID);
    if (flags != 0)
        put_number(&packet, PACKET_SEQUENCE_FLAGS, flags);
    put_message(&packet, PACKET_TRACK_DESCRIPTOR, descriptor);
    write_packet(to, &packet);
}

static void
describe_process(FILE *to)
{
    struct message process = { .size = 0 }, descriptor = { .size = 0 };

    put_number(&process, PROCESS_PID, PID);
    put_text(&process, PROCESS_NAME, "vkvm");
    put_number(&descriptor, DESCRIPTOR_UUID, UUID_PROCESS);
    put_message(&descriptor, DESCRIPTOR_PROCESS, &process);
    write_descriptor(to, &descriptor, FLAG_STATE_CLEARED);
}

static void
describe_counter(FILE *to, uint64_t uuid, const char *name)
{
    const struct message counter = { .size = 0 };
    struct message descriptor = { .size = 0 };

    put_number(&descriptor, DESCRIPTOR_UUID, uuid);
    put_text(&descriptor, DESCRIPTOR_NAME, name);
    put_number(&descriptor, DESCRIPTOR_PARENT, UUID_PROCESS);
    put_message(&descriptor, DESCRIPTOR_COUNTER, &counter);
    write_descriptor(to, &descriptor, 0);
}

static void
describe_track(FILE *to, const struct trace_track *track, size_t index)
{
    struct message thread = { .size = 0 }, descriptor = { .size = 0 };
    char name[32];

    trace_track_name(track, name);
    put_number(&thread, THREAD_PID, PID);
    put_number(&thread, THREAD_TID, PID + 1 + index);
    put_text(&thread, THREAD_NAME, name);
    put_number(&descriptor, DESCRIPTOR_UUID, UUID_TRACKS + index);
    put_number(&descriptor, DESCRIPTOR_PARENT, UUID_PROCESS);
    put_message(&descriptor, DESCRIPTOR_THREAD, &thread);
    write_descriptor(to, &descriptor, 0);
}

/* --- Events ---------------------------------------------------------------- */

static void
annotate(struct perfetto *p, struct message *event, const char *name, unsigned field,
         uint64_t value)
{
    struct message annotation = { .size = 0 };

    put_number(&annotation, ANNOTATION_NAME_IID, intern(p, INTERNED_ANNOTATION_NAMES, name));
    put_number(&annotation, field, value);
    put_message(event, EVENT_ANNOTATIONS, &annotation);
}

static void
annotate_word(struct perfetto *p, struct message *event, const char *name, const char *word)
{
    uint64_t number = intern(p, INTERNED_STRINGS, word);

    if (number != 0)
        annotate(p, event, name, ANNOTATION_STRING_IID, number);
}

static void
annotate_all(struct perfetto *p, struct message *message, const struct trace_input *input,
             const struct trace_event *event)
{
    const struct trace_fault *fault = &event->record.fault;
    uint64_t gpa;

    annotate(p, message, "sequence", ANNOTATION_UINT, event->record.sequence);
    if (trace_event_gpa(event, &gpa)) {
        annotate(p, message, "gpa", ANNOTATION_POINTER, gpa);
        annotate_word(p, message, "region", trace_input_region(input, event->region));
    }
    if (event->record.kind == TRACE_FAULT) {
        annotate_word(p, message, "access", trace_access_name(fault->access));
        annotate_word(p, message, "arrival", trace_arrival_name(fault->arrival));
        annotate_word(p, message, "map", trace_map_name(trace_map_of(fault)));
    }
    if (event->symbol != NULL)
        annotate_word(p, message, "symbol", event->symbol);
}

static void
write_event(struct perfetto *p, FILE *to, uint64_t at, const struct message *event)
{
    struct message packet = { .size = 0 };

    put_number(&packet, PACKET_TIMESTAMP, at);
    put_number(&packet, PACKET_SEQUENCE_ID, SEQUENCE_ID);
    put_number(&packet, PACKET_SEQUENCE_FLAGS, FLAG_NEEDS_STATE);
    put_fresh_names(p, &packet);
    put_message(&packet, PACKET_TRACK_EVENT, event);
    write_packet(to, &packet);
}

static void
write_counter(struct perfetto *p, FILE *to, uint64_t at, uint64_t uuid, uint64_t value)
{
    struct message event = { .size = 0 };

    put_number(&event, EVENT_TYPE, TYPE_COUNTER);
    put_number(&event, EVENT_TRACK, uuid);
    put_number(&event, EVENT_COUNTER, value);
    write_event(p, to, at, &event);
}

static void
write_counters(struct perfetto *p, FILE *to, uint64_t at, uint64_t per_second)
{
    int64_t resident = p->counters.resident;

    write_counter(p, to, at, UUID_FAULTS, per_second);
    write_counter(p, to, at, UUID_RESIDENT, resident > 0 ? (uint64_t)resident : 0);
}

static void
write_slice(struct perfetto *p, const struct trace_dump *dump, const struct trace_event *event,
            uint64_t uuid)
{
    uint64_t duration = trace_event_duration(event);
    uint64_t name = intern(p, INTERNED_EVENT_NAMES, trace_event_title(event));
    struct message begin = { .size = 0 }, end = { .size = 0 };

    put_number(&begin, EVENT_TYPE, duration != 0 ? TYPE_BEGIN : TYPE_INSTANT);
    put_number(&begin, EVENT_TRACK, uuid);
    put_number(&begin, EVENT_NAME_IID, name);
    annotate_all(p, &begin, dump->input, event);
    write_event(p, dump->to, event->time, &begin);
    if (duration == 0)
        return;
    put_number(&end, EVENT_TYPE, TYPE_END);
    put_number(&end, EVENT_TRACK, uuid);
    write_event(p, dump->to, event->time + duration, &end);
}

/* --- The format ------------------------------------------------------------ */

static int
perfetto_begin(struct trace_dump *dump)
{
    struct perfetto *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return -ENOMEM;
    dump->state = p;
    describe_process(dump->to);
    describe_counter(dump->to, UUID_FAULTS, "faults per second");
    describe_counter(dump->to, UUID_RESIDENT, "resident pages");
    return 0;
}

static int
perfetto_event(struct trace_dump *dump, const struct trace_event *event)
{
    struct perfetto *p = dump->state;
    uint64_t end = event->time + trace_event_duration(event), at, per_second;
    ssize_t track = trace_tracks_place(&p->tracks, event, event->time, end);

    if (track < 0)
        return (int)track;
    if (!p->tracks.list[track].told) {
        p->tracks.list[track].told = true;
        describe_track(dump->to, &p->tracks.list[track], (size_t)track);
    }
    if (trace_counters_add(&p->counters, event, &at, &per_second))
        write_counters(p, dump->to, at, per_second);
    write_slice(p, dump, event, UUID_TRACKS + (uint64_t)track);
    return 0;
}

static int
perfetto_end(struct trace_dump *dump)
{
    struct perfetto *p = dump->state;
    uint64_t at, per_second;

    trace_counters_last(&p->counters, &at, &per_second);
    write_counters(p, dump->to, at, per_second);
    for (unsigned i = 0; i < p->nnames; i++)
        free((char *)(uintptr_t)p->names[i].text);
    trace_tracks_fini(&p->tracks);
    free(p);
    return 0;
}

const struct trace_dump_format trace_dump_perfetto = {
    .name = "perfetto",
    .binary = true,
    .begin = perfetto_begin,
    .event = perfetto_event,
    .end = perfetto_end,
};
