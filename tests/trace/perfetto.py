# SPDX-License-Identifier: BSD-2-Clause
#
# Reads Perfetto's protobuf without a library, by field numbers of its own, and checks what the
# .proto files say in words: names are interned before they are used, within a sequence that says
# so; slices nest; tracks are described before they are used; time does not run backwards by more
# than a slice.
#
#   perfetto.py FILE      prints what is in it
#
# Source: protos/perfetto/trace/{trace,trace_packet}.proto, track_event/{track_event,
# track_descriptor,debug_annotation}.proto, interned_data/interned_data.proto.

import sys

CLEARED, NEEDED = 1, 2
BEGIN, END, INSTANT, COUNTER = 1, 2, 3, 4


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        assert shift < 64, "a varint without an end"


def fields(data):
    """The message's fields: (number, value), a number or bytes."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        else:
            assert key & 7 == 2, f"wire type {key & 7}"
            size, at = varint(data, at)
            value = data[at : at + size]
            assert len(value) == size, "a message that is cut off"
            at += size
        yield key >> 3, value


class Sequence:
    def __init__(self):
        self.names = {2: {}, 3: {}, 29: {}}  # by field of InternedData
        self.tracks = {}
        self.slices = {}
        self.valid = False
        self.counts = {}

    def intern(self, data):
        for kind, entry in fields(data):
            assert kind in self.names, f"interned field {kind}"
            entry = dict(fields(entry))
            assert entry[1] != 0 and entry[1] not in self.names[kind], "a number used twice"
            self.names[kind][entry[1]] = entry[2].decode()

    def describe(self, data):
        track = dict(fields(data))
        uuid = track[1]
        assert uuid not in self.tracks, "a track that is described twice"
        assert track.get(5, uuid) in self.tracks or 5 not in track, "no such parent"
        inner = dict(fields(track.get(3, track.get(4, b""))))
        name = track.get(2, inner.get(6, inner.get(5)))
        self.tracks[uuid] = name.decode()

    def event(self, time, data):
        event = {}
        for number, value in fields(data):
            if number == 4:
                annotation = dict(fields(value))
                assert annotation[1] in self.names[3], "an annotation's name that is not interned"
                assert 17 not in annotation or annotation[17] in self.names[29], "no such string"
            else:
                event[number] = value
        assert event[11] in self.tracks, "a track that is not described"
        kind = event[9]
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if kind in (BEGIN, INSTANT):
            assert event[10] in self.names[2], "an event's name that is not interned"
        if kind == COUNTER:
            assert 30 in event
        self.slices.setdefault(event[11], []).append((time, kind))


def read(data):
    sequence = Sequence()
    for number, packet in fields(data):
        assert number == 1, f"field {number} of a trace"
        packet = dict(fields(packet))
        assert packet[10] == 1, "another sequence"
        flags = packet.get(13, 0)
        if flags & CLEARED:
            sequence.valid = True
        if flags & NEEDED:
            assert sequence.valid, "state is needed before it is begun"
        if 12 in packet:
            sequence.intern(packet[12])
        if 60 in packet:
            sequence.describe(packet[60])
        if 11 in packet:
            assert flags & NEEDED, "interned names without their flag"
            sequence.event(packet[8], packet[11])
    return sequence


def check_slices(sequence):
    """As a viewer does: sorted by time, an end belongs to the last begin."""
    for track, events in sequence.slices.items():
        depth = 0
        for _, kind in sorted(events, key=lambda e: e[0]):
            depth += (kind == BEGIN) - (kind == END)
            assert depth >= 0, f"an end without a begin on {sequence.tracks[track]}"
        assert depth == 0, f"a begin without an end on {sequence.tracks[track]}"


def main():
    sequence = read(open(sys.argv[1], "rb").read())
    check_slices(sequence)
    count = sequence.counts.get
    print(f"{count(BEGIN, 0)} slices, {count(INSTANT, 0)} moments, {count(COUNTER, 0)} counts")
    print("tracks:", ", ".join(sorted(sequence.tracks.values())))
    print("names:", ", ".join(sorted(sequence.names[2].values())))


main()
