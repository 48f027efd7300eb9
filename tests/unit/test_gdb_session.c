/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets and their answers, on a target that only notes what it is asked. */
#include "tests/unit/gdb_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

static struct gdb_rig rig;
static struct gdb_session *const session = &rig.session;

static void
begin(void)
{
    memset(&rig, 0, sizeof(rig));
    cr_assert(zero(int, gdb_session_init(session, &rig_ops, &rig)));
    session->no_ack = true;
    for (unsigned i = 0; i < RIG_SIZE; i++)
        rig.memory[i] = (uint8_t)i;
}

static void
end(void)
{
    gdb_session_fini(session);
}

TestSuite(gdb_session, .init = begin, .fini = end);

/* The answer as it is, packets one after the other, without frames. */
static const char *
ask_bytes(const char *packet, size_t size)
{
    static struct gdb_reader reader;
    static char answer[1 << 20];
    size_t n = 0;

    gdb_reader_init(&reader);
    gdb_session_clear(session, '+');
    gdb_session_execute(session, packet, size);
    for (size_t i = 0; i < session->out.size; i++) {
        enum gdb_input input = gdb_reader_take(&reader, (uint8_t)session->out.bytes[i]);

        cr_assert(ne(int, input, GDB_INPUT_BAD));
        if (input == GDB_INPUT_PACKET) {
            memcpy(answer + n, reader.data, reader.size);
            n += reader.size;
        }
    }
    answer[n] = '\0';
    return answer;
}

static void
answers(const char *packet, const char *expected)
{
    const char *answer = ask_bytes(packet, strlen(packet));

    cr_assert_str_eq(answer, expected, "%s: %.300s instead of %s", packet, answer, expected);
}

static void
silent(const char *packet)
{
    gdb_session_clear(session, '+');
    gdb_session_execute(session, packet, strlen(packet));
    cr_assert(zero(sz, session->out.size));
}

Test(gdb_session, what_is_not_known_has_an_empty_answer)
{
    answers("", "");
    answers("!", "");
    answers("vMustReplyEmpty", "");
    answers("vKill;1", "");
    answers("qTStatus", "");
    answers("Z5,0,1", "");
    answers("Zx", "");
}

Test(gdb_session, what_is_supported_is_said_and_what_gdb_supports_noted)
{
    answers("qSupported:multiprocess+;swbreak+;hwbreak-",
            "PacketSize=4000;QStartNoAckMode+;qXfer:features:read+;vContSupported+;swbreak+;"
            "hwbreak+");
    cr_assert(session->tells_software);
    cr_assert(not(session->tells_hardware));
}

Test(gdb_session, acknowledgments_end_when_both_sides_agree)
{
    session->no_ack = false;
    gdb_session_clear(session, '+');
    gdb_session_execute(session, "QStartNoAckMode", 15);
    cr_assert(eq(chr, session->out.bytes[0], '+'));
    cr_assert(session->no_ack);
    gdb_session_clear(session, '+');
    cr_assert(zero(sz, session->out.size));
}

Test(gdb_session, the_description_comes_in_pieces_and_ends)
{
    char packet[64], whole[65536] = "";
    uint64_t offset = 0;
    const char *answer;

    do {
        snprintf(packet, sizeof(packet), "qXfer:features:read:target.xml:%lx,100",
                 (unsigned long)offset);
        answer = ask_bytes(packet, strlen(packet));
        strcat(whole, answer + 1);
        offset += strlen(answer + 1);
    } while (answer[0] == 'm');
    cr_assert(eq(chr, answer[0], 'l'));
    cr_assert_not_null(strstr(whole, "<architecture>i386:x86-64</architecture>"));
    cr_assert_not_null(strstr(whole, "org.gnu.gdb.i386.sse"));
    cr_assert_not_null(strstr(whole, "name=\"cr3\""));
    cr_assert_not_null(strstr(whole, "</target>"));
    answers("qXfer:features:read:target.xml:ffffffffffffffff,100", "l");
    answers("qXfer:features:read:other.xml:0,100", "E.the only description is target.xml");
    answers("qXfer:features:read:target.xml:0", "E.the only description is target.xml");
}

Test(gdb_session, threads_are_vcpus)
{
    answers("qfThreadInfo", "m1,2");
    answers("qsThreadInfo", "l");
    answers("qC", "QC1");
    answers("qAttached", "1");
    answers("Hg2", "OK");
    answers("qC", "QC2");
    answers("Hg0", "OK");
    answers("Hc-1", "OK");
    answers("T2", "OK");
    answers("T3", "E.no such thread");
    answers("Hg3", "E.no such thread");
    answers("Hx1", "E.no such thread");
    answers("Hg", "E.no such thread");
    answers("qThreadExtraInfo,2", "764350552031");
    answers("qThreadExtraInfo,7", "E.no such thread");
}

Test(gdb_session, registers_are_read_and_written)
{
    char packet[2 * ARCH_DEBUG_REGISTERS_SIZE + 2] = "G";
    size_t n = arch_debug_registers_size();

    rig.registers[1][0] = 0xA5;
    answers("Hg2", "OK");
    cr_assert(zero(int, strncmp(ask_bytes("g", 1), "a500", 4)));
    cr_assert(eq(sz, strlen(ask_bytes("g", 1)), 2 * n));
    answers("p0", "a500000000000000");
    answers("P0=0100000000000000", "OK");
    answers("p0", "0100000000000000");
    answers("p11", "00000000"); /* eflags has 32 bits */
    answers("p400", "E.no such register");
    answers("pfffffffffffffff0", "E.no such register");
    answers("p", "E.malformed packet");
    answers("P0=01", "E.malformed packet");
    answers("Pff=01", "E.malformed packet");
    memset(packet + 1, '1', 2 * n);
    answers(packet, "OK");
    cr_assert(eq(int, rig.registers[1][n - 1], 0x11));
    packet[2 * n] = '\0';
    answers(packet, "E.malformed packet");
}

Test(gdb_session, memory_is_read_and_written)
{
    answers("m1000,4", "00010203");
    answers("m1000,0", "");
    answers("m8fff,10", "ff");
    answers("m0,1", "E0e");
    answers("m1000", "E.malformed packet");
    answers("m1000,4x", "E.malformed packet");
    answers("M1000,2:a5a6", "OK");
    answers("m1000,3", "a5a602");
    answers("M1000,2:a5", "E.malformed packet");
    answers("M1000,2", "E.malformed packet");
    answers("M0,1:00", "E.no memory");
    cr_assert(eq(sz, strlen(ask_bytes("m1000,ffffffff", 14)), GDB_PACKET_MAX - 2));
    cr_assert_str_eq(ask_bytes("X1000,3:\001\002\003", 11), "OK");
    answers("m1000,3", "010203");
    cr_assert_str_eq(ask_bytes("X1000,0:", 8), "OK");
    cr_assert_str_eq(ask_bytes("X1000,3:\001", 9), "E.malformed packet");
    cr_assert_str_eq(ask_bytes("x1001,2", 7), "b\002\003");
}

Test(gdb_session, points_are_set_and_taken_away)
{
    answers("Z0,1000,1", "OK");
    answers("Z2,1008,8", "OK");
    cr_assert(eq(uint, rig.npoints, 2));
    cr_assert(eq(int, rig.points[1].kind, GDB_POINT_WRITE));
    answers("z0,1000,1", "OK");
    answers("z2,1008,8", "OK");
    cr_assert(zero(uint, rig.npoints));
    rig.npoints = RIG_POINTS;
    answers("Z1,1000,1", "E.too many");
}

Test(gdb_session, watching_reads_alone_is_not_known_so_gdb_watches_accesses)
{
    answers("Z3,1000,8", "");
    answers("z3,1000,8", "");
    cr_assert(zero(uint, rig.npoints));
    answers("Z4,1000,8", "OK");
}

Test(gdb_session, vcont_gives_each_vcpu_the_leftmost_action_that_names_it)
{
    answers("vCont?", "vCont;c;C;s;S;t");
    silent("vCont;s:2;c");
    cr_assert(eq(int, rig.actions[0], GDB_CONTINUE));
    cr_assert(eq(int, rig.actions[1], GDB_STEP));
    cr_assert(session->running);
    gdb_session_clear(session, '+');
    gdb_session_stopped(session);
    silent("vCont;C05:1");
    cr_assert(eq(int, rig.actions[0], GDB_CONTINUE));
    cr_assert(eq(int, rig.actions[1], GDB_HOLD));
}

Test(gdb_session, a_vcont_that_moves_nothing_is_malformed)
{
    answers("vCont", "E.malformed packet");
    answers("vCont;", "E.malformed packet");
    answers("vCont;t", "E.malformed packet");
    answers("vCont;c:9", "E.malformed packet");
    answers("vCont;Cx", "E.malformed packet");
    answers("vCont;c;;", "E.malformed packet");
    answers("vCont;r0,1", "E.malformed packet");
    cr_assert(not(session->running));
}

Test(gdb_session, the_old_packets_continue_and_step_too)
{
    silent("c");
    cr_assert(eq(int, rig.actions[1], GDB_CONTINUE));
    gdb_session_stopped(session);
    answers("Hc2", "OK");
    silent("s");
    cr_assert(eq(int, rig.actions[0], GDB_HOLD));
    cr_assert(eq(int, rig.actions[1], GDB_STEP));
    gdb_session_stopped(session);
    answers("c1000", "E.set $pc instead of continuing at an address");
}

Test(gdb_session, a_step_that_cannot_be_is_refused_with_the_reason)
{
    rig.cannot_step = true;
    answers("vCont;s:1", "E.cannot step");
    cr_assert(not(session->running));
    silent("vCont;c");
}

Test(gdb_session, while_the_machine_runs_nothing_is_read)
{
    silent("vCont;c");
    answers("g", "E.the machine runs: interrupt it first");
    answers("m1000,4", "E.the machine runs: interrupt it first");
    cr_assert(zero(uint, gdb_session_needs(session, "g", 1)));
}

static void
stops_as(struct gdb_stop stop, const char *expected)
{
    silent("vCont;c");
    rig.stop = stop;
    rig.stopped_before = true;
    session->running = false;
    answers("vCont;c", expected);
    answers("?", expected);
    rig.stopped_before = false;
}

Test(gdb_session, a_stop_says_why_and_where)
{
    answers("qSupported:swbreak+;hwbreak+", "PacketSize=4000;QStartNoAckMode+;"
                                            "qXfer:features:read+;vContSupported+;swbreak+;"
                                            "hwbreak+");
    answers("?", "T02thread:1;");
    stops_as((struct gdb_stop){ GDB_STOP_SOFTWARE, 1, 0 }, "T05thread:2;swbreak:;");
    stops_as((struct gdb_stop){ GDB_STOP_HARDWARE, 0, 0 }, "T05thread:1;hwbreak:;");
    stops_as((struct gdb_stop){ GDB_STOP_STEP, 0, 0 }, "T05thread:1;");
    stops_as((struct gdb_stop){ GDB_STOP_WRITE, 0, 0x1008 }, "T05thread:1;watch:1008;");
    stops_as((struct gdb_stop){ GDB_STOP_ACCESS, 0, 0x1008 }, "T05thread:1;awatch:1008;");
    stops_as((struct gdb_stop){ GDB_STOP_INTERRUPT, 0, 0 }, "T02thread:1;");
}

Test(gdb_session, a_monitor_command_is_answered_as_output)
{
    answers("qRcmd,6d6170", "O303a6d61700aOK"); /* map */
    cr_assert_str_eq(rig.command, "map");
    answers("qRcmd,6", "E.malformed command");
    answers("qRcmd,6x", "E.malformed command");
}

Test(gdb_session, a_packet_says_what_it_needs)
{
    cr_assert(eq(uint, gdb_session_needs(session, "m0,1", 4), GDB_NEEDS_REST | GDB_NEEDS_SLEEP));
    cr_assert(eq(uint, gdb_session_needs(session, "g", 1), GDB_NEEDS_REST));
    cr_assert(eq(uint, gdb_session_needs(session, "vCont;c", 7), GDB_NEEDS_REST));
    cr_assert(eq(uint, gdb_session_needs(session, "qRcmd,", 6), GDB_NEEDS_SLEEP));
    cr_assert(zero(uint, gdb_session_needs(session, "vCont?", 6)));
    cr_assert(zero(uint, gdb_session_needs(session, "qSupported", 10)));
    cr_assert(zero(uint, gdb_session_needs(session, "", 0)));
}

Test(gdb_session, detaching_takes_all_away_and_lets_the_machine_run)
{
    answers("Z0,1000,1", "OK");
    answers("D", "OK");
    cr_assert(zero(uint, rig.npoints));
    cr_assert(eq(uint, atomic_load(&rig.releases), 1));
    cr_assert(session->over);
}

Test(gdb_session, kill_ends_the_machine)
{
    silent("k");
    cr_assert(eq(uint, atomic_load(&rig.kills), 1));
}

Test(gdb_session, the_end_is_told_only_where_an_answer_is_owed)
{
    gdb_session_clear(session, '+');
    gdb_session_ended(session, false, 3);
    cr_assert(zero(sz, session->out.size));
    silent("vCont;c");
    gdb_session_ended(session, false, 3);
    cr_assert(zero(int, memcmp(session->out.bytes, "$W03#", 5)));
    silent("vCont;c");
    gdb_session_ended(session, true, 15);
    cr_assert(zero(int, memcmp(session->out.bytes, "$X0f#", 5)));
}
