/* SPDX-License-Identifier: BSD-2-Clause */
/* Trace files read back: whole ones, such that are damaged, cut off or foreign. */
#include "vmm/trace/trace_reader.h"

#include "tests/unit/trace_rig.h"

#include <criterion/criterion.h>
#include <errno.h>

#define DAMAGED_FILES 200u

static struct trace_rig *rig;
static char path[] = "/tmp/vkvm-trace-XXXXXX";

static void
set_up(void)
{
    rig = trace_rig_create(path, "vcpus=2\nram=0x0+0x100000\n");
    cr_assert(rig != NULL);
}

static void
tear_down(void)
{
    unlink(path);
    free(rig);
}

TestSuite(trace_reader, .init = set_up, .fini = tear_down);

/* `count` faults of a lane, every `step`-th sequence from `first` on. */
static void
put_faults(uint32_t lane, uint64_t first, uint64_t step, uint32_t count)
{
    struct trace_record records[64];

    cr_assert(count <= 64);
    for (uint32_t i = 0; i < count; i++)
        records[i] = trace_rig_fault(first + i * step, lane, (first + i * step) << 12, i);
    trace_rig_records(rig, lane, records, count, 0);
}

static struct trace_reader *
open_whole(void)
{
    struct trace_reader *reader = NULL;
    struct failure failure = { .message = "" };

    cr_assert(trace_rig_write(rig, path, rig->size));
    cr_assert_eq(trace_reader_open(path, &reader, &failure), 0, "%s", failure.message);
    return reader;
}

static struct trace_coverage
coverage_of(const struct trace_reader *reader)
{
    struct trace_coverage coverage;

    trace_reader_coverage(reader, &coverage);
    return coverage;
}

/* Read all, which must be in order.  Returns how many. */
static uint64_t
read_in_order(struct trace_reader *reader)
{
    struct trace_record record;
    uint64_t count = 0, before = 0;
    int found;

    while ((found = trace_reader_next(reader, &record)) > 0) {
        cr_assert(count == 0 || record.sequence > before);
        cr_assert_eq(record.kind, TRACE_FAULT);
        cr_assert_eq(record.fault.gpa, record.sequence << 12);
        before = record.sequence;
        count++;
    }
    cr_assert_eq(found, 0);
    return count;
}

/* The file's first `size` bytes are refused with that error, in one line. */
static void
refused(size_t size, int error, const char *word)
{
    struct trace_reader *reader;
    struct failure failure = { .message = "" };

    cr_assert(trace_rig_write(rig, path, size));
    cr_assert_eq(trace_reader_open(path, &reader, &failure), error, "%s", failure.message);
    cr_assert(strstr(failure.message, word) != NULL, "%s", failure.message);
    cr_assert(strchr(failure.message, '\n') == NULL);
}

Test(trace_reader, records_of_all_lanes_come_in_the_order_of_their_sequence)
{
    put_faults(1, 1, 3, 10);
    put_faults(0, 0, 3, 10);
    put_faults(2, 2, 3, 10);
    put_faults(0, 30, 1, 5);
    struct trace_reader *reader = open_whole();
    cr_assert_eq(read_in_order(reader), 35);
    trace_reader_rewind(reader);
    cr_assert_eq(read_in_order(reader), 35);
    struct trace_coverage coverage = coverage_of(reader);
    cr_assert_eq(coverage.records, 35);
    cr_assert_eq(coverage.total, 35);
    cr_assert_eq(coverage.segments, 4);
    cr_assert_eq(coverage.damaged, 0);
    cr_assert_not(coverage.ended);
    trace_reader_close(reader);
}

Test(trace_reader, a_chunk_that_was_used_again_has_its_newest_records_only)
{
    trace_rig_init(rig, "", 1);
    trace_rig_chunk(rig, 0, 0);
    put_faults(0, 0, 1, 40);
    put_faults(0, 40, 1, 40);
    trace_rig_chunk(rig, 1, 1);
    put_faults(0, 80, 1, 10);
    trace_rig_chunk(rig, 0, 2); /* over the first of the two */
    put_faults(0, 90, 1, 10);
    struct trace_reader *reader = open_whole();
    cr_assert_eq(read_in_order(reader), 20);
    cr_assert_eq(coverage_of(reader).total, 100);
    cr_assert_eq(coverage_of(reader).damaged, 0);
    trace_reader_close(reader);
}

Test(trace_reader, a_damaged_segment_is_counted_and_those_behind_it_are_read)
{
    put_faults(0, 0, 1, 10);
    size_t damage = rig->at + sizeof(struct trace_segment) + 5;
    put_faults(0, 10, 1, 10);
    put_faults(0, 20, 1, 10);
    rig->bytes[damage] ^= 1;
    struct trace_reader *reader = open_whole();
    cr_assert_eq(read_in_order(reader), 20);
    cr_assert_eq(coverage_of(reader).damaged, 1);
    cr_assert_eq(coverage_of(reader).total, 30);
    trace_reader_close(reader);
}

Test(trace_reader, a_damaged_length_does_not_take_the_rest_of_the_chunk_with_it)
{
    size_t damage = rig->at + offsetof(struct trace_segment, size) + 3;

    put_faults(0, 0, 1, 10);
    put_faults(0, 10, 1, 10);
    rig->bytes[damage] = 0xff;
    struct trace_reader *reader = open_whole();
    cr_assert_eq(read_in_order(reader), 10);
    cr_assert_eq(coverage_of(reader).damaged, 1);
    trace_reader_close(reader);
}

Test(trace_reader, a_file_cut_off_within_a_segment_is_read_up_to_there)
{
    put_faults(0, 0, 1, 10);
    put_faults(0, 10, 1, 10);
    rig->size -= 7;
    struct trace_reader *reader = open_whole();
    cr_assert_eq(read_in_order(reader), 10);
    cr_assert(coverage_of(reader).cut);
    cr_assert_eq(coverage_of(reader).damaged, 0);
    trace_reader_close(reader);
}

Test(trace_reader, a_lanes_last_segment_says_what_it_lost)
{
    struct trace_record record = trace_rig_fault(3, 0, 3 << 12, 0);

    rig->total = 20;
    trace_rig_records(rig, 0, &record, 1, 4);
    record.sequence = 9;
    record.fault.gpa = 9 << 12;
    trace_rig_records(rig, 0, &record, 1, 6);
    trace_rig_records(rig, 1, NULL, 0, 12);
    struct trace_reader *reader = open_whole();
    cr_assert_eq(read_in_order(reader), 2);
    cr_assert_eq(coverage_of(reader).lost, 18);
    cr_assert_eq(coverage_of(reader).total, 20);
    trace_reader_close(reader);
}

Test(trace_reader, texts_are_found_by_their_keys)
{
    uint64_t number;
    const char *value;

    put_faults(0, 0, 1, 1);
    trace_rig_text(rig, "v_vm_faults=17\nend=guest\nhex=0x10\nempty=\n");
    struct trace_reader *reader = open_whole();
    cr_assert(coverage_of(reader).ended);
    cr_assert(trace_text_number(trace_reader_last_words(reader), "v_vm_faults", &number));
    cr_assert_eq(number, 17);
    cr_assert(trace_text_number(trace_reader_last_words(reader), "hex", &number));
    cr_assert_eq(number, 16);
    cr_assert_not(trace_text_number(trace_reader_last_words(reader), "end", &number));
    cr_assert_not(trace_text_number(trace_reader_last_words(reader), "empty", &number));
    cr_assert_not(trace_text_number(trace_reader_last_words(reader), "faults", &number));
    cr_assert_eq(trace_text_find(trace_reader_text(reader), "vcpus", &value), 1);
    cr_assert_eq(*value, '2');
    cr_assert_eq(trace_text_find("", "vcpus", &value), -1);
    trace_reader_close(reader);
}

Test(trace_reader, a_damaged_header_leaves_the_records)
{
    put_faults(0, 0, 1, 10);
    rig->bytes[sizeof(struct trace_header) + 2] ^= 0x20;
    struct trace_reader *reader = open_whole();
    cr_assert_eq(read_in_order(reader), 10);
    cr_assert(coverage_of(reader).header_damaged);
    cr_assert_str_eq(trace_reader_text(reader), "");
    trace_reader_close(reader);
}

/* --- While it is written ---------------------------------------------------- */

static void
refresh(struct trace_reader *reader)
{
    cr_assert(trace_rig_write(rig, path, rig->size));
    cr_assert_eq(trace_reader_refresh(reader), 0);
}

Test(trace_reader, what_has_come_since_is_found_in_the_last_chunk_and_in_new_ones)
{
    put_faults(0, 0, 2, 10);
    struct trace_reader *reader = open_whole();
    cr_assert_eq(read_in_order(reader), 10);
    put_faults(1, 1, 2, 5);
    refresh(reader);
    cr_assert_eq(read_in_order(reader), 15);
    trace_rig_chunk(rig, 1, 1);
    put_faults(0, 20, 1, 5);
    refresh(reader);
    cr_assert_eq(read_in_order(reader), 20);
    refresh(reader);
    cr_assert_eq(read_in_order(reader), 20);
    cr_assert_eq(coverage_of(reader).records, 20);
    cr_assert_eq(coverage_of(reader).segments, 3);
    cr_assert_not(coverage_of(reader).ended);
    trace_rig_text(rig, "v_vm_faults=20\n");
    refresh(reader);
    cr_assert(coverage_of(reader).ended);
    cr_assert_str_eq(trace_reader_last_words(reader), "v_vm_faults=20\n");
    trace_reader_close(reader);
}

Test(trace_reader, chunks_in_turns_are_all_looked_at_again)
{
    trace_rig_init(rig, "x=y\n", 1);
    put_faults(0, 0, 1, 10);
    trace_rig_chunk(rig, 1, 1);
    put_faults(0, 10, 1, 10);
    struct trace_reader *reader = open_whole();
    cr_assert_eq(read_in_order(reader), 20);
    trace_rig_chunk(rig, 0, 2);
    put_faults(0, 20, 1, 10);
    refresh(reader);
    cr_assert_eq(read_in_order(reader), 20);
    trace_reader_close(reader);
}

Test(trace_reader, damage_is_counted_once_however_often_the_file_is_looked_at)
{
    put_faults(0, 0, 1, 10);
    rig->bytes[TRACE_CHUNK + sizeof(struct trace_segment)] ^= 1;
    trace_rig_chunk(rig, 1, 1);
    put_faults(0, 10, 1, 10);
    struct trace_reader *reader = open_whole();
    cr_assert_eq(coverage_of(reader).damaged, 1);
    for (unsigned i = 0; i < 3; i++)
        refresh(reader);
    cr_assert_eq(coverage_of(reader).damaged, 1);
    cr_assert_eq(read_in_order(reader), 10);
    trace_reader_close(reader);
}

Test(trace_reader, another_trace_in_the_same_file_is_told)
{
    put_faults(0, 0, 1, 10);
    struct trace_reader *reader = open_whole();
    cr_assert(trace_rig_write(rig, path, TRACE_CHUNK));
    cr_assert_eq(trace_reader_refresh(reader), -ESTALE, "it is shorter");
    trace_rig_init(rig, "another=1\n", 0);
    put_faults(0, 0, 1, 20);
    cr_assert(trace_rig_write(rig, path, rig->size));
    cr_assert_eq(trace_reader_refresh(reader), -ESTALE, "it has another header");
    trace_reader_close(reader);
}

Test(trace_reader, segments_written_before_a_moment_can_be_left_out)
{
    rig->written = 100;
    put_faults(0, 0, 1, 10);
    put_faults(1, 10, 1, 10);
    rig->written = 200;
    put_faults(0, 20, 1, 5);
    struct trace_reader *reader = open_whole();
    trace_reader_since(reader, 101);
    cr_assert_eq(read_in_order(reader), 5);
    cr_assert_eq(coverage_of(reader).records, 25, "what there is stays");
    trace_reader_since(reader, 0);
    cr_assert_eq(read_in_order(reader), 25);
    trace_reader_close(reader);
}

Test(trace_reader, what_is_no_trace_is_refused)
{
    put_faults(0, 0, 1, 10);
    refused(0, -EPROTO, "empty");
    refused(20, -ENODATA, "cut off within its header");
    refused(7, -EPROTO, "no trace");
    rig->bytes[0] = 'V';
    refused(rig->size, -EPROTO, "no trace");
    rig->bytes[0] = 'v';
    rig->bytes[8] = TRACE_VERSION + 1;
    refused(rig->size, -ENOTSUP, "reads up to 2");
    rig->bytes[8] = 0;
    refused(rig->size, -ENOTSUP, "format 0");
}

Test(trace_reader, a_trace_of_the_first_format_is_read)
{
    struct trace_header header;

    memcpy(&header, rig->bytes, sizeof(header));
    header.version = 1;
    header.checksum = 0;
    header.checksum =
        trace_rig_checksum(&header, sizeof(header), rig->bytes + sizeof(header), header.text_size);
    memcpy(rig->bytes, &header, sizeof(header));
    put_faults(0, 0, 1, 10);
    cr_assert_eq(read_in_order(open_whole()), 10);
}

Test(trace_reader, a_segment_that_is_whole_but_holds_no_records_is_counted)
{
    struct trace_segment segment = { .kind = TRACE_SEGMENT_RECORDS, .nrecords = 3, .size = 16 };
    const uint8_t bytes[16] = { 0xff, 0xff, 0xff, 0xff };

    trace_rig_put(rig, &segment, bytes);
    put_faults(0, 0, 1, 5);
    struct trace_reader *reader = open_whole();
    cr_assert_eq(read_in_order(reader), 5);
    cr_assert_eq(coverage_of(reader).undecodable, 1);
    trace_reader_close(reader);
}

Test(trace_reader, records_that_could_not_be_decoded_are_not_counted_as_read)
{
    struct trace_segment segment = { .kind = TRACE_SEGMENT_RECORDS, .nrecords = 3, .size = 16 };
    const uint8_t bytes[16] = { 0xff, 0xff, 0xff, 0xff };
    struct trace_record record;

    trace_rig_put(rig, &segment, bytes);
    put_faults(0, 0, 1, 5);
    struct trace_reader *reader = open_whole();
    cr_assert_eq(read_in_order(reader), 5);
    cr_assert_eq(coverage_of(reader).records, 5);
    cr_assert_eq(coverage_of(reader).total, 8);
    trace_reader_rewind(reader);
    cr_assert_eq(trace_reader_next(reader, &record), 1);
    cr_assert_eq(read_in_order(reader), 4);
    cr_assert_eq(coverage_of(reader).records, 5);
    trace_reader_close(reader);
}

Test(trace_reader, a_segment_that_says_it_has_more_records_than_bytes_is_damaged)
{
    struct trace_segment segment = { .kind = TRACE_SEGMENT_RECORDS, .nrecords = 4, .size = 16 };
    const uint8_t bytes[16] = { 0xff };

    trace_rig_put(rig, &segment, bytes);
    put_faults(0, 0, 1, 5);
    struct trace_reader *reader = open_whole();
    cr_assert_eq(read_in_order(reader), 5);
    cr_assert_eq(coverage_of(reader).records, 5);
    cr_assert_eq(coverage_of(reader).damaged, 1);
    trace_reader_close(reader);
}

/* --- Damaged at random ------------------------------------------------------ */

static uint64_t
roll(uint64_t *dice)
{
    *dice = *dice * 6364136223846793005u + 1442695040888963407u;
    return *dice >> 33;
}

/* Bits, stretches of one byte, and cuts; also in the headers, which are what is most worth it. */
static void
damage(uint64_t *dice)
{
    unsigned hits = 1 + (unsigned)roll(dice) % 20;

    for (unsigned i = 0; i < hits; i++) {
        size_t at = roll(dice) % 4 == 0 ? roll(dice) % 128 : TRACE_CHUNK + roll(dice) % 4096;

        if (roll(dice) % 2 == 0)
            rig->bytes[at] ^= (uint8_t)(1u << roll(dice) % 8);
        else
            memset(rig->bytes + at, (int)roll(dice), roll(dice) % 64);
    }
    if (roll(dice) % 4 == 0)
        rig->size = roll(dice) % rig->size;
}

Test(trace_reader, of_200_damaged_files_each_is_refused_or_read_in_part)
{
    struct trace_reader *reader;
    struct failure failure;
    unsigned refusals = 0, parts = 0;
    uint64_t dice = 42;

    for (unsigned i = 0; i < DAMAGED_FILES; i++) {
        trace_rig_init(rig, "vcpus=2\n", i % 2);
        for (unsigned k = 0; k < 8; k++)
            put_faults(k % 3, k * 20, 1, 20);
        trace_rig_text(rig, "v_vm_faults=160\n");
        damage(&dice);
        cr_assert(trace_rig_write(rig, path, rig->size));
        if (trace_reader_open(path, &reader, &failure) != 0) {
            refusals++;
            continue;
        }
        cr_assert(read_in_order(reader) <= 160);
        parts++;
        trace_reader_close(reader);
    }
    cr_assert(refusals > 10 && parts > 100, "%u refused, %u read", refusals, parts);
}
