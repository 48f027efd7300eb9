/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Write a small trace, the same each time, for the tests of `vkvm trace`.
 *
 *   trace_file FILE [VARIANT]
 *
 *   whole      two vCPUs, the monitor, page-out, registers (the default)
 *   changed    the same with one fault more
 *   damaged    a byte of its second segment is another one
 *   cut        its last bytes are missing
 *   kernel     a few faults with the kernel's events of them, on which both agree
 *   unseen     the same without one of the faults
 *   single     one vCPU whose faults have nothing in the portable form but the second
 *   lost       the same, of which a record found no room
 *   last       the last records of more
 *   a number   the damaged one of that seed (trace_damage.h)
 */
#include "tests/cli/trace_damage.h"

#include <ctype.h>

static struct trace_rig rig;

/* vCPU 0: three faults, one of them through a window, with registers; a page that comes back. */
static void
put_first(void)
{
    struct trace_record records[] = {
        trace_rig_fault(0, 0, 0x1000, 10),
        { .kind = TRACE_REGISTERS,
          .sequence = 1,
          .time = TRACE_RIG_STARTED + 12000,
          .who = TRACE_VCPU,
          .registers = { .fault = 0, .rip = 0xffffffff81000010, .linear = 0x1008 } },
        trace_rig_fault(4, 0, 0x40000000, 30),
        trace_rig_fault(7, 0, 0x1000, 90),
    };
    struct trace_fault *window = &records[2].fault;

    window->window = true;
    window->result = VM_VPTE_PROTECTION;
    window->nvptes = 2;
    window->vptes[0] = (struct trace_vpte){ VPTE_V, VPTE_V };
    window->vptes[1] = (struct trace_vpte){ VPTE_V, VPTE_V | VPTE_A };
    records[3].fault.resolution = TRACE_SWAP_IN;
    records[3].fault.hardfault = true;
    records[3].fault.duration = 50000;
    trace_rig_records(&rig, 0, records, 4, 0);
}

static void
put_second(void)
{
    struct trace_record records[] = { trace_rig_fault(2, 1, 0x2000, 15),
                                      trace_rig_fault(5, 1, 0x2000, 40) };

    records[0].fault.access = TRACE_READ;
    records[1].fault.arrival = TRACE_WRITE_PROTECT;
    records[1].fault.resolution = TRACE_COPIED;
    trace_rig_records(&rig, 1, records, 2, 0);
}

/* The monitor's: a copy around a fault, and page-out. */
static void
put_others(void)
{
    struct trace_record records[] = {
        trace_rig_fault(3, 0, 0x3000, 20),
        { .kind = TRACE_PAGEOUT,
          .sequence = 6,
          .time = TRACE_RIG_STARTED + 60000,
          .who = TRACE_MONITOR,
          .pageout = { .object = 1, .pindex = 1, .written = true, .freed = true } },
        { .kind = TRACE_COPY,
          .sequence = 8,
          .time = TRACE_RIG_STARTED + 18000,
          .who = TRACE_MONITOR,
          .range = { .gpa = 0x3000, .to = 0x8000, .size = 4096, .duration = 120000 } },
    };

    records[0].who = TRACE_MONITOR;
    records[0].number = 0;
    records[0].fault.arrival = TRACE_FAULT_PAGE;
    trace_rig_records(&rig, 2, records, 3, 0);
}

/* In plain RAM; in a window with an entry that changes; in a window without; of the kernel's. */
static void
put_single(bool lost)
{
    struct trace_record records[4];

    for (unsigned i = 0; i < 4; i++) {
        records[i] = trace_rig_fault(i, 0, 0x40000000, 10 * i);
        records[i].fault.resolution = TRACE_RESIDENT;
        records[i].fault.window = true;
        records[i].fault.nvptes = 2;
        records[i].fault.vptes[0] = (struct trace_vpte){ VPTE_V, VPTE_V };
        records[i].fault.vptes[1] = (struct trace_vpte){ VPTE_V, VPTE_V };
    }
    records[0].fault.gpa = 0x1000;
    records[0].fault.resolution = TRACE_ZERO_FILL;
    records[1].fault.vptes[1].after |= VPTE_A | VPTE_M;
    records[3].who = TRACE_KERNEL;
    records[3].fault.access = TRACE_UNKNOWN;
    records[3].fault.resolution = TRACE_ZERO_FILL;
    rig.total = lost ? 5 : 4;
    trace_rig_records(&rig, 0, records, 4, lost);
}

static struct trace_record
event_of(unsigned vcpu, uint64_t gpa, uint64_t us, uint64_t error_code)
{
    return (struct trace_record){ .kind = TRACE_REGISTERS,
                                  .time = TRACE_RIG_STARTED + us * 1000,
                                  .who = TRACE_VCPU,
                                  .number = vcpu,
                                  .registers = { .fault = TRACE_NONE,
                                                 .rip = 0x400000 + us,
                                                 .linear = TRACE_NONE,
                                                 .kernel_event = true,
                                                 .error_code = error_code,
                                                 .gpa = gpa } };
}

static void
put_with_events(uint32_t faults)
{
    struct trace_record records[] = {
        trace_rig_fault(0, 0, 0x1000, 10),
        trace_rig_fault(0, 1, 0x2000, 20),
        trace_rig_fault(0, 1, 0x3000, 30),
    };
    struct trace_record events[] = {
        event_of(0, 0x1008, 5, TRACE_PFERR_WRITE),
        event_of(1, 0x2010, 16, TRACE_PFERR_WRITE | TRACE_PFERR_GUEST_PAGE),
        event_of(1, 0x3018, 25, TRACE_PFERR_WRITE),
        event_of(1, 0x3010, 40, TRACE_PFERR_WRITE),
    };

    for (uint32_t i = 0; i < faults; i++)
        records[i].sequence = i;
    for (uint32_t i = 0; i < 4; i++)
        events[i].sequence = faults + i;
    trace_rig_records(&rig, 0, records, faults, 0);
    trace_rig_records(&rig, 1, events, 4, 0);
    trace_rig_text(&rig, "kernel_events=4\nkernel_lost=0\n");
}

static void
put_without_events(const char *variant)
{
    struct trace_record more = trace_rig_fault(9, 1, 0x7000, 130);
    size_t second;

    put_first();
    second = rig.at;
    put_second();
    put_others();
    if (strcmp(variant, "last") == 0)
        rig.total = 20;
    if (strcmp(variant, "changed") == 0)
        trace_rig_records(&rig, 1, &more, 1, 0);
    trace_rig_text(&rig, "v_vm_faults=6\nv_kind_zero_fill=3\nv_kind_page_in=1\nv_kind_cow=1\n"
                         "v_kind_failed=1\nv_majflt=1\nv_pageout=1\nv_dfree=1\n"
                         "lstar=0xffffffff81000040\n");
    if (strcmp(variant, "damaged") == 0)
        rig.bytes[second + sizeof(struct trace_segment)] ^= 0x10;
    if (strcmp(variant, "cut") == 0)
        rig.size -= 9;
}

int
main(int argc, char **argv)
{
    const char *variant = argc > 2 ? argv[2] : "whole";

    if (argc < 2)
        return 2;
    if (isdigit((unsigned char)variant[0])) {
        trace_damage_fill(&rig, (unsigned)strtoul(variant, NULL, 10));
        return trace_rig_write(&rig, argv[1], rig.size) ? 0 : 1;
    }
    if (strcmp(variant, "single") == 0 || strcmp(variant, "lost") == 0) {
        trace_rig_init(&rig, "program=vkvm\nvcpus=1\nram=0x0+0x100000\n", 0);
        put_single(strcmp(variant, "lost") == 0);
        return trace_rig_write(&rig, argv[1], rig.size) ? 0 : 1;
    }
    trace_rig_init(&rig, "program=vkvm\nvcpus=2\nram=0x0+0x100000\nlstar=0xffffffff81000040\n",
                   strcmp(variant, "last") == 0);
    if (strcmp(variant, "kernel") == 0)
        put_with_events(3);
    else if (strcmp(variant, "unseen") == 0)
        put_with_events(2);
    else
        put_without_events(variant);
    return trace_rig_write(&rig, argv[1], rig.size) ? 0 : 1;
}
