/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernel's events say of a record that is right, and of ones that are not. */
#include "vmm/trace_tool/tool.h"

#include "tests/unit/trace_rig.h"

#include <criterion/criterion.h>

static struct trace_rig *rig;
static char path[] = "/tmp/vkvm-trace-XXXXXX";
static char *output;

static void
set_up(void)
{
    rig = trace_rig_create(path, "kernel=recorded\nvcpus=2\nram=0x0+0x100000\n");
    cr_assert(rig != NULL);
}

static void
tear_down(void)
{
    unlink(path);
    free(rig);
    free(output);
}

TestSuite(trace_check, .init = set_up, .fini = tear_down);

static struct trace_record
event_of(uint64_t sequence, unsigned vcpu, uint64_t gpa, uint64_t us, uint64_t error_code)
{
    return (struct trace_record){
        .kind = TRACE_REGISTERS,
        .sequence = sequence,
        .time = TRACE_RIG_STARTED + us * 1000,
        .who = TRACE_VCPU,
        .number = vcpu,
        .registers = { .fault = TRACE_NONE,
                       .rip = 0x400000,
                       .linear = TRACE_NONE,
                       .kernel_event = true,
                       .error_code = error_code,
                       .gpa = gpa },
    };
}

/* The faults of a run that the kernel saw in the same way: 0 to 3 are vCPU 0's. */
enum {
    WRITE_1000,
    READ_2000,
    FETCH_3000,
    WRITE_2000,
    OTHERS_4000,
    EMULATED,
    OWN,
    FAULTS
};

static void
make_faults(struct trace_record faults[FAULTS])
{
    faults[WRITE_1000] = trace_rig_fault(0, 0, 0x1010, 10);
    faults[READ_2000] = trace_rig_fault(1, 0, 0x2000, 20);
    faults[READ_2000].fault.access = TRACE_READ;
    faults[READ_2000].fault.depth = 1; /* another object's page: not to be written to */
    faults[FETCH_3000] = trace_rig_fault(2, 0, 0x3000, 30);
    faults[FETCH_3000].fault.access = TRACE_READ; /* a message knows no fetch */
    faults[WRITE_2000] = trace_rig_fault(3, 0, 0x2000, 40);
    faults[OTHERS_4000] = trace_rig_fault(4, 1, 0x4000, 15);
    faults[EMULATED] = trace_rig_fault(5, 1, 0x5000, 25);
    faults[EMULATED].fault.arrival = TRACE_MMIO;
    faults[OWN] = trace_rig_fault(6, 1, 0x6000, 35); /* the page of the event before it is there */
}

/* They stand behind the faults, as they come late; 0x1000 is looked at again, 0xfee00000 a device's. */
static void
put_events(uint64_t sequence)
{
    struct trace_record events[] = {
        event_of(6, 0, 0x1010, 9, TRACE_PFERR_WRITE | TRACE_PFERR_GUEST_PAGE),
        event_of(7, 0, 0x1018, 12, TRACE_PFERR_WRITE),
        event_of(8, 0, 0x2000, 19, 0),
        event_of(9, 0, 0x3000, 29, TRACE_PFERR_FETCH),
        event_of(10, 1, 0x4000, 14, TRACE_PFERR_WRITE),
        event_of(11, 0, 0x2ff8, 39, TRACE_PFERR_WRITE),
        event_of(12, 0, 0xfee000b0, 49, TRACE_PFERR_WRITE),
    };

    for (unsigned i = 0; i < 7; i++)
        events[i].sequence = sequence + i;
    trace_rig_records(rig, 2, events, 7, 0);
}

/* Write these faults and the events, compare.  Returns the exit status; `output` is what was printed. */
static int
check(struct trace_record *faults, uint32_t count, const char *last_words)
{
    const struct tool_options options = { .files = { path }, .nfiles = 1, .top = 10 };
    struct failure failure = { .message = "" };
    size_t size;
    FILE *to = open_memstream(&output, &size);
    int status;

    for (uint32_t i = 0; i < count; i++)
        faults[i].sequence = i;
    trace_rig_records(rig, 0, faults, count, 0);
    put_events(count);
    trace_rig_text(rig, last_words);
    cr_assert(trace_rig_write(rig, path, rig->size));
    status = trace_check_verb.run(&options, to, &failure);
    fclose(to);
    if (failure.message[0] != '\0') {
        free(output);
        output = strdup(failure.message);
    }
    return status;
}

static bool
says(const char *text)
{
    return strstr(output, text) != NULL;
}

Test(trace_check, a_record_as_the_kernel_saw_it_agrees)
{
    struct trace_record faults[FAULTS];

    make_faults(faults);
    cr_expect_eq(check(faults, FAULTS, "kernel_lost=0\n"), 0, "%s", output);
    cr_expect(says("they agree"), "%s", output);
    cr_expect(says("  of an instruction that KVM emulates                     1\n"), "%s", output);
    cr_expect(says("  of KVM itself, for the guest                            1\n"), "%s", output);
    cr_expect(says("  of a fault                                              5\n"), "%s", output);
    cr_expect(says("  a second look at a page that is there                   1\n"), "%s", output);
    cr_expect(says("  at a device's address                                   1\n"), "%s", output);
}

/* 0x4000's event is the newest; with its fault refused vkvm asks KVM where the instruction's operands are. */
Test(trace_check, what_kvm_reads_after_a_refused_access_is_its_own)
{
    struct trace_record faults[FAULTS];

    make_faults(faults);
    faults[OTHERS_4000].fault.result = VM_VPTE_PROTECTION;
    cr_expect_eq(check(faults, FAULTS, "kernel_lost=0\n"), 0, "%s", output);
    cr_expect(says("  of KVM itself, for the guest                            1\n"), "%s", output);
}

Test(trace_check, an_access_while_another_ones_page_is_missing_is_found)
{
    struct trace_record faults[FAULTS];

    make_faults(faults);
    faults[OTHERS_4000].fault.gpa = 0x7000;
    cr_expect_eq(check(faults, FAULTS, "kernel_lost=0\n"), TOOL_DIFFERENT);
    cr_expect(says("without an event                                        2"), "%s", output);
}

Test(trace_check, a_fault_that_is_not_recorded_is_found)
{
    struct trace_record faults[FAULTS];

    for (unsigned missing = 0; missing < EMULATED; missing++) {
        trace_rig_init(rig, "kernel=recorded\nvcpus=2\nram=0x0+0x100000\n", 0);
        make_faults(faults);
        memmove(&faults[missing], &faults[missing + 1], (FAULTS - 1 - missing) * sizeof(faults[0]));
        cr_expect_eq(check(faults, FAULTS - 1, "kernel_lost=0\n"), TOOL_DIFFERENT, "%u: %s",
                     missing, output);
        cr_expect(says("THEY DO NOT AGREE") && says("  event at "), "%u: %s", missing, output);
        free(output);
        output = NULL;
    }
}

Test(trace_check, another_access_than_the_kernels_is_found)
{
    struct trace_record faults[FAULTS];

    make_faults(faults);
    faults[READ_2000].fault.access = TRACE_WRITE;
    cr_expect_eq(check(faults, FAULTS, "kernel_lost=0\n"), TOOL_DIFFERENT);
    cr_expect(says("THEY DO NOT AGREE") && says("the newest event is a read of 0x2000"), "%s",
              output);
}

Test(trace_check, two_faults_in_the_wrong_order_are_found)
{
    struct trace_record faults[FAULTS];

    make_faults(faults);
    faults[WRITE_1000].fault.gpa = 0x2000;
    faults[READ_2000].fault.gpa = 0x1010;
    cr_expect_eq(check(faults, FAULTS, "kernel_lost=0\n"), TOOL_DIFFERENT);
    cr_expect(says("THEY DO NOT AGREE"), "%s", output);
}

Test(trace_check, what_the_kernel_lost_leaves_no_verdict)
{
    struct trace_record faults[FAULTS];

    make_faults(faults);
    cr_expect_eq(check(faults, FAULTS, "kernel_lost=3\n"), TOOL_DIFFERENT);
    cr_expect(says("3 lost") && says("not all was recorded"), "%s", output);
}

Test(trace_check, a_reader_that_was_ended_leaves_no_verdict)
{
    struct trace_record faults[FAULTS];

    make_faults(faults);
    cr_expect_eq(check(faults, FAULTS, "kernel_events=7\n"), TOOL_DIFFERENT);
    cr_expect(says("not all was recorded"), "%s", output);
}
