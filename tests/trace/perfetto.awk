# SPDX-License-Identifier: BSD-2-Clause
#
# Goes over a trace in protoc's text form: fields by the names that Perfetto's .proto files give
# them.  Each interned name is there before it is used, or in the same packet; the sequence's first
# packet clears its state, and who uses names says that it needs it.

function fail(why) {
    print "FAIL packet " packets ": " why
    failed = 1
    exit 1
}

# What the packet uses is looked for at its end: its own names are among those that it may use.
function finish() {
    if (packets == 1 && flags != 1)
        fail("the first one does not clear the sequence's state")
    if (nuses > 0 && flags != 2)
        fail("it uses names, and its flags are " flags)
    for (i = 0; i < nuses; i++)
        if (!(uses[i] in known))
            fail("it uses " uses[i] ", which is not interned")
    if (event && type == "")
        fail("an event without a type")
    nuses = flags = event = 0
    type = ""
    names += 0
}

/^packet \{/ { packets++; next }
/^\}/ { finish(); next }
/^  sequence_flags: / { flags = $2; next }
/^  trusted_packet_sequence_id: / { if ($2 != 1) fail("sequence " $2); next }
/^  track_event \{/ { event = 1; inside = "event"; next }
/^  interned_data \{/ { inside = "interned"; next }
/^  track_descriptor \{/ { inside = "descriptor"; next }
/^    type: / { type = $2; types[$2]++; next }
inside == "event" && /^    name_iid: / { uses[nuses++] = "event_names " $2; next }
inside == "event" && /^      name_iid: / { uses[nuses++] = "debug_annotation_names " $2; next }
inside == "event" && /^      string_value_iid: / { uses[nuses++] = "debug_annotation_string_values " $2; next }
inside == "event" && /^    track_uuid: / { if (!($2 in tracks)) fail("track " $2 " is not described"); next }
inside == "descriptor" && /^    uuid: / { tracks[$2] = 1; next }
inside == "descriptor" && /^    parent_uuid: / { if (!($2 in tracks)) fail("no parent " $2); next }
inside == "interned" && /^    [a-z_]+ \{/ { kind = $1; next }
inside == "interned" && /^      iid: / {
    if ((kind " " $2) in known)
        fail(kind " " $2 " is interned twice")
    known[kind " " $2] = 1
    names++
    next
}

END {
    if (failed)
        exit 1
    if (packets == 0 || names == 0)
        fail("nothing in it")
    printf "%d packets, %d interned names:", packets, names
    for (type in types)
        printf " %s %d", type, types[type]
    print ""
}
