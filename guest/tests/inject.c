/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Injected faults as a guest sees them.  The rules are in tests.cfg:
 *
 *   0x3000000  the first write is denied
 *   0x3001000  and 0x3002000: of their reads the second one fails
 *   0x3004000  every write is denied, also after a read
 *   0x3006000  slow
 */
#include "guest/lib/access.h"
#include "guest/lib/cpu.h"
#include "guest/lib/test.h"
#include "guest/lib/window.h"

#define DENIED UINT64_C(0x3000000)
#define UNREADABLE UINT64_C(0x3001000)
#define READ_ONLY UINT64_C(0x3004000)
#define SLOW UINT64_C(0x3006000)

static void
one_write_is_denied(void)
{
    struct access_fault fault;

    test_begin("a write that is denied is a protection fault, and only that one is");
    access_store(DENIED, 1, &fault);
    EXPECT(access_faulted_with(&fault, VKVM_PF_PRESENT | VKVM_PF_WRITE), "count %u error 0x%lx",
           fault.count, fault.error);
    access_store(DENIED, 2, &fault);
    EXPECT(fault.count == 0 && *ram_word(DENIED) == 2, "count %u error 0x%lx", fault.count,
           fault.error);
    test_end();
}

static void
one_read_fails(void)
{
    struct access_fault first, second, third;

    test_begin("a read that fails is a fault for want of a page, and only that one is");
    (void)access_load(UNREADABLE, &first);
    (void)access_load(UNREADABLE + PAGE_SIZE + 8, &second);
    (void)access_load(UNREADABLE + PAGE_SIZE + 8, &third);
    EXPECT(first.count == 0 && third.count == 0, "%u and %u faults", first.count, third.count);
    EXPECT(access_faulted_with(&second, 0), "count %u error 0x%lx", second.count, second.error);
    EXPECT(second.cr2 == UNREADABLE + PAGE_SIZE + 8 || second.vector != 14, "at 0x%lx", second.cr2);
    test_end();
}

static void
writes_are_denied_after_a_read(void)
{
    struct access_fault fault;

    test_begin("a write to what was read before is denied too");
    EXPECT(access_load(READ_ONLY, &fault) == 0 && fault.count == 0, "count %u", fault.count);
    for (unsigned i = 0; i < 3; i++) {
        access_store(READ_ONLY, 1, &fault);
        EXPECT(access_faulted_with(&fault, VKVM_PF_PRESENT | VKVM_PF_WRITE),
               "write %u: count %u error 0x%lx", i, fault.count, fault.error);
    }
    EXPECT(access_load(READ_ONLY, &fault) == 0 && fault.count == 0, "count %u", fault.count);
    test_end();
}

static void
slow_memory_is_memory(void)
{
    struct access_fault fault;

    test_begin("memory that is slow does what it is told");
    access_store(SLOW, 7, &fault);
    EXPECT(fault.count == 0, "count %u", fault.count);
    EXPECT(access_load(SLOW, &fault) == 7 && fault.count == 0, "count %u", fault.count);
    test_end();
}

int
guest_main(void)
{
    access_init();
    one_write_is_denied();
    one_read_fails();
    writes_are_denied_after_a_read();
    slow_memory_is_memory();
    return test_summary();
}
