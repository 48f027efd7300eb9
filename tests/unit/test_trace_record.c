/* SPDX-License-Identifier: BSD-2-Clause */
/* Records and their bytes: each kind with random fields, there and back; then bytes that are none. */
#include "vmm/trace/trace_record.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 2000u

struct dice {
    uint64_t state;
};

static uint64_t
roll(struct dice *dice)
{
    dice->state = dice->state * 6364136223846793005u + 1442695040888963407u;
    return dice->state >> 32 | dice->state << 32;
}

/* Of any length: also those that need all ten bytes of a varint. */
static uint64_t
any(struct dice *dice)
{
    return roll(dice) >> roll(dice) % 64;
}

static unsigned
below(struct dice *dice, unsigned limit)
{
    return (unsigned)(roll(dice) % limit);
}

static unsigned
any_unsigned(struct dice *dice)
{
    return (unsigned)(any(dice) % UINT32_MAX);
}

static void
make_fault(struct dice *dice, struct trace_fault *fault)
{
    fault->access = below(dice, TRACE_ACCESS_COUNT);
    fault->arrival = below(dice, TRACE_ARRIVAL_COUNT);
    fault->gpa = any(dice);
    fault->duration = any(dice);
    fault->flags = any_unsigned(dice);
    fault->step = below(dice, FAULT_STEP_PAGE + 1);
    fault->window = below(dice, 2);
    fault->hardfault = below(dice, 2);
    fault->result = below(dice, VM_RESULT_COUNT);
    fault->entry_prot = below(dice, 8);
    fault->resolution = below(dice, TRACE_RESOLUTION_COUNT);
    fault->prefaulted = below(dice, 2) ? any_unsigned(dice) : 0;
    if (fault->prefaulted != 0) {
        fault->below = below(dice, TRACE_NEIGHBOURS_MAX);
        fault->above = below(dice, TRACE_NEIGHBOURS_MAX);
    }
    for (unsigned i = 0; i < VM_ERRAND_KINDS; i++)
        fault->waited[i] = below(dice, 2) ? any_unsigned(dice) : 0;
    if (fault->step >= FAULT_STEP_WALK)
        fault->nvptes = below(dice, VPTE_MAX_LEVELS + 2);
    for (unsigned i = 0; i < fault->nvptes; i++) {
        fault->vptes[i].before = any(dice);
        fault->vptes[i].after = any(dice);
    }
    if (fault->step >= FAULT_STEP_OBJECT) {
        fault->object = any(dice);
        fault->pindex = any(dice);
        fault->depth = any_unsigned(dice);
    }
    if (fault->step >= FAULT_STEP_PAGE) {
        fault->slot = any(dice);
        fault->source = any(dice);
    }
}

static void
make_others(struct dice *dice, struct trace_record *record)
{
    switch (record->kind) {
    case TRACE_EXCEPTION:
        record->exception = (struct trace_exception){ .vector = any_unsigned(dice),
                                                      .error_code = any_unsigned(dice),
                                                      .gpa = any(dice),
                                                      .result = below(dice, VM_RESULT_COUNT) };
        break;
    case TRACE_REGISTERS:
        record->registers = (struct trace_registers){ .fault = any(dice),
                                                      .rip = any(dice),
                                                      .cr3 = any(dice),
                                                      .linear = any(dice),
                                                      .cpl = below(dice, 4),
                                                      .error_code = any(dice),
                                                      .kernel_event = below(dice, 2) };
        if (record->registers.kernel_event)
            record->registers.gpa = any(dice);
        break;
    case TRACE_PAGEOUT:
        record->pageout = (struct trace_pageout){ .object = any(dice),
                                                  .pindex = any(dice),
                                                  .slot = any(dice),
                                                  .written = below(dice, 2),
                                                  .failed = below(dice, 2),
                                                  .freed = below(dice, 2) };
        break;
    case TRACE_INVAL:
    case TRACE_SETMAP:
    case TRACE_COPY:
        record->range = (struct trace_range){ .gpa = any(dice),
                                              .to = any(dice),
                                              .size = any(dice),
                                              .duration = any(dice),
                                              .root = any(dice),
                                              .status = (int)(int32_t)roll(dice) };
        break;
    case TRACE_VMSPACE:
        record->vmspace = (struct trace_vmspace){ .call = any_unsigned(dice),
                                                  .id = any(dice),
                                                  .duration = any(dice),
                                                  .status = (int)(int32_t)roll(dice) };
        break;
    case TRACE_SWITCH:
        record->switched.on = below(dice, 2);
        break;
    case TRACE_LOST:
        record->lost.count = any(dice);
        break;
    case TRACE_ENTRY:
        record->entry.lstar = any(dice);
        break;
    case TRACE_FAULT:
    case TRACE_KINDS:
        break;
    }
}

static void
make(struct dice *dice, enum trace_kind kind, struct trace_record *record)
{
    memset(record, 0, sizeof(*record));
    record->kind = kind;
    record->sequence = any(dice);
    record->time = any(dice);
    record->who = below(dice, TRACE_WHO_COUNT);
    if (record->who == TRACE_VCPU)
        record->number = any_unsigned(dice);
    if (kind == TRACE_FAULT)
        make_fault(dice, &record->fault);
    else
        make_others(dice, record);
}

/* Field by field, for what a union and its padding have. */
#define SAME(member) \
    cr_expect(memcmp(&(a)->member, &(b)->member, sizeof((a)->member)) == 0, #member)

static void
expect_same_fault(const struct trace_fault *a, const struct trace_fault *b)
{
    SAME(access);
    SAME(arrival);
    SAME(gpa);
    SAME(duration);
    SAME(flags);
    SAME(step);
    SAME(window);
    SAME(hardfault);
    SAME(result);
    SAME(entry_prot);
    SAME(resolution);
    SAME(prefaulted);
    SAME(below);
    SAME(above);
    SAME(nvptes);
    SAME(vptes);
    SAME(object);
    SAME(pindex);
    SAME(depth);
    SAME(slot);
    SAME(source);
    SAME(waited);
}

static void
expect_same_registers(const struct trace_registers *a, const struct trace_registers *b)
{
    SAME(fault);
    SAME(rip);
    SAME(cr3);
    SAME(linear);
    SAME(cpl);
    SAME(error_code);
    SAME(kernel_event);
    SAME(gpa);
}

static void
expect_same_range(const struct trace_range *a, const struct trace_range *b)
{
    SAME(gpa);
    SAME(to);
    SAME(size);
    SAME(duration);
    SAME(root);
    SAME(status);
}

static void
expect_same_pageout(const struct trace_pageout *a, const struct trace_pageout *b)
{
    SAME(object);
    SAME(pindex);
    SAME(slot);
    SAME(written);
    SAME(failed);
    SAME(freed);
}

static void
expect_same(const struct trace_record *a, const struct trace_record *b)
{
    SAME(kind);
    SAME(sequence);
    SAME(time);
    SAME(who);
    SAME(number);
    switch (a->kind) {
    case TRACE_FAULT:
        expect_same_fault(&a->fault, &b->fault);
        break;
    case TRACE_EXCEPTION:
        SAME(exception.vector);
        SAME(exception.error_code);
        SAME(exception.gpa);
        SAME(exception.result);
        break;
    case TRACE_REGISTERS:
        expect_same_registers(&a->registers, &b->registers);
        break;
    case TRACE_PAGEOUT:
        expect_same_pageout(&a->pageout, &b->pageout);
        break;
    case TRACE_INVAL:
    case TRACE_SETMAP:
    case TRACE_COPY:
        expect_same_range(&a->range, &b->range);
        break;
    case TRACE_VMSPACE:
        SAME(vmspace.call);
        SAME(vmspace.id);
        SAME(vmspace.duration);
        SAME(vmspace.status);
        break;
    case TRACE_SWITCH:
        SAME(switched.on);
        break;
    case TRACE_LOST:
        SAME(lost.count);
        break;
    case TRACE_ENTRY:
        SAME(entry.lstar);
        break;
    case TRACE_KINDS:
        break;
    }
}

static enum trace_kind
kind_of(unsigned round)
{
    return 1 + round % (TRACE_KINDS - 1);
}

Test(trace_record, a_record_of_each_kind_comes_back_as_it_was, .timeout = 60)
{
    struct trace_cursor writing = { 0 };
    struct trace_cursor reading = { 0 };
    struct dice dice = { 1 };

    for (unsigned round = 0; round < ROUNDS * TRACE_KINDS; round++) {
        struct trace_record record, back;
        uint8_t bytes[TRACE_RECORD_MAX];
        make(&dice, kind_of(round), &record);
        size_t size = trace_record_encode(&writing, &record, bytes);
        cr_assert(size <= sizeof(bytes));
        cr_assert(eq(long, trace_record_decode(&reading, bytes, size, &back), (ssize_t)size));
        expect_same(&record, &back);
        cr_assert(memcmp(&writing, &reading, sizeof(writing)) == 0);
    }
}

/* The allocation ends with the bytes: a read beyond is for the sanitizer to see. */
Test(trace_record, a_record_that_is_cut_off_is_refused_wherever, .timeout = 60)
{
    struct dice dice = { 2 };

    for (unsigned round = 0; round < 20 * TRACE_KINDS; round++) {
        struct trace_cursor cursor = { 0 };
        const struct trace_cursor start = cursor;
        struct trace_record record;
        uint8_t bytes[TRACE_RECORD_MAX];
        make(&dice, kind_of(round), &record);
        size_t size = trace_record_encode(&cursor, &record, bytes);
        for (size_t cut = 0; cut < size; cut++) {
            struct trace_cursor reading = start;
            uint8_t *copy = malloc(cut);
            if (cut > 0)
                memcpy(copy, bytes, cut);
            cr_expect(eq(long, trace_record_decode(&reading, copy, cut, &record), -EBADMSG));
            cr_expect(memcmp(&reading, &start, sizeof(start)) == 0, "the cursor stays");
            free(copy);
        }
    }
}

/* The size says less than the fields need. */
Test(trace_record, a_record_that_says_it_is_shorter_than_its_fields_is_refused, .timeout = 60)
{
    struct dice dice = { 3 };

    for (unsigned round = 0; round < 20 * TRACE_KINDS; round++) {
        struct trace_cursor cursor = { 0 };
        struct trace_record record;
        uint8_t bytes[TRACE_RECORD_MAX];
        make(&dice, kind_of(round), &record);
        size_t size = trace_record_encode(&cursor, &record, bytes);
        if (bytes[0] >= 0x80) /* the size has two bytes: another test's */
            continue;
        for (; bytes[0] > 0; bytes[0]--) {
            cursor = (struct trace_cursor){ 0 };
            if (bytes[0] < size - 1)
                cr_expect(eq(long, trace_record_decode(&cursor, bytes, size, &record), -EBADMSG));
        }
    }
}

Test(trace_record, fields_behind_the_known_ones_are_ignored)
{
    struct trace_cursor cursor = { 0 };
    struct trace_record record = { .kind = TRACE_SWITCH, .who = TRACE_MONITOR };
    uint8_t bytes[TRACE_RECORD_MAX];
    size_t size;

    record.switched.on = true;
    size = trace_record_encode(&cursor, &record, bytes);
    bytes[0] += 3;
    memset(&bytes[size], 0xff, 3);
    cursor = (struct trace_cursor){ 0 };
    cr_assert(eq(long, trace_record_decode(&cursor, bytes, size + 3, &record), (ssize_t)size + 3));
    cr_expect(record.switched.on);
}

Test(trace_record, a_kind_that_is_not_known_is_told_with_what_all_kinds_have)
{
    struct trace_cursor cursor = { 0 };
    struct trace_record record = {
        .kind = TRACE_LOST, .sequence = 77, .time = 1000, .who = TRACE_VCPU, .number = 3
    };
    uint8_t bytes[TRACE_RECORD_MAX];
    size_t size = trace_record_encode(&cursor, &record, bytes);

    bytes[1] = TRACE_KINDS + 5;
    cursor = (struct trace_cursor){ 0 };
    cr_assert(eq(long, trace_record_decode(&cursor, bytes, size, &record), (ssize_t)size));
    cr_expect(eq(int, record.kind, TRACE_KINDS));
    cr_expect(eq(u64, record.sequence, 77));
    cr_expect(eq(u64, record.time, 1000));
    cr_expect(eq(u32, record.number, 3));
}

static void
expect_refused(const uint8_t *bytes, size_t size, const char *what)
{
    struct trace_cursor cursor = { 0 };
    struct trace_record record;

    cr_expect(eq(long, trace_record_decode(&cursor, bytes, size, &record), -EBADMSG), "%s", what);
}

Test(trace_record, values_outside_their_range_are_refused)
{
    static const uint8_t no_kind[] = { 4, 0, 0, 0, 1 };
    static const uint8_t who[] = { 5, TRACE_SWITCH, 0, 0, TRACE_WHO_COUNT, 1 };
    static const uint8_t on[] = { 5, TRACE_SWITCH, 0, 0, 1, 2 };
    static const uint8_t access_arrival[] = { 15, TRACE_FAULT, 0, 0, 1, 7 << 2, 0, 0,
                                              0,  0,           0, 0, 0, 0,      0, 0 };
    static const uint8_t endless[] = { 14,   TRACE_LOST, 0,    0,    1,    0x80, 0x80, 0x80,
                                       0x80, 0x80,       0x80, 0x80, 0x80, 0x80, 0x80 };
    static const uint8_t too_large[] = { 14,   TRACE_LOST, 0,    0,    1,    0xff, 0xff, 0xff,
                                         0xff, 0xff,       0xff, 0xff, 0xff, 0xff, 2 };

    expect_refused(no_kind, sizeof(no_kind), "kind 0");
    expect_refused(who, sizeof(who), "nobody");
    expect_refused(on, sizeof(on), "neither on nor off");
    expect_refused(access_arrival, sizeof(access_arrival), "no arrival");
    expect_refused(endless, sizeof(endless), "a varint without an end");
    expect_refused(too_large, sizeof(too_large), "a varint of 65 bits");
}

/* Who reads it goes through all of them. */
Test(trace_record, neighbours_in_a_number_that_no_run_has_are_refused)
{
    struct trace_record record = { .kind = TRACE_FAULT,
                                   .fault = { .prefaulted = 1, .below = TRACE_NEIGHBOURS_MAX } };
    struct trace_cursor cursor = { 0 };
    uint8_t bytes[TRACE_RECORD_MAX];

    (void)trace_record_encode(&cursor, &record, bytes);
    expect_refused(bytes, sizeof(bytes), "neighbours below");
    record.fault.below = 0;
    record.fault.above = TRACE_NEIGHBOURS_MAX;
    (void)trace_record_encode(&cursor, &record, bytes);
    expect_refused(bytes, sizeof(bytes), "neighbours above");
}

Test(trace_record, a_fault_like_the_one_before_it_takes_under_32_bytes)
{
    struct trace_cursor cursor = { .sequence = 1000000, .time = 1u << 30, .gpa = 0x12345000 };
    struct trace_record record = {
        .kind = TRACE_FAULT,
        .sequence = 1000001,
        .time = (1u << 30) + 50000,
        .who = TRACE_VCPU,
        .number = 1,
        .fault = { .access = TRACE_WRITE,
                   .gpa = 0x12346000,
                   .duration = 12345,
                   .flags = 1,
                   .step = FAULT_STEP_PAGE,
                   .entry_prot = 7,
                   .resolution = TRACE_ZERO_FILL,
                   .object = 4,
                   .pindex = 0x12346,
                   .slot = 0x22346,
                   .source = 0x22346 },
    };
    uint8_t bytes[TRACE_RECORD_MAX];

    cr_expect(lt(sz, trace_record_encode(&cursor, &record, bytes), 32));
}
