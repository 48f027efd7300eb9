/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A record and its bytes.  For each kind the writer and the reader stand together, and name the
 * fields in one order; docs/trace-format.md is that order in words.
 *
 * The reader trusts nothing: a read beyond the record's end yields 0 and is remembered, as is a
 * value outside its range, and one test at the record's end refuses it.
 */
#include "vmm/trace/trace_record.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* Fields of a few bits that share a byte. */
#define ACCESS_BITS 2u
#define ARRIVAL_BITS 3u
#define PROT_BITS 3u

static_assert(TRACE_ACCESS_COUNT <= 1 << ACCESS_BITS && TRACE_ARRIVAL_COUNT <= 1 << ARRIVAL_BITS,
              "they share a byte");

/* --- Varints --------------------------------------------------------------- */

/* Bytes being written: there is room for TRACE_RECORD_MAX. */
struct writer {
    struct trace_cursor *cursor;
    uint8_t *at;
};

/* Bytes being read. */
struct reader {
    struct trace_cursor *cursor;
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
};

static void
put(struct writer *w, uint64_t value)
{
    while (value >= 0x80) {
        *w->at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *w->at++ = (uint8_t)value;
}

static uint64_t
get(struct reader *r)
{
    uint64_t value = 0;

    for (unsigned shift = 0; r->at < r->end && shift < 64; shift += 7) {
        uint64_t bits = *r->at & 0x7f;
        if (shift == 63 && bits > 1)
            break;
        value |= bits << shift;
        if ((*r->at++ & 0x80) == 0)
            return value;
    }
    r->bad = true;
    return 0;
}

/* Small numbers of either sign are short: 0, -1, 1, -2 become 0, 1, 2, 3. */
static void
put_signed(struct writer *w, int64_t value)
{
    put(w, ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0));
}

static int64_t
get_signed(struct reader *r)
{
    uint64_t value = get(r);

    return (int64_t)((value >> 1) ^ ((value & 1) != 0 ? UINT64_MAX : 0));
}

/* A difference to *before, which becomes the value; it wraps. */
static void
put_near(struct writer *w, uint64_t *before, uint64_t value)
{
    put_signed(w, (int64_t)(value - *before));
    *before = value;
}

static uint64_t
get_near(struct reader *r, uint64_t *before)
{
    *before += (uint64_t)get_signed(r);
    return *before;
}

/* A value that is below `limit`; 0 for one that is not, and the record is refused. */
static unsigned
check(struct reader *r, uint64_t value, unsigned limit)
{
    if (value < limit)
        return (unsigned)value;
    r->bad = true;
    return 0;
}

static unsigned
get_below(struct reader *r, unsigned limit)
{
    return check(r, get(r), limit);
}

static unsigned
get_unsigned(struct reader *r)
{
    return get_below(r, UINT32_MAX);
}

static int
get_int(struct reader *r)
{
    int64_t value = get_signed(r);

    if (value >= INT32_MIN && value <= INT32_MAX)
        return (int)value;
    r->bad = true;
    return 0;
}

/* --- Faults ---------------------------------------------------------------- */

static void
put_vptes(struct writer *w, const struct trace_fault *fault)
{
    put(w, fault->nvptes);
    for (unsigned i = 0; i < fault->nvptes; i++) {
        put(w, fault->vptes[i].before);
        put(w, fault->vptes[i].before ^ fault->vptes[i].after);
    }
}

static void
get_vptes(struct reader *r, struct trace_fault *fault)
{
    fault->nvptes = get_below(r, VPTE_MAX_LEVELS + 2);
    for (unsigned i = 0; i < fault->nvptes; i++) {
        fault->vptes[i].before = get(r);
        fault->vptes[i].after = fault->vptes[i].before ^ get(r);
    }
}

/* Mostly nothing: which of them there are, and those. */
static void
put_waited(struct writer *w, const unsigned *waited)
{
    unsigned which = 0;

    for (unsigned i = 0; i < VM_ERRAND_KINDS; i++)
        which |= (waited[i] != 0) << i;
    put(w, which);
    for (unsigned i = 0; i < VM_ERRAND_KINDS; i++)
        if (waited[i] != 0)
            put(w, waited[i]);
}

static void
get_waited(struct reader *r, unsigned *waited)
{
    unsigned which = get_below(r, 1u << VM_ERRAND_KINDS);

    for (unsigned i = 0; i < VM_ERRAND_KINDS; i++)
        waited[i] = (which & 1u << i) != 0 ? get_unsigned(r) : 0;
}

/* What there is depends on how far the fault came. */
static void
put_fault(struct writer *w, const struct trace_fault *fault)
{
    put(w, fault->access | fault->arrival << ACCESS_BITS |
               fault->step << (ACCESS_BITS + ARRIVAL_BITS));
    put(w, (unsigned)fault->window | (unsigned)fault->hardfault << 1 | fault->result << 2);
    put(w, fault->entry_prot | fault->resolution << PROT_BITS);
    put_near(w, &w->cursor->gpa, fault->gpa);
    put(w, fault->duration);
    put(w, fault->flags);
    put(w, fault->prefaulted);
    put_waited(w, fault->waited);
    if (fault->step >= FAULT_STEP_WALK)
        put_vptes(w, fault);
    if (fault->step >= FAULT_STEP_OBJECT) {
        put(w, fault->object);
        put(w, fault->pindex);
        put(w, fault->depth);
    }
    if (fault->step >= FAULT_STEP_PAGE) {
        put(w, fault->slot);
        put_signed(w, (int64_t)(fault->source - fault->slot));
    }
    if (fault->prefaulted != 0) {
        put(w, fault->below);
        put(w, fault->above);
    }
}

static void
get_fault_how(struct reader *r, struct trace_fault *fault)
{
    uint64_t how = get(r);
    uint64_t came = get(r);
    uint64_t what = get(r);

    fault->access = check(r, how % (1u << ACCESS_BITS), TRACE_ACCESS_COUNT);
    fault->arrival = check(r, (how >> ACCESS_BITS) % (1u << ARRIVAL_BITS), TRACE_ARRIVAL_COUNT);
    fault->step = check(r, how >> (ACCESS_BITS + ARRIVAL_BITS), FAULT_STEP_PAGE + 1);
    fault->window = (came & 1) != 0;
    fault->hardfault = (came & 2) != 0;
    fault->result = check(r, came >> 2, VM_RESULT_COUNT);
    fault->entry_prot = what % (1u << PROT_BITS);
    fault->resolution = check(r, what >> PROT_BITS, TRACE_RESOLUTION_COUNT);
}

static void
get_fault(struct reader *r, struct trace_fault *fault)
{
    get_fault_how(r, fault);
    fault->gpa = get_near(r, &r->cursor->gpa);
    fault->duration = get(r);
    fault->flags = get_unsigned(r);
    fault->prefaulted = get_unsigned(r);
    get_waited(r, fault->waited);
    if (fault->step >= FAULT_STEP_WALK)
        get_vptes(r, fault);
    if (fault->step >= FAULT_STEP_OBJECT) {
        fault->object = get(r);
        fault->pindex = get(r);
        fault->depth = get_unsigned(r);
    }
    if (fault->step >= FAULT_STEP_PAGE) {
        fault->slot = get(r);
        fault->source = fault->slot + (uint64_t)get_signed(r);
    }
    if (fault->prefaulted != 0) {
        fault->below = get_below(r, TRACE_NEIGHBOURS_MAX);
        fault->above = get_below(r, TRACE_NEIGHBOURS_MAX);
    }
}

/* --- The other kinds ------------------------------------------------------- */

static void
put_exception(struct writer *w, const struct trace_exception *exception)
{
    put(w, exception->vector);
    put(w, exception->error_code);
    put_near(w, &w->cursor->gpa, exception->gpa);
    put(w, exception->result);
}

static void
get_exception(struct reader *r, struct trace_exception *exception)
{
    exception->vector = get_unsigned(r);
    exception->error_code = get_unsigned(r);
    exception->gpa = get_near(r, &r->cursor->gpa);
    exception->result = get_below(r, VM_RESULT_COUNT);
}

static void
put_registers(struct writer *w, const struct trace_registers *registers)
{
    put_signed(w, (int64_t)(registers->fault - w->cursor->sequence));
    put(w, registers->rip);
    put(w, registers->cr3);
    put(w, registers->linear + 1); /* TRACE_NONE is the shortest */
    put(w, registers->cpl | (unsigned)registers->kernel_event << 2);
    put(w, registers->error_code);
    if (registers->kernel_event)
        put(w, registers->gpa);
}

static void
get_registers(struct reader *r, struct trace_registers *registers)
{
    unsigned how;

    registers->fault = r->cursor->sequence + (uint64_t)get_signed(r);
    registers->rip = get(r);
    registers->cr3 = get(r);
    registers->linear = get(r) - 1;
    how = get_below(r, 1u << 3);
    registers->cpl = how & 3;
    registers->kernel_event = (how & 4) != 0;
    registers->error_code = get(r);
    registers->gpa = registers->kernel_event ? get(r) : 0;
}

static void
put_pageout(struct writer *w, const struct trace_pageout *pageout)
{
    put(w, pageout->object);
    put(w, pageout->pindex);
    put(w, pageout->slot);
    put(w, (unsigned)pageout->written | (unsigned)pageout->failed << 1 |
               (unsigned)pageout->freed << 2);
}

static void
get_pageout(struct reader *r, struct trace_pageout *pageout)
{
    unsigned how;

    pageout->object = get(r);
    pageout->pindex = get(r);
    pageout->slot = get(r);
    how = get_below(r, 1u << 3);
    pageout->written = (how & 1) != 0;
    pageout->failed = (how & 2) != 0;
    pageout->freed = (how & 4) != 0;
}

static void
put_range(struct writer *w, const struct trace_range *range)
{
    put_near(w, &w->cursor->gpa, range->gpa);
    put_signed(w, (int64_t)(range->to - range->gpa));
    put(w, range->size);
    put(w, range->duration);
    put(w, range->root);
    put_signed(w, range->status);
}

static void
get_range(struct reader *r, struct trace_range *range)
{
    range->gpa = get_near(r, &r->cursor->gpa);
    range->to = range->gpa + (uint64_t)get_signed(r);
    range->size = get(r);
    range->duration = get(r);
    range->root = get(r);
    range->status = get_int(r);
}

static void
put_vmspace(struct writer *w, const struct trace_vmspace *vmspace)
{
    put(w, vmspace->call);
    put(w, vmspace->id);
    put(w, vmspace->duration);
    put_signed(w, vmspace->status);
}

static void
get_vmspace(struct reader *r, struct trace_vmspace *vmspace)
{
    vmspace->call = get_unsigned(r);
    vmspace->id = get(r);
    vmspace->duration = get(r);
    vmspace->status = get_int(r);
}

/* --- Records --------------------------------------------------------------- */

static void
put_body(struct writer *w, const struct trace_record *record)
{
    switch (record->kind) {
    case TRACE_FAULT:
        put_fault(w, &record->fault);
        break;
    case TRACE_EXCEPTION:
        put_exception(w, &record->exception);
        break;
    case TRACE_REGISTERS:
        put_registers(w, &record->registers);
        break;
    case TRACE_PAGEOUT:
        put_pageout(w, &record->pageout);
        break;
    case TRACE_INVAL:
    case TRACE_SETMAP:
    case TRACE_COPY:
        put_range(w, &record->range);
        break;
    case TRACE_VMSPACE:
        put_vmspace(w, &record->vmspace);
        break;
    case TRACE_SWITCH:
        put(w, record->switched.on);
        break;
    case TRACE_LOST:
        put(w, record->lost.count);
        break;
    case TRACE_ENTRY:
        put(w, record->entry.lstar);
        break;
    case TRACE_KINDS:
        break;
    }
}

static void
get_body(struct reader *r, struct trace_record *record)
{
    switch (record->kind) {
    case TRACE_FAULT:
        get_fault(r, &record->fault);
        break;
    case TRACE_EXCEPTION:
        get_exception(r, &record->exception);
        break;
    case TRACE_REGISTERS:
        get_registers(r, &record->registers);
        break;
    case TRACE_PAGEOUT:
        get_pageout(r, &record->pageout);
        break;
    case TRACE_INVAL:
    case TRACE_SETMAP:
    case TRACE_COPY:
        get_range(r, &record->range);
        break;
    case TRACE_VMSPACE:
        get_vmspace(r, &record->vmspace);
        break;
    case TRACE_SWITCH:
        record->switched.on = get_below(r, 2) != 0;
        break;
    case TRACE_LOST:
        record->lost.count = get(r);
        break;
    case TRACE_ENTRY:
        record->entry.lstar = get(r);
        break;
    case TRACE_KINDS:
        break;
    }
}

size_t
trace_record_encode(struct trace_cursor *cursor, const struct trace_record *record, uint8_t *to)
{
    uint8_t body[TRACE_RECORD_MAX];
    struct writer w = { .cursor = cursor, .at = body };
    struct writer size = { .at = to };
    size_t length;

    *w.at++ = (uint8_t)record->kind;
    put_near(&w, &cursor->sequence, record->sequence);
    put_near(&w, &cursor->time, record->time);
    put(&w, record->who);
    if (record->who == TRACE_VCPU)
        put(&w, record->number);
    put_body(&w, record);
    length = (size_t)(w.at - body);
    put(&size, length);
    memcpy(size.at, body, length);
    return (size_t)(size.at - to) + length;
}

/* The record that is all of r's bytes.  What stands behind the known fields is ignored. */
static bool
read_record(struct reader *r, struct trace_record *record)
{
    unsigned kind = r->at < r->end ? *r->at++ : 0;

    *record = (struct trace_record){ .kind = kind < TRACE_KINDS ? kind : TRACE_KINDS };
    record->sequence = get_near(r, &r->cursor->sequence);
    record->time = get_near(r, &r->cursor->time);
    record->who = get_below(r, TRACE_WHO_COUNT);
    if (record->who == TRACE_VCPU)
        record->number = get_unsigned(r);
    get_body(r, record);
    return kind != 0 && !r->bad;
}

ssize_t
trace_record_decode(struct trace_cursor *cursor, const uint8_t *from, size_t size,
                    struct trace_record *record)
{
    struct trace_cursor next = *cursor;
    struct trace_record read;
    struct reader r = { .cursor = &next, .at = from, .end = from + size };
    uint64_t length = get(&r);

    if (r.bad || length > (size_t)(r.end - r.at))
        return -EBADMSG;
    r.end = r.at + length;
    if (!read_record(&r, &read))
        return -EBADMSG;
    *cursor = next;
    *record = read;
    return r.end - from;
}
