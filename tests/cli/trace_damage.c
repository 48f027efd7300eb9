/* SPDX-License-Identifier: BSD-2-Clause */
/* Damaged traces. */
#include "tests/cli/trace_damage.h"

#include <stdbool.h>

#define RECORDS 40u
#define LANES 3u
#define TEXT 512u

enum damage {
    DAMAGE_VALUES,
    DAMAGE_BYTES,
    DAMAGE_SEGMENTS,
    DAMAGE_TEXTS,
    DAMAGE_ANYTHING,
    DAMAGE_KINDS
};

static uint64_t
roll(uint64_t *dice)
{
    *dice = *dice * 6364136223846793005u + 1442695040888963407u;
    return *dice >> 33;
}

/* A value that somebody may have forgotten. */
static uint64_t
odd(uint64_t *dice)
{
    const uint64_t values[] = {
        0,
        1,
        0x1000,
        UINT32_MAX,
        INT64_MAX,
        UINT64_MAX - 4095,
        UINT64_MAX,
        roll(dice),
        roll(dice) << 12,
        roll(dice) << 33 | roll(dice) << 2,
    };

    return values[roll(dice) % (sizeof(values) / sizeof(values[0]))];
}

/* --- Records --------------------------------------------------------------- */

static void
fill_fault(uint64_t *dice, struct trace_fault *fault)
{
    *fault = (struct trace_fault){
        .access = roll(dice) % TRACE_ACCESS_COUNT,
        .arrival = roll(dice) % TRACE_ARRIVAL_COUNT,
        .gpa = odd(dice),
        .duration = odd(dice),
        .flags = (unsigned)roll(dice) % 4 == 0 ? (unsigned)odd(dice) : 0,
        .step = roll(dice) % (FAULT_STEP_PAGE + 1),
        .window = roll(dice) % 2,
        .hardfault = roll(dice) % 2,
        .result = roll(dice) % 2 == 0 ? VM_OK : roll(dice) % VM_RESULT_COUNT,
        .entry_prot = roll(dice) % 8,
        .resolution = roll(dice) % TRACE_RESOLUTION_COUNT,
        .prefaulted = (unsigned)odd(dice),
        .below = (unsigned)odd(dice),
        .above = (unsigned)odd(dice),
        .nvptes = (unsigned)roll(dice) % (VPTE_MAX_LEVELS + 2),
        .object = odd(dice),
        .pindex = odd(dice),
        .depth = (unsigned)odd(dice),
        .slot = odd(dice),
        .source = odd(dice),
    };
    for (unsigned i = 0; i < fault->nvptes; i++)
        fault->vptes[i] = (struct trace_vpte){ odd(dice), odd(dice) };
    for (unsigned i = 0; i < VM_ERRAND_KINDS; i++)
        fault->waited[i] = (unsigned)odd(dice);
}

static void
fill_other(uint64_t *dice, struct trace_record *record)
{
    switch (record->kind) {
    case TRACE_EXCEPTION:
        record->exception = (struct trace_exception){ .vector = (unsigned)odd(dice),
                                                      .error_code = (unsigned)odd(dice),
                                                      .gpa = odd(dice),
                                                      .result = roll(dice) % VM_RESULT_COUNT };
        break;
    case TRACE_REGISTERS:
        record->registers = (struct trace_registers){ .fault = roll(dice) % RECORDS,
                                                      .rip = odd(dice),
                                                      .cr3 = odd(dice),
                                                      .linear = odd(dice),
                                                      .cpl = roll(dice) % 4,
                                                      .kernel_event = roll(dice) % 2,
                                                      .error_code = odd(dice),
                                                      .gpa = odd(dice) };
        break;
    case TRACE_PAGEOUT:
        record->pageout =
            (struct trace_pageout){ odd(dice), odd(dice), odd(dice), true, false, roll(dice) % 2 };
        break;
    case TRACE_VMSPACE:
        record->vmspace =
            (struct trace_vmspace){ (unsigned)odd(dice), odd(dice), odd(dice), (int)odd(dice) };
        break;
    case TRACE_INVAL:
    case TRACE_SETMAP:
    case TRACE_COPY:
        record->range = (struct trace_range){ odd(dice), odd(dice), odd(dice),
                                              odd(dice), odd(dice), (int)odd(dice) };
        break;
    case TRACE_SWITCH:
        record->switched.on = roll(dice) % 2;
        break;
    case TRACE_LOST:
        record->lost.count = odd(dice);
        break;
    default:
        record->entry.lstar = odd(dice);
    }
}

/* Half of them as a VM has them. */
static struct trace_record
make_record(uint64_t *dice, uint64_t sequence, bool odd_ones)
{
    unsigned vcpu = (unsigned)roll(dice) % 2;
    struct trace_record record =
        trace_rig_fault(sequence, vcpu, roll(dice) % 64 << 12, sequence * 10);

    if (!odd_ones || roll(dice) % 2 == 0)
        return record;
    record.time = roll(dice) % 4 == 0 ? odd(dice) : record.time;
    record.sequence = roll(dice) % 8 == 0 ? odd(dice) : sequence;
    record.who = roll(dice) % TRACE_WHO_COUNT;
    record.number = record.who == TRACE_VCPU ? (unsigned)odd(dice) : 0;
    if (roll(dice) % 2 == 0) {
        fill_fault(dice, &record.fault);
    } else {
        record.kind = TRACE_FAULT + 1 + roll(dice) % (TRACE_KINDS - TRACE_FAULT - 1);
        fill_other(dice, &record);
    }
    return record;
}

/* --- Damage ---------------------------------------------------------------- */

static void
change(uint64_t *dice, uint8_t *bytes, size_t size)
{
    unsigned hits = 1 + (unsigned)roll(dice) % 8;

    for (unsigned i = 0; size != 0 && i < hits; i++)
        bytes[roll(dice) % size] ^= (uint8_t)(1u << roll(dice) % 8);
}

/* The segment at `at` once more, with a checksum that fits. */
static void
sign(struct trace_rig *rig, size_t at, struct trace_segment *segment)
{
    size_t room = sizeof(rig->bytes) - at - sizeof(*segment);

    segment->checksum = 0;
    segment->checksum =
        trace_rig_checksum(segment, sizeof(*segment), rig->bytes + at + sizeof(*segment),
                           segment->size < room ? segment->size : room);
    memcpy(rig->bytes + at, segment, sizeof(*segment));
}

static void
damage_segment(struct trace_rig *rig, size_t at, enum damage kind, uint64_t *dice)
{
    struct trace_segment segment;

    memcpy(&segment, rig->bytes + at, sizeof(segment));
    if (kind == DAMAGE_BYTES)
        change(dice, rig->bytes + at + sizeof(segment), segment.size);
    if (kind == DAMAGE_SEGMENTS && roll(dice) % 2 == 0)
        segment.nrecords = (uint32_t)odd(dice);
    if (kind == DAMAGE_SEGMENTS && roll(dice) % 2 == 0)
        change(dice, (uint8_t *)&segment.chunk, sizeof(segment) - 8);
    sign(rig, at, &segment);
}

static void
damage_anything(struct trace_rig *rig, uint64_t *dice)
{
    unsigned hits = 1 + (unsigned)roll(dice) % 20;

    for (unsigned i = 0; i < hits; i++) {
        size_t at = roll(dice) % 4 == 0 ? roll(dice) % 128 : TRACE_CHUNK + roll(dice) % 4096;
        if (roll(dice) % 2 == 0)
            change(dice, rig->bytes + at, 1);
        else
            memset(rig->bytes + at, (int)roll(dice), roll(dice) % 64);
    }
    if (roll(dice) % 4 == 0)
        rig->size = roll(dice) % rig->size;
}

/* Lines as a trace has them, with numbers that it does not, and bytes changed. */
static void
make_text(uint64_t *dice, enum damage kind, char text[TEXT])
{
    bool damaged = kind == DAMAGE_TEXTS;

    snprintf(text, TEXT,
             "program=vkvm\nvcpus=2\nram=0x%llx+0x%llx\nwindow=0x%llx+0x%llx vpte64\n"
             "file=0x%llx+0x%llx /tmp/a;b,c\nimage=/dev/zero\nkernel=recorded\n"
             "v_vm_faults=%llu\nkernel_lost=%llu\nlstar=0x%llx\n",
             damaged ? (unsigned long long)odd(dice) : 0,
             damaged ? (unsigned long long)odd(dice) : 0x100000, (unsigned long long)odd(dice),
             (unsigned long long)odd(dice), (unsigned long long)odd(dice),
             (unsigned long long)odd(dice), (unsigned long long)odd(dice),
             (unsigned long long)odd(dice), (unsigned long long)odd(dice));
    if (damaged && roll(dice) % 2 == 0)
        change(dice, (uint8_t *)text, strlen(text));
}

void
trace_damage_fill(struct trace_rig *rig, unsigned seed)
{
    enum damage kind = seed % DAMAGE_KINDS;
    struct trace_record records[RECORDS];
    uint64_t dice = seed + 1;
    char text[TEXT];

    make_text(&dice, kind, text);
    trace_rig_init(rig, text, roll(&dice) % 2);
    for (unsigned lane = 0; lane < LANES; lane++) {
        size_t at = rig->at;
        for (unsigned i = 0; i < RECORDS; i++)
            records[i] = make_record(&dice, i * LANES + lane, kind < DAMAGE_SEGMENTS);
        trace_rig_records(rig, lane, records, RECORDS, roll(&dice) % 2);
        if (kind == DAMAGE_BYTES || kind == DAMAGE_SEGMENTS)
            damage_segment(rig, at, kind, &dice);
    }
    make_text(&dice, kind, text);
    trace_rig_text(rig, text);
    if (kind == DAMAGE_ANYTHING)
        damage_anything(rig, &dice);
}
