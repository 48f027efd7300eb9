/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One debugger's conversation: a packet comes, the answer is put into `out`.  It knows no socket
 * and does not wait: whoever has the packets (gdb_server.h) asks what a packet needs and sees that
 * it is so.
 *
 * What is asked is written by who holds the connection, and nothing of it is trusted.
 *
 * Source: GDB manual, appendix E: "Packets", "Stop Reply Packets", "General Query Packets".
 */
#ifndef GDB_SESSION_H
#define GDB_SESSION_H

#include "vmm/gdb/gdb_packet.h"
#include "vmm/gdb/gdb_target.h"

/* Bytes for the debugger, framed. */
struct gdb_output {
    char *bytes; /* owned */
    size_t size;
    size_t capacity;
    size_t replies; /* where the answer begins, behind the acknowledgment */
    bool failed;    /* no memory: a part is missing, so the conversation is over */
};

struct gdb_session {
    const struct gdb_target_ops *ops; /* (c) borrowed */
    void *target;                     /* (c) borrowed */
    char *description;                /* (c) owned: target.xml */
    size_t description_size;          /* (c) */
    unsigned cpu;                     /* Hg: whose registers and memory */
    unsigned resume_cpu;              /* Hc: of c and s ... */
    bool resume_all;                  /* ... or all */
    bool running;                     /* a stop reply is owed */
    bool no_ack;
    bool tells_software; /* the debugger knows swbreak and hwbreak in stop replies */
    bool tells_hardware;
    bool over; /* detached: nothing of the target is held any more */
    struct gdb_stop stop;
    struct gdb_output out;
};

/* What a packet needs before it is executed. */
#define GDB_NEEDS_REST 0x1u  /* all vCPUs rest */
#define GDB_NEEDS_SLEEP 0x2u /* it may sleep: not by the loop's thread */

/* Returns 0, or -ENOMEM and nothing is held. */
int gdb_session_init(struct gdb_session *session, const struct gdb_target_ops *ops, void *target)
    __attribute__((warn_unused_result));
void gdb_session_fini(struct gdb_session *session);

/* Another debugger, who knows nothing of the one before. */
void gdb_session_begin(struct gdb_session *session);

/* GDB_NEEDS_* of a packet, which has a 0 behind its `size` bytes. */
unsigned gdb_session_needs(const struct gdb_session *session, const char *packet, size_t size);

/* Forget what `out` has; with an acknowledgment of what came, while there are such. */
void gdb_session_clear(struct gdb_session *session, char acknowledgment);

/* Execute a packet: its answer, if it has one now, is added to `out`. */
void gdb_session_execute(struct gdb_session *session, const char *packet, size_t size);

/* All vCPUs rest, and a stop reply is owed: add it. */
void gdb_session_stopped(struct gdb_session *session);

/* The machine is gone, with that exit status or signal: add what tells it, if it can be told. */
void gdb_session_ended(struct gdb_session *session, bool signalled, unsigned status);

/* --- for the files of the session ------------------------------------------------- */

void gdb_reply(struct gdb_session *session, const char *data, size_t size);
void gdb_reply_text(struct gdb_session *session, const char *text);
/* "E." and why, or "E" and the number of the errno if there is nothing to say. */
void gdb_reply_error(struct gdb_session *session, int error, const char *why);

/* A thread's number at **text.  0 and -1: *any, of the vCPU the session is at.  False: none. */
bool gdb_thread(const struct gdb_session *session, const char **text, unsigned *cpu, bool *any);

/* q and Q packets (gdb_query.c). */
void gdb_query(struct gdb_session *session, const char *packet, size_t size);

/* target.xml.  NULL: no memory. */
char *gdb_query_description(size_t *size);

#endif
